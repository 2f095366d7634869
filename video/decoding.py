"""A process of its own that decodes one clip: FFmpeg may hang, crash or eat memory here, and nobody else notices.

Writes one line of JSON, then the frames or samples as raw bytes. A line with "found" alone says what is
wrong with the clip. Neither torch nor anything of ours but `video.decoders` is imported, unless by the library
that decodes: the process starts in a fraction of a second.
"""

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import av
import numpy as np

from video.decoders import index as clip_index
from video.decoders.with_pyav import read_sound


def read_frames(
    decoder: ModuleType,
    path: str,
    max_frames: int,
    longer_side_px: int,
    max_duration_s: float,
    start_s: float | None,
    end_s: float | None,
    rate_hz: float | None,
    memory_bytes: int,
) -> tuple[dict, np.ndarray]:
    """Frames [F, H, W, 3] uint8, evenly spread, their times, and the size they are to have.

    Some files have packets whose frames are never shown: these are decoded once to see what is.
    """

    def read(look: Callable[[str], clip_index.Index]) -> tuple[dict, np.ndarray]:
        index = look(path)
        starts, duration_s = index.starts_s, index.duration_s
        if not 0 < duration_s <= max_duration_s:
            raise ValueError(f"a duration of {duration_s:g} s")
        chosen = choose(starts, duration_s, max_frames, start_s, end_s, rate_hz)
        size = shrunk(index.size, longer_side_px)
        frames = decoder.read_frames(path, index, chosen, size, memory_bytes)
        is_turned = (frames.shape[1] > frames.shape[2]) != (index.size[0] > index.size[1])
        facts = {"times_s": starts[chosen].tolist(), "duration_s": duration_s}
        return facts | {"size": size[::-1] if is_turned else size}, frames

    try:
        return read(clip_index.scan)
    except KeyError:
        return read(clip_index.decode_all)


def shrunk(size: tuple[int, int], longer_side_px: int) -> tuple[int, int]:
    """Height and width in proportion, the longer one at most so long."""
    shrink = min(1.0, longer_side_px / max(size))
    return max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink))


def choose(
    starts: np.ndarray,
    duration_s: float,
    max_frames: int,
    start_s: float | None,
    end_s: float | None,
    rate_hz: float | None,
) -> np.ndarray:
    """Which frames: of the part asked for all, or those shown at the ticks of a rate; of too many an even spread."""
    first, last = start_s or 0.0, duration_s if end_s is None else min(end_s, duration_s)
    if first >= last:
        raise ValueError(f"a clip of {duration_s:g} s, of which nothing lies between {first:g} s and {last:g} s")
    if rate_hz is None:
        inside = np.flatnonzero((starts >= first - 1e-6) & (starts < last - 1e-6))
    else:
        ticks = np.arange(first, last, 1 / rate_hz)
        inside = np.unique(np.searchsorted(starts, ticks + 1e-6, side="right") - 1)
    if not len(inside):  # a part between two frames shows the earlier one
        inside = np.searchsorted(starts, [first + 1e-6], side="right") - 1
    spread = np.linspace(0, len(inside) - 1, min(len(inside), max_frames)).round().astype(int)
    return np.maximum(inside[spread], 0)


def _limit_memory(limit_bytes: int) -> None:
    if os.name == "posix":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))


def _answer(request: dict) -> tuple[dict, np.ndarray]:
    """Facts and frames or samples, or what is wrong: with the decoder (`unusable`) or with the clip (`found`)."""
    what, name = request.pop("what"), request.pop("decoder")
    try:
        decoder = import_module(f"video.decoders.with_{name}")
    except (ImportError, OSError, RuntimeError) as error:
        return {"unusable": str(error).strip().partition("\n")[0]}, np.empty(0)
    _limit_memory(request["memory_bytes"])
    try:
        if what == "frames":
            return read_frames(decoder, **request)
        return {}, read_sound(request["path"], request["sample_rate"], request["max_duration_s"])
    except MemoryError:  # before FFmpegError, which PyAV's own is too
        found = "frames too large to decode"
    except (av.FFmpegError, KeyError, *decoder.ERRORS):
        found = f"a {'video' if what == 'frames' else what} stream that cannot be decoded"
    except ValueError as error:
        found = str(error)
    return {"found": found}, np.empty(0)


def main() -> None:
    """Answer the one request of the command line."""
    facts, values = _answer(json.loads(sys.argv[1]))
    sys.stdout.buffer.write(json.dumps({"shape": values.shape, **facts}).encode() + b"\n")
    sys.stdout.buffer.write(np.ascontiguousarray(values).data)
