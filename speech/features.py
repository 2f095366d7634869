"""Log-mel features of 16 kHz sound, whole or as it comes in: 100 frames a second, 80 numbers each.

Shapes: B sounds, T samples, F frames.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks, spectrogram

SAMPLE_RATE = 16_000
NUM_MELS = 80
WINDOW = 400  # samples: 25 ms
HOP = 160  # samples: 10 ms
_FLOOR = 1e-10  # power of a mel bin; the rounding of 16-bit samples lies a little above it (our choice)


class LogMel(nn.Module):
    """Log-mel features with a fixed scale: what a frame is depends on its own 25 ms and on nothing else.

    Frame f is the samples from 160 f to 160 f + 400, under a Hann window, zeros after the end of the sound: every 10 ms
    that have begun have a frame. (log10(power) + 4) / 4 lies between -1.5, digital silence, and about 1.6. Mel filters
    are Slaney's, 0 to 8 kHz. It has no weights and no buffers: always float32, wherever the samples are, and nothing
    to save or to cast. Source: 80 bins every 10 ms from 25 ms, arXiv 2407.21783, 8.1; the rest is our choice.
    """

    def forward(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """samples [B, T] in -1..1, lengths [B] in samples -> features [B, F, 80], frames [B].

        What lies in samples behind a length changes nothing; features behind a sound's frames are 0.
        Raises ValueError for other shapes or types, or a length that is not 0 to T.
        """
        _check(samples, lengths)
        lengths = lengths.to(samples.device)
        frames = num_frames(lengths)
        longest = num_frames(samples.shape[1])
        place = torch.arange(samples.shape[1], device=samples.device)
        heard = samples.float().masked_fill(place >= lengths[:, None], 0.0)
        features = _features(F.pad(heard, (0, longest * HOP + WINDOW - HOP - samples.shape[1])))
        valid = torch.arange(longest, device=samples.device) < frames[:, None]  # [B, F]
        return features.masked_fill(~valid[:, :, None], 0.0), frames


class LogMelStream:
    """LogMel of one sound that comes in chunks of any length: the same frames, each as soon as its 25 ms are there.

    push(samples [T]) -> [F, 80]; finish() -> the frames that reach over the end, [F, 80]. F may be 0.
    """

    def __init__(self) -> None:
        self.waiting: Tensor | None = None  # samples from the beginning of the next frame on

    def push(self, samples: Tensor) -> Tensor:
        """Raises ValueError if samples are not [T] floats."""
        if samples.ndim != 1 or not samples.is_floating_point():
            raise ValueError(f"found samples {list(samples.shape)} of {samples.dtype}; accepted: [T] floats")
        samples = samples.float()
        self.waiting = samples if self.waiting is None else torch.cat([self.waiting, samples])
        return self._take((len(self.waiting) - WINDOW + HOP) // HOP)

    def finish(self) -> Tensor:
        if self.waiting is None:
            return torch.zeros(0, NUM_MELS)
        owed = num_frames(len(self.waiting))
        self.waiting = F.pad(self.waiting, (0, owed * HOP + WINDOW - HOP - len(self.waiting)))
        return self._take(owed)

    def _take(self, count: int) -> Tensor:
        if count <= 0:
            return self.waiting.new_zeros(0, NUM_MELS)
        features = _features(self.waiting[None, : count * HOP + WINDOW - HOP])[0]
        self.waiting = self.waiting[count * HOP :].clone()
        return features


def num_frames(num_samples):
    """Frames of a sound of so many samples (an int or a tensor of them): one for every 10 ms begun."""
    return (num_samples + HOP - 1) // HOP


def _features(samples: Tensor) -> Tensor:
    """Whole windows only: [B, F * 160 + 240] -> [B, F, 80]."""
    if samples.shape[1] < WINDOW:
        return samples.new_zeros(len(samples), 0, NUM_MELS)
    window, filters = _window_and_filters(samples.device)
    power = spectrogram(samples, 0, window, WINDOW, HOP, WINDOW, power=2.0, normalized=False, center=False)
    mel = rearrange(power, "b bins f -> b f bins") @ filters
    return (mel.clamp(min=_FLOOR).log10() + 4) / 4


@lru_cache
def _window_and_filters(device: torch.device) -> tuple[Tensor, Tensor]:
    """The Hann window [400] and the mel filters [201, 80]."""
    with torch.inference_mode(False):  # what is made in inference mode can never be used in training
        filters = melscale_fbanks(
            WINDOW // 2 + 1, 0.0, SAMPLE_RATE / 2, NUM_MELS, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
        )
        return torch.hann_window(WINDOW, device=device), filters.to(device)


def _check(samples: Tensor, lengths: Tensor) -> None:
    if samples.ndim != 2 or not samples.is_floating_point():
        raise ValueError(f"found samples {list(samples.shape)} of {samples.dtype}; accepted: [B, T] floats")
    if lengths.shape != samples.shape[:1] or lengths.is_floating_point():
        raise ValueError(f"found lengths {list(lengths.shape)} of {lengths.dtype}; accepted: [{len(samples)}] integers")
    if len(lengths) and not 0 <= int(lengths.min()) <= int(lengths.max()) <= samples.shape[1]:
        raise ValueError(f"found lengths {lengths.tolist()}; accepted: 0 to {samples.shape[1]}")
