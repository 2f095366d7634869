"""Cuts long sound into pieces at its pauses, in a stream: no more of it is in memory than a piece and a block.

What counts as sound (all our choice). The level of every 20 ms is taken without its mean, so that an offset of the
microphone is silence. The noise floor begins as the lowest level of the first 2 s and follows the lowest level: down at
once, up by 1 dB a second. Louder than 9 dB above it is sound, and 200 ms before and after that belong to it. Two bounds
keep the floor from eating speech: below -55 dB of full scale nothing is sound, above -30 dB everything is. Doubtful
things are kept: a noise that sets in counts as sound until the floor has risen to it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from .audio import DEFAULT_LIMITS, SoundLimits, SoundSource, stream_sound

SAMPLE_RATE = 16_000
FRAME = 320  # samples: 20 ms
ALWAYS_SOUND_DB, NEVER_SOUND_DB = -30.0, -55.0  # of full scale
_ABOVE_FLOOR_DB = 9.0
_RISE_DB = 0.02  # a frame: 1 dB a second
_BEGINNING = 100  # frames whose lowest level is the first noise floor: 2 s
_MARGIN = 10  # frames before and after sound that belong to it: 200 ms
_QUIET_WINDOW = 9  # frames that are averaged to find the quietest place where there is no pause: 180 ms


@dataclass(frozen=True)
class Piece:
    """samples: [T] float32 in -1..1; start_s and end_s: where they stand in the whole, in seconds."""

    start_s: float
    end_s: float
    samples: Tensor
    sample_rate: int


@dataclass
class _Frames:
    """Samples [F * 320] (the last ones of a sound may be fewer), and of each frame its level in dB and if it is sound.

    first: the number of the first frame, counted from the beginning of the sound.
    """

    first: int
    samples: Tensor
    level: Tensor  # [F] float32
    sound: Tensor  # [F] bool

    def __len__(self) -> int:
        return len(self.level)

    def joined(self, later: "_Frames") -> "_Frames":
        pairs = ((self.samples, later.samples), (self.level, later.level), (self.sound, later.sound))
        return _Frames(self.first, *(torch.cat(pair) for pair in pairs))

    def part(self, start: int, end: int) -> "_Frames":
        samples = self.samples[start * FRAME : end * FRAME].clone()  # not a view, which would keep the whole alive
        return _Frames(self.first + start, samples, self.level[start:end], self.sound[start:end])

    def piece(self) -> Piece:
        start = self.first * FRAME
        return Piece(start / SAMPLE_RATE, (start + len(self.samples)) / SAMPLE_RATE, self.samples, SAMPLE_RATE)


def cut_at_pauses(
    source: SoundSource, max_seconds: float = 60.0, pause_s: float = 2.0, limits: SoundLimits = DEFAULT_LIMITS
) -> Iterator[Piece]:
    """The sounding pieces of a source that open_sound takes, in order, at 16 kHz; the silence between them is dropped.

    A pause of pause_s ends a piece. A piece longer than max_seconds is cut in its second half: at the longest pause
    there, and where there is none, at the quietest 180 ms, losing nothing. A silent source has no pieces.
    Raises ValueError if max_seconds or pause_s cannot be; MediaError as open_sound does, at the piece where it shows.
    """
    if not max_seconds >= 1:
        raise ValueError(f"max_seconds is {max_seconds}; it must be at least 1")
    if not 0 < pause_s <= max_seconds:
        raise ValueError(f"pause_s is {pause_s}; it must be more than 0 and at most max_seconds ({max_seconds})")
    max_frames, pause = int(max_seconds * SAMPLE_RATE / FRAME), max(1, round(pause_s * SAMPLE_RATE / FRAME))
    return _pieces(_frames(stream_sound(source, SAMPLE_RATE, limits)), max_frames, pause)


def _frames(blocks: Iterable[Tensor]) -> Iterator[_Frames]:
    """Frames of a sound that comes in blocks [T]; each once the 200 ms behind it are known."""
    detector = _Detector()
    for block in blocks:
        yield from detector.push(block)
    yield from detector.push(torch.zeros(0), final=True)


class _Detector:
    """Tells frames of sound from frames of silence; what it says does not depend on where blocks end."""

    def __init__(self) -> None:
        self.first = 0  # number of the first frame not given yet
        self.samples = torch.zeros(0)  # from there on
        self.level = torch.zeros(0)  # the same
        self.loud = torch.zeros(_MARGIN, dtype=torch.bool)  # from _MARGIN frames before it
        self.floor: float | None = None

    def push(self, samples: Tensor, final: bool = False) -> Iterator[_Frames]:
        self.samples = torch.cat([self.samples, samples])
        if len(self.samples) < _BEGINNING * FRAME and self.floor is None and not final:
            return
        used = len(self.level) * FRAME
        whole = len(self.samples) if final else len(self.samples) // FRAME * FRAME
        level = levels(self.samples[used:whole])
        self.level = torch.cat([self.level, level])
        self.loud = torch.cat([self.loud, self._louder(level)])
        if final:
            self.loud = F.pad(self.loud, (0, _MARGIN))
        count = len(self.loud) - 2 * _MARGIN
        if count > 0:
            yield self._take(count)

    def _louder(self, level: Tensor) -> Tensor:
        """Which of the next frames are louder than the noise, [F]; the floor moves on past them."""
        if not len(level):
            return level > 0
        lowest = level.clamp(min=NEVER_SOUND_DB - _ABOVE_FLOOR_DB)
        if self.floor is None:
            self.floor = float(lowest[:_BEGINNING].min())
        rise = _RISE_DB * torch.arange(len(level))
        # floor[f] = min(level[f], floor[f - 1] + rise of a frame), for all frames at once
        floor = (lowest - rise).cummin(0).values.clamp(max=self.floor + _RISE_DB) + rise
        self.floor = float(floor[-1])
        return level > (floor + _ABOVE_FLOOR_DB).clamp(NEVER_SOUND_DB, ALWAYS_SOUND_DB)

    def _take(self, count: int) -> _Frames:
        sound = F.max_pool1d(self.loud[None, : count + 2 * _MARGIN].float(), 2 * _MARGIN + 1, 1)[0] > 0
        frames = _Frames(self.first, self.samples[: count * FRAME], self.level[:count], sound)
        self.first += count
        self.samples, self.level = self.samples[count * FRAME :], self.level[count:]
        self.loud = self.loud[count:]
        return frames


def levels(samples: Tensor) -> Tensor:
    """The level of every 20 ms in dB of full scale, without its mean: samples [T] -> [ceil(T / 320)]."""
    whole = len(samples) // FRAME * FRAME
    parts = [rearrange(samples[:whole], "(f t) -> f t", t=FRAME)]
    if whole < len(samples):
        parts.append(samples[None, whole:])  # the last one, as short as it is
    power = torch.cat([(part - part.mean(1, keepdim=True)).square().mean(1) for part in parts])
    return 10 * torch.log10(power + 1e-12)


def _pieces(blocks: Iterable[_Frames], max_frames: int, pause: int) -> Iterator[Piece]:
    waiting = None
    for block in blocks:
        waiting = block if waiting is None else waiting.joined(block)
        while cut := _next_piece(waiting, max_frames, pause):
            yield waiting.part(*cut).piece()
            waiting = waiting.part(cut[1], len(waiting))
        start = _first(waiting.sound, len(waiting))
        waiting = waiting.part(start, len(waiting))
    if waiting is not None and len(waiting):
        # Here no pause ends the piece and it is not too long: it goes up to the last sound.
        yield waiting.part(0, len(waiting) - _first(waiting.sound.flip(0), 0)).piece()


def _next_piece(frames: _Frames, max_frames: int, pause: int) -> tuple[int, int] | None:
    """From which frame to which the next piece goes, if the frames that are there are enough to tell."""
    start = _first(frames.sound, len(frames))
    sound = frames.sound[start : start + max_frames + 1]
    silences = _silences(sound)
    ending = next((first for first, end in silences if end - first >= pause), None)
    if ending is not None:
        return start, start + ending
    if len(sound) <= max_frames:
        return None
    half = max_frames // 2
    late = [(first, end) for first, end in silences if end > half]
    if late:
        first, _ = max(late, key=lambda silence: silence[1] - silence[0])
        return start, start + first
    level = frames.level[start + half : start + max_frames]
    quiet = level.unfold(0, _QUIET_WINDOW, 1).mean(1)
    return start, start + half + int(quiet.argmin()) + _QUIET_WINDOW // 2


def _first(flags: Tensor, otherwise: int) -> int:
    """The place of the first True."""
    places = flags.nonzero()
    return int(places[0]) if len(places) else otherwise


def _silences(sound: Tensor) -> list[tuple[int, int]]:
    """[first, end) of the runs of False."""
    edges = F.pad(~sound, (1, 1)).int().diff().nonzero()[:, 0]
    return [(first, end) for first, end in rearrange(edges, "(n ends) -> n ends", ends=2).tolist()]
