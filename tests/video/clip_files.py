"""Real clips, encoded for the tests: frame number n is grey, 5 n bright, so that a frame tells which one it is."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

STEP = 5


def write_clip(
    path: Path,
    codec: str = "libx264",
    number: int = 50,
    rate_hz: int = 10,
    size: tuple[int, int] = (160, 120),
    pixels: str = "yuv420p",
    ticks: list[int] | None = None,
    sound_s: float = 0.0,
    container: str | None = None,
) -> Path:
    """ticks: when each frame is shown, in thousandths of a second, for a variable rate; sound_s: of a 440 Hz tone."""
    with av.open(str(path), "w", format=container) as out:
        video = out.add_stream(codec, rate=rate_hz)
        video.width, video.height = size
        video.pix_fmt = pixels
        video.bit_rate = 4_000_000
        tone = out.add_stream("aac" if path.suffix == ".mp4" else "pcm_s16le", rate=16_000) if sound_s else None
        for n in range(number):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), STEP * n % 256, np.uint8), "rgb24")
            if ticks is not None:
                frame.pts, frame.time_base = ticks[n], Fraction(1, 1000)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if tone:
            wave = (0.5 * np.sin(2 * np.pi * 440 * np.arange(int(16_000 * sound_s)) / 16_000)).astype(np.float32)
            for start in range(0, len(wave), 1024):
                block = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], "fltp", "mono")
                block.sample_rate, block.pts = 16_000, start
                out.mux(tone.encode(block))
            out.mux(tone.encode())
    return path


def numbers_of(frames) -> list[int]:
    """Which frames these are."""
    return [round(level / STEP) for level in frames.float().mean((1, 2, 3)).tolist()]


def rotated(data: bytes, degrees: int) -> bytes:
    """An MP4 file whose frames a player turns clockwise by so much: the matrix of its first track says so."""
    one, last = 1 << 16, 1 << 30
    matrix = {
        0: (one, 0, 0, 0, one),
        90: (0, one, 0, -one, 0),
        180: (-one, 0, 0, 0, -one),
        270: (0, -one, 0, one, 0),
    }[degrees]
    at = data.index(b"tkhd") + 44
    return data[:at] + struct.pack(">9i", *matrix, 0, 0, 0, last) + data[at + 36 :]
