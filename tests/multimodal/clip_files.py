"""Real clip files, written without a codec: AVI with uncompressed frames, and perhaps a sound track."""

import struct
from pathlib import Path

import numpy as np


def write_avi(path: Path, frames: np.ndarray, rate_hz: int, sound: tuple[np.ndarray, int] | None = None) -> Path:
    """frames [F, H, W, 3], uint8; sound: int16 samples [T] and their rate."""
    number, height, width, _ = frames.shape
    streams = [_stream(b"vids", rate_hz, number, struct.pack("<3i2H6i", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0))]
    rows = np.pad(frames[:, ::-1, :, ::-1].reshape(number, height, -1), ((0, 0), (0, 0), (0, -3 * width % 4)))
    chunks = [_chunk(b"00db", frame.tobytes()) for frame in rows]  # blue, green, red; from the bottom up
    if sound is not None:
        samples, sound_rate = sound
        header = struct.pack("<2H2I2H", 1, 1, sound_rate, 2 * sound_rate, 2, 16)
        streams.append(_stream(b"auds", sound_rate, len(samples), header, sample_bytes=2))
        parts = np.array_split(samples.astype("<i2"), number)
        chunks = [
            one for frame, part in zip(chunks, parts, strict=True) for one in (frame, _chunk(b"01wb", part.tobytes()))
        ]
    head = struct.pack("<14I", 1_000_000 // rate_hz, 0, 0, 0, number, 0, len(streams), 0, width, height, 0, 0, 0, 0)
    header = _list(b"hdrl", _chunk(b"avih", head) + b"".join(streams))
    path.write_bytes(_chunk(b"RIFF", b"AVI " + header + _list(b"movi", b"".join(chunks))))
    return path


def _stream(kind: bytes, rate: int, length: int, header: bytes, sample_bytes: int = 0) -> bytes:
    about = struct.pack("<4s4s9I4h", kind, b"\0" * 4, 0, 0, 0, 1, rate, 0, length, 0, 0xFFFFFFFF, 0, 0, 0, 0)
    about = about[:44] + struct.pack("<I", sample_bytes) + about[48:]
    return _list(b"strl", _chunk(b"strh", about) + _chunk(b"strf", header))


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _list(name: bytes, data: bytes) -> bytes:
    return _chunk(b"LIST", name + data)
