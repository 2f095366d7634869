"""A process of its own that decodes one clip: FFmpeg may hang, crash or eat memory here, and nobody else notices.

    python decoding.py '{"path": ..., "what": "frames", ...}'

Writes one line of JSON, then the frames or samples as raw bytes. A line with "found" alone says what is
wrong with the clip. Imports nothing of ours, so that it starts in a fraction of a second.
"""

import json
import os
import sys

import decord
import numpy as np


def read_frames(
    path: str,
    max_frames: int,
    longer_side_px: int,
    max_duration_s: float,
    start_s: float | None,
    end_s: float | None,
    rate_hz: float | None,
) -> tuple[dict, np.ndarray]:
    """Frames [F, H, W, 3] uint8, evenly spread, their times, and the size they are to have; no more is decoded.

    decord's threads lose packets of some VP9 files with hidden frames; a single thread reads these.
    """
    asked = (path, max_frames, longer_side_px, max_duration_s, start_s, end_s, rate_hz)
    try:
        return _read_frames(*asked, num_threads=0)
    except decord.DECORDError as error:
        if "Error sending packet" not in str(error):
            raise
        return _read_frames(*asked, num_threads=1)


def _read_frames(
    path: str,
    max_frames: int,
    longer_side_px: int,
    max_duration_s: float,
    start_s: float | None,
    end_s: float | None,
    rate_hz: float | None,
    num_threads: int,
) -> tuple[dict, np.ndarray]:
    """As `read_frames`; num_threads as decord takes it, 0 for its own choice."""
    reader = decord.VideoReader(path, num_threads=num_threads)
    if not len(reader):
        raise ValueError("no frame that can be decoded")
    spans = np.asarray(reader.get_frame_timestamp(np.arange(len(reader))))
    starts, duration_s = spans[:, 0] - spans[0, 0], float(spans[-1, 1] - spans[0, 0])
    if (np.diff(starts) < 0).any():
        raise ValueError("frames whose times do not grow")
    if not 0 < duration_s <= max_duration_s:
        raise ValueError(f"a duration of {duration_s:g} s")
    chosen = choose(starts, duration_s, max_frames, start_s, end_s, rate_hz)
    height, width = reader[0].shape[:2]
    shrink = min(1.0, longer_side_px / max(height, width))
    size = max(1, round(height * shrink)), max(1, round(width * shrink))
    decoded = decodable(*size)
    if decoded != (height, width):
        reader = decord.VideoReader(path, num_threads=num_threads, height=decoded[0], width=decoded[1])
    facts = {"times_s": starts[chosen].tolist(), "duration_s": duration_s, "size": size}
    return facts, reader.get_batch(chosen).asnumpy()


def decodable(height: int, width: int) -> tuple[int, int]:
    """The least size from this one on, sides in proportion, that decord gives whole.

    It takes the padding of rows to 32 pixels for a fourth channel where that is a third of the width.
    """
    padded = -(-width // 32) * 32
    return (height, width) if 3 * padded < 4 * width else (max(1, round(height * padded / width)), padded)


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


def read_sound(path: str, sample_rate: int, max_duration_s: float) -> tuple[dict, np.ndarray]:
    """The first sound track, all channels mixed, float32 [N]."""
    reader = decord.AudioReader(path, sample_rate=sample_rate, mono=True)
    samples = reader.shape[1]
    if not 0 < samples <= max_duration_s * sample_rate:
        raise ValueError(f"a sound track of {samples / sample_rate:g} s")
    return {}, reader[:].asnumpy().reshape(-1).astype(np.float32)


def _limit_memory(limit_bytes: int) -> None:
    if os.name == "posix":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))


def _reason(error: Exception, what: str) -> str:
    """What is wrong in words; decord tells of a missing stream and of damage alike, with its source lines."""
    if isinstance(error, MemoryError):
        return "frames too large to decode"
    told = str(error)
    if "cannot find video stream" in told or "Can't find" in told or "st_nb" in told:
        return "no sound track" if what == "sound" else "no video stream"
    return f"a {what} stream that cannot be decoded"


def main() -> None:
    """Answer the one request of the command line."""
    request = json.loads(sys.argv[1])
    what, read = request.pop("what"), {"frames": read_frames, "sound": read_sound}
    _limit_memory(request.pop("memory_bytes"))
    try:
        facts, values = read[what](**request)
    except ValueError as error:
        facts, values = {"found": str(error)}, np.empty(0)
    except (decord.DECORDError, RuntimeError, MemoryError, IndexError) as error:
        facts, values = {"found": _reason(error, "sound" if what == "sound" else "video")}, np.empty(0)
    sys.stdout.buffer.write(json.dumps({"shape": values.shape, **facts}).encode() + b"\n")
    sys.stdout.buffer.write(np.ascontiguousarray(values).data)


if __name__ == "__main__":
    main()
