"""Our vocoder: pulses at the pitch and noise, each through a filter that a network reads off the log-mel frames.

Harmonics are as exact as the pitch, from the first minute of training and without a discriminator. Filters
have minimum phase, so that their sound rings after a pulse and never before it, as that of a throat does.
After the neural source-filter models (arXiv 1904.12088); this form is our choice.

Shapes: B rows, F frames of 16 ms, S steps of 8 ms (two a frame), n samples.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import CausalStack, LookaheadConv
from .mel import HOP, NUM_MELS, SAMPLE_RATE_HZ, SILENCE

STEP = 128  # samples between two filters
_WINDOW, _FFT = 512, 1024  # of a piece of excitation, and with the ringing of its filter
_ORDER = 128  # coefficients of a filter's cepstrum
_STEPS = HOP // STEP
_OVERLAP = _WINDOW - STEP  # samples by which sound lags behind its frames
_NOISE_SAMPLES = 2**16
# Frames of silence before the first, whose sound is dropped. A network that has met pauses, and never the start of a
# text, begins softly where there is nothing before: "a ring" then begins as "the ring" does.
_LEAD = 8


@dataclass
class VocoderState:
    """What is remembered of a row between two pieces; as it stands, what comes first is in the midst of speech."""

    silence: int = 0  # frames of it that are still to be put before the first
    context: Tensor | None = None
    blocks: list[Tensor] | None = None
    pitch: Tensor | None = None  # [B, <= 2], log-F0 of the frame before the next and of the next
    turns: Tensor | None = None  # [B, 1] of the pulses, float64
    samples: int = 0  # of excitation so far
    excitation: Tensor | None = None  # [B, 2, _OVERLAP], the newest
    ringing: Tensor | None = None  # [B, _FFT - STEP], sound to which later steps add
    to_drop: int = _OVERLAP


class Vocoder(nn.Module):
    """mel [B, F, 80] and log-F0 [B, F] -> wave [B, F * HOP]."""

    def __init__(self, width: int, blocks: int):
        super().__init__()
        self.context = LookaheadConv(NUM_MELS + 1, width, before=1, ahead=1)
        self.stack = CausalStack(width, blocks, kernel=5)
        self.norm = nn.LayerNorm(width)
        self.filters = nn.Linear(width, _STEPS * 2 * _ORDER)

    @staticmethod
    def start() -> VocoderState:
        """The state before the first frame of a text: silence."""
        return VocoderState(silence=_LEAD, to_drop=_OVERLAP + _LEAD * HOP)

    def forward(self, mel: Tensor, log_f0: Tensor, voiced: Tensor) -> Tensor:
        """mel [B, F, 80]; log_f0 [B, F], natural logarithm of Hz, everywhere a number; voiced [B, F], 0 to 1."""
        return self.push(VocoderState(), mel, log_f0, voiced, last=True)

    def push(self, state: VocoderState, mel: Tensor, log_f0: Tensor, voiced: Tensor, last: bool) -> Tensor:
        """The samples that are ready; without `last` they lag 40 ms behind the frames."""
        if state.silence and mel.shape[1]:
            mel = F.pad(mel, (0, 0, state.silence, 0), value=SILENCE)
            log_f0 = torch.cat([log_f0[:, :1].expand(-1, state.silence), log_f0], 1)
            voiced, state.silence = F.pad(voiced, (state.silence, 0)), 0
        x = torch.cat([mel + 2.5, voiced.unsqueeze(-1)], -1)
        x, state.context = self.context(x, state.context, last)
        sources = self._excite(state, log_f0, last)  # [B, 2, n]
        if not x.shape[1]:
            return mel.new_zeros(len(mel), 0)
        x, state.blocks = self.stack(x, state.blocks)
        cepstra = self.filters(self.norm(x)).unflatten(-1, (_STEPS, 2, _ORDER)).flatten(1, 2)  # [B, S, 2, order]
        return self._filter(state, sources, cepstra, last)

    def _excite(self, state: VocoderState, log_f0: Tensor, last: bool) -> Tensor:
        """Pulses and noise [B, 2, n] for the frames whose next one is known."""
        begun = state.pitch is not None and state.pitch.shape[1] > 0
        known = torch.cat([state.pitch if begun else log_f0[:, :1], log_f0], 1)
        if last:
            known = torch.cat([known, known[:, -1:]], 1)
        state.pitch = known[:, -2:]
        if known.shape[1] < 3:
            return log_f0.new_zeros(len(log_f0), 2, 0)
        edges = (known[:, :-1] + known[:, 1:]) / 2  # [B, frames + 1], log-F0 where frames meet
        ramp = (torch.arange(HOP, device=log_f0.device) / HOP).to(log_f0)
        hz = (edges[:, :-1, None] + (edges[:, 1:] - edges[:, :-1])[..., None] * ramp).exp().flatten(1)  # [B, n]
        turns = (0 if state.turns is None else state.turns) + (hz.double() / SAMPLE_RATE_HZ).cumsum(1)
        state.turns = turns[:, -1:] % 1
        noise = _noise(state.samples, hz.shape[1]).to(hz).expand_as(hz)
        state.samples += hz.shape[1]
        return torch.stack([_pulses((turns % 1).to(hz.dtype), hz), noise], 1)

    def _filter(self, state: VocoderState, sources: Tensor, cepstra: Tensor, last: bool) -> Tensor:
        if state.excitation is None:
            state.excitation = sources.new_zeros(len(sources), 2, _OVERLAP)
            state.ringing = sources.new_zeros(len(sources), _FFT - STEP)
        sources = torch.cat([state.excitation, sources], 2)
        state.excitation = sources[:, :, -_OVERLAP:]
        if last:  # what lags behind comes out through the last filter
            more = _OVERLAP // STEP
            sources = F.pad(sources, (0, _OVERLAP))
            cepstra = torch.cat([cepstra, cepstra[:, -1:].expand(-1, more, -1, -1)], 1)
        window = torch.hann_window(_WINDOW, device=sources.device, dtype=sources.dtype) * (2 * STEP / _WINDOW)
        pieces = torch.fft.rfft(sources.unfold(2, _WINDOW, STEP) * window, _FFT)  # [B, 2, S, bins]
        heard = (pieces * _minimum_phase(cepstra).transpose(1, 2)).sum(1)
        heard = torch.fft.irfft(heard, _FFT)  # [B, S, _FFT]
        steps = heard.shape[1]
        total = F.fold(heard.transpose(1, 2), (1, (steps - 1) * STEP + _FFT), (1, _FFT), stride=(1, STEP))[:, 0, 0]
        total[:, : _FFT - STEP] = total[:, : _FFT - STEP] + state.ringing
        state.ringing = total[:, steps * STEP :]
        dropped = min(state.to_drop, steps * STEP)
        state.to_drop -= dropped
        return total[:, dropped : steps * STEP]


def _pulses(turns: Tensor, hz: Tensor) -> Tensor:
    """All harmonics below half the sampling rate, of equal strength, power 1: turns [B, n] in 0 to 1, hz [B, n]."""
    number = (SAMPLE_RATE_HZ / 2 / hz).floor()
    half = math.pi * turns
    below = half.sin()
    near = below.abs() < 1e-4
    many = (((2 * number + 1) * half).sin() / torch.where(near, torch.ones_like(below), below) - 1) / 2
    return torch.where(near, number, many) * (2 / number).sqrt()


def _minimum_phase(cepstra: Tensor) -> Tensor:
    """Filters of minimum phase [..., _FFT / 2 + 1], complex, from the causal half of their cepstra [..., order].

    Later coefficients are finer detail of the spectrum and smaller, hence the weights.
    """
    weights = 4 / (4 + torch.arange(_ORDER, device=cepstra.device, dtype=cepstra.dtype))
    logs = torch.fft.rfft(cepstra * weights, _FFT)
    return torch.polar(logs.real.exp(), logs.imag)  # the exponential of complex numbers takes four times as long


@cache
def _all_noise() -> Tensor:
    return torch.randn(_NOISE_SAMPLES, generator=torch.Generator().manual_seed(0))


def _noise(first: int, number: int) -> Tensor:
    """White noise of power 1, a function of the sample's number alone; it repeats every four seconds."""
    return _all_noise()[(first + torch.arange(number)) % _NOISE_SAMPLES]


_RESOLUTIONS = ((256, 64), (512, 128), (1024, 256))  # samples of window and hop


def spectral_loss(wave: Tensor, target: Tensor) -> Tensor:
    """Distance of magnitudes and of their logarithms at three resolutions; waves [B, n]."""
    total = wave.new_zeros(())
    for size, hop in _RESOLUTIONS:
        window = torch.hann_window(size, device=wave.device)
        ours, theirs = (torch.stft(one, size, hop, window=window, return_complex=True) for one in (wave, target))
        ours, theirs = ((one.real**2 + one.imag**2 + 1e-7).sqrt() for one in (ours, theirs))
        total = total + (ours - theirs).norm() / theirs.norm() + (ours.log() - theirs.log()).abs().mean()
    return total / len(_RESOLUTIONS)
