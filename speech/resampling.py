"""Changes the rate of a sound block by block, with the same result as on the whole."""

import math

import torch
from torch import Tensor
from torchaudio.transforms import Resample

# torchaudio's filter has a row for each of the new phases and a column for each old sample of a period: 282,000 numbers
# from 11,025 to 16,000 Hz, but 706 million from 44,101. Above this, only the columns that are not zero are made.
_MAX_FILTER_NUMBERS = 2**21
_LOWPASS_WIDTH, _ROLLOFF = 6, 0.99  # the defaults of torchaudio.functional.resample


class Resampler:
    """Windowed-sinc resampling of a sound that comes in blocks of any length.

    push(samples [T]) and finish() -> the new samples [T'] that are complete by then; all of them together are those of
    torchaudio.functional.resample on the whole, ceil(T * to_hz / from_hz) of them.
    """

    def __init__(self, from_hz: int, to_hz: int):
        divisor = math.gcd(from_hz, to_hz)
        self.old, self.new = from_hz // divisor, to_hz // divisor  # a period: so many old samples, so many new ones
        width = _width(self.old, self.new)
        self.margin = math.ceil(width / self.old)  # periods on each side that a period depends on
        sparse = self.new * (self.old + 2 * width) > _MAX_FILTER_NUMBERS
        self.resample = _SparseResample(self.old, self.new) if sparse else Resample(self.old, self.new)
        self.waiting = torch.zeros(self.margin * self.old)
        self.num_in = self.num_out = 0

    def push(self, samples: Tensor) -> Tensor:
        """samples [T] float32 -> [T']."""
        self.num_in += len(samples)
        if self.old == self.new:
            return samples
        self.waiting = torch.cat([self.waiting, samples])
        return self._periods(len(self.waiting) // self.old - 2 * self.margin)

    def finish(self) -> Tensor:
        """What the last samples still owe, as if zeros followed: [T']."""
        if self.old == self.new:
            return torch.zeros(0)
        owed = -(-self.num_in * self.new // self.old) - self.num_out
        periods = -(-owed // self.new)
        missing = (periods + 2 * self.margin) * self.old - len(self.waiting)
        self.waiting = torch.cat([self.waiting, torch.zeros(max(0, missing))])
        return self._periods(periods)[:owed]

    def _periods(self, count: int) -> Tensor:
        """The next count periods; the margins on both sides are computed and thrown away."""
        if count <= 0:
            return torch.zeros(0)
        done = self.resample(self.waiting[: (count + 2 * self.margin) * self.old])
        self.waiting = self.waiting[count * self.old :].clone()
        self.num_out += count * self.new
        return done[self.margin * self.new : (self.margin + count) * self.new]


def _width(old: int, new: int) -> int:
    """How many old samples on each side a new one depends on."""
    return math.ceil(_LOWPASS_WIDTH * old / (min(old, new) * _ROLLOFF))


class _SparseResample:
    """torchaudio's formula for rates without a large common divisor: 35 numbers a phase, not 44,135."""

    def __init__(self, old: int, new: int):
        self.old, self.width = old, _width(old, new)
        phase = torch.arange(new)[:, None]
        first = phase * old // new - self.width  # the first old sample of each phase, [new, 1]
        tap = first + torch.arange(2 * self.width + 2)  # [new, taps]
        cutoff = min(old, new) * _ROLLOFF
        t = (tap.double() / old - phase.double() / new) * cutoff
        t = t.clamp(-_LOWPASS_WIDTH, _LOWPASS_WIDTH)
        window = torch.cos(t * math.pi / _LOWPASS_WIDTH / 2) ** 2
        self.weights = (torch.sinc(t) * window * cutoff / old).float()  # [new, taps]
        self.taps = tap + self.width  # counted from the beginning of a period's window

    def __call__(self, samples: Tensor) -> Tensor:
        """samples [n * old] -> [n * new], with zeros around."""
        padded = torch.nn.functional.pad(samples, (self.width, self.width + 1))
        windows = padded.unfold(0, self.old + 2 * self.width + 1, self.old)
        return torch.cat([(window[self.taps] * self.weights).sum(1) for window in windows])
