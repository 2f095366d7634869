"""The pitch of synthetic speech: where a sound repeats itself soonest. For clean sound of a known voice only."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tts.mel import HOP, SAMPLE_RATE_HZ

_WINDOW = 768  # samples: 48 ms
_VOICED = 0.6  # correlation from which a frame counts as voiced
_NEARLY = 0.9  # of the best correlation: the shortest period that reaches it is the pitch, not twice it


def pitch_of(wave: Tensor, lowest_hz: float, highest_hz: float) -> tuple[Tensor, Tensor]:
    """wave [F * HOP] -> log-F0 [F], drawn on over unvoiced frames, and voiced [F], bool.

    Frames as in `tts.mel`. Where nothing is voiced log-F0 is the middle of the range.
    """
    shortest, longest = int(SAMPLE_RATE_HZ / highest_hz), int(SAMPLE_RATE_HZ / lowest_hz) + 1
    size = _WINDOW + longest
    before = (size - HOP) // 2
    pieces = F.pad(wave, (before, size - HOP - before)).unfold(0, size, HOP)  # [F, size]
    head = F.pad(pieces[:, :_WINDOW], (0, longest))
    spectra = torch.fft.rfft(pieces, 2 * size).mul(torch.fft.rfft(head, 2 * size).conj())
    products = torch.fft.irfft(spectra, 2 * size)[:, : longest + 1]
    energy = F.pad(pieces.square().cumsum(1), (1, 0))
    energies = energy[:, _WINDOW : _WINDOW + longest + 1] - energy[:, : longest + 1]
    alike = products / (energies * energies[:, :1]).clamp(min=1e-8).sqrt()
    alike = alike[:, shortest : longest + 1]
    best = alike.max(1).values
    inner = alike[:, 1:-1]
    peak = (inner >= alike[:, :-2]) & (inner >= alike[:, 2:]) & (inner >= _NEARLY * best[:, None])
    first = peak.float().argmax(1)
    left, middle, right = (alike.gather(1, (first + step)[:, None])[:, 0] for step in (0, 1, 2))
    bend = (left - 2 * middle + right).clamp(max=-1e-6)
    period = shortest + 1 + first + (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
    loud = energies[:, 0] > 1e-4 * _WINDOW / 10
    voiced = (best > _VOICED) & peak.any(1) & loud
    return _drawn_on((SAMPLE_RATE_HZ / period).log(), voiced, (lowest_hz * highest_hz) ** 0.5), voiced


def _drawn_on(log_f0: Tensor, voiced: Tensor, middle_hz: float) -> Tensor:
    """Straight lines between voiced frames, level before the first and after the last."""
    known = voiced.nonzero()[:, 0]
    if not len(known):
        return torch.full_like(log_f0, torch.tensor(middle_hz).log().item())
    values = log_f0[known]
    at = torch.arange(len(log_f0))
    after = torch.searchsorted(known, at).clamp(max=len(known) - 1)
    before = (after - 1).clamp(min=0)
    span = (known[after] - known[before]).clamp(min=1)
    share = ((at - known[before]) / span).clamp(0, 1)
    return values[before] + (values[after] - values[before]) * share
