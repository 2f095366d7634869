"""The table of hostile pictures: what is opened, and what the error must say was found."""

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vision.image import PictureLimits

# Small, so that the table is quick; what is tested is that a limit holds, whatever its value.
LIMITS = PictureLimits(max_file_bytes=2**20, max_pixels=2000 * 2000, max_side_px=4000, max_aspect=20, deadline_s=0.5)


@dataclass(frozen=True)
class Hostile:
    make: Callable[[Path], Any]  # an empty folder -> the source to open
    found: str  # a regular expression


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, colour_type: int, rows: list[bytes], extra: bytes = b"") -> bytes:
    """A PNG of any kind the format has; Pillow writes neither 48-bit colour nor false headers."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + extra + pixels + png_chunk(b"IEND", b"")


def jpeg_of_many_scans(side_px: int, scans: int) -> bytes:
    """A valid progressive JPEG whose scans take 10 bytes each, and a full pass over all blocks each."""
    data = encoded(Image.new("RGB", (side_px, side_px), (10, 200, 30)), "JPEG", progressive=True)
    last = data.rfind(b"\xff\xda")
    header = data[last : last + 2 + int.from_bytes(data[last + 2 : last + 4])]
    return data[:last] + header * scans + data[last:]


def _jpeg_that_claims(width: int, height: int) -> bytes:
    data = bytearray(encoded(noise(16, 16), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _gif_that_claims(width: int, height: int) -> bytes:
    data = bytearray(encoded(noise(16, 16), "GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def _bmp_that_claims(width: int, height: int) -> bytes:
    data = bytearray(encoded(noise(16, 16), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def _tiff_with_huge_tiles() -> bytes:
    tags = [(256, 8), (257, 8), (258, 8), (259, 8), (262, 1), (277, 1), (322, 60000), (323, 60000), (324, 8), (325, 4)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)


def _cut_short(kind: str, share: float = 0.6) -> Hostile:
    def make(folder: Path) -> Path:
        data = encoded(noise(64, 64), kind)
        return _file(folder, f"cut.{kind.lower()}", data[: int(share * len(data))])

    return Hostile(make, rf"a picture \({kind}\) (that cannot be decoded|with a damaged header)")


def _flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]


def _file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _named(name: str, data: bytes, found: str) -> Hostile:
    return Hostile(lambda folder: _file(folder, name, data), found)


def _value(make: Callable[[], Any], found: str) -> Hostile:
    return Hostile(lambda folder: make(), found)


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.png")
    return folder / "pipe.png"


def _socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.path.relpath(folder / "socket"))  # relative: the name of a socket may have 107 bytes only
    return folder / "socket"


def _loop(folder: Path) -> Path:
    (folder / "loop.png").symlink_to(folder / "loop.png")
    return folder / "loop.png"


def _closed(folder: Path) -> Any:
    with open(_file(folder, "closed.png", b"x"), "rb") as file:
        return file


def _floats(value: float) -> np.ndarray:
    array = np.full((8, 8, 3), 0.5, np.float32)
    array[3, 3, 1] = value
    return array


_PNG = encoded(noise(64, 64), "PNG")
_FTYP = b"\0\0\0\x18ftyp%b\0\0\0\0mif1heic"

HOSTILE: dict[str, Hostile] = {
    # no file at all
    "missing": Hostile(lambda folder: folder / "none.png", "no such file"),
    "folder": Hostile(lambda folder: folder, "a folder"),
    "pipe": Hostile(_pipe, "a named pipe"),
    "socket": Hostile(_socket, "a socket"),
    "device": _value(lambda: "/dev/zero", "a device"),
    "link to itself": Hostile(_loop, "cannot be read"),
    "address": _value(lambda: "https://example.com/cat.png", "an address, and nothing is fetched: download it first"),
    "data address": _value(lambda: "data:image/png;base64," + "A" * 5000, "an address"),
    "null byte in the path": _value(lambda: "cat\0.png", "no valid path"),
    "endless path": _value(lambda: "a" * 5000, "cannot be read"),
    "number": _value(lambda: 3, "an object of type int"),
    "text stream": _value(lambda: io.StringIO("picture"), "a stream that gives str"),
    "closed stream": Hostile(_closed, "a stream that cannot be read"),
    # files of another kind
    "empty file": _named("empty.png", b"", r"nothing \(0 bytes\)"),
    "empty bytes": _value(lambda: b"", r"nothing \(0 bytes\)"),
    "too many bytes": _named("big.png", _PNG + b"\0" * 2**20, "more than 1048576 bytes"),
    "text": _named("notes.png", "Überraschung: no picture\n".encode() * 90, "text"),
    "SVG": _named("drawing.png", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
    "PDF": _named("scan.jpg", encoded(noise(16, 16), "PDF"), "a PDF document"),
    "HEIC": _named("phone.jpg", _FTYP % b"heic", "a HEIC picture"),
    "MP4": _named("clip.png", _FTYP % b"isom", "an MP4"),
    "ZIP": _named("archive.png", b"PK\x03\x04" + bytes(40), "a ZIP archive"),
    "icon": _named("icon.png", encoded(noise(32, 32), "ICO"), "an icon"),
    "JPEG 2000": _named("picture.jpg", encoded(noise(32, 32), "JPEG2000"), "a JPEG 2000 picture"),
    "zeros": _named("zeros.png", bytes(5000), "bytes of no known picture format"),
    "only a signature": _named("start.png", _PNG[:8], "truncated"),
    # damage
    "truncated PNG": _cut_short("PNG"),
    "truncated JPEG": _cut_short("JPEG"),
    "truncated WebP": _cut_short("WEBP"),
    "truncated GIF": _cut_short("GIF"),
    "truncated BMP": _cut_short("BMP"),
    "truncated TIFF": _cut_short("TIFF"),
    "truncated AVIF": _cut_short("AVIF"),
    "JPEG without its last byte": _cut_short("JPEG", 0.999),
    "PNG without its end": _named("noend.png", _PNG[:-12], "truncated"),
    "PNG, wrong checksum of pixels": _named("pixels.png", _flipped(_PNG, len(_PNG) // 2), "wrong checksum"),
    "PNG, wrong checksum of header": _named("header.png", _flipped(_PNG, 17), "wrong checksum"),
    "PIL image of a cut file": _value(lambda: Image.open(io.BytesIO(_PNG[:500])), "a PIL image that cannot be decoded"),
    # too large, too small, too slow
    "bomb: 1-bit PNG": _named(
        "bomb.png", encoded(Image.new("1", (3000, 3000)), "PNG"), "3000 px wide and 3000 px high"
    ),
    "bomb: PNG header": _named("header.png", png(2**31 - 1, 2**31 - 1, 8, 2, []), "a picture .PNG."),
    "bomb: JPEG header": _value(lambda: _jpeg_that_claims(65500, 65500), "a picture .JPEG."),
    "bomb: GIF header": _value(lambda: _gif_that_claims(65535, 65535), "a picture .GIF."),
    "bomb: BMP header": _value(lambda: _bmp_that_claims(2**31 - 1, 2**31 - 1), "a picture .BMP."),
    "bomb: TIFF tiles": _value(_tiff_with_huge_tiles, "tiles of 3600000000 px"),
    "PNG of no pixels": _value(lambda: png(0, 0, 8, 2, []), "a picture .PNG."),
    "one pixel": _value(lambda: encoded(noise(1, 1), "PNG"), "1 px wide and 1 px high"),
    "a thread": _value(lambda: encoded(noise(2000, 10), "PNG"), "2000 px wide and 10 px high"),
    "100,000 scans": _value(lambda: jpeg_of_many_scans(2000, 100_000), "takes longer than 0.5 s"),
    # pixels that are none
    "32-bit integers": _value(lambda: encoded(Image.new("I", (8, 8)), "TIFF"), "pixels of mode I"),
    "Lab colours": _value(lambda: encoded(Image.new("LAB", (8, 8)), "TIFF"), "pixels of mode LAB"),
    "TIFF of floats beyond 1": _value(lambda: encoded(Image.new("F", (8, 8), 7.5), "TIFF"), "from 7.5 to 7.5"),
    "NaN": _value(lambda: _floats(float("nan")), "float values from nan"),
    "infinity": _value(lambda: _floats(float("inf")), "float values from 0.5 to inf"),
    "below zero": _value(lambda: _floats(-0.25), "float values from -0.25 to 0.5"),
    "floats up to 255": _value(lambda: _floats(255.0), "float values from 0.5 to 255.0"),
    "no rows": _value(lambda: np.zeros((0, 8, 3), np.uint8), r"shape \[0, 8, 3\]"),
    "a vector": _value(lambda: np.zeros(64, np.uint8), r"shape \[64\]"),
    "a batch": _value(lambda: np.zeros((1, 8, 8, 3), np.uint8), r"shape \[1, 8, 8, 3\]"),
    "two channels": _value(lambda: np.zeros((8, 8, 2), np.uint8), r"shape \[8, 8, 2\]"),
    "array, channels first": _value(lambda: np.zeros((3, 8, 8), np.uint8), r"shape \[3, 8, 8\]"),
    "tensor, channels last": _value(lambda: torch.zeros(8, 8, 3), r"shape \[8, 8, 3\]"),
    "integers": _value(lambda: np.zeros((8, 8, 3), np.int64), "values of type int64"),
    "integers in a tensor": _value(lambda: torch.zeros(3, 8, 8, dtype=torch.int64), "values of type int64"),
    "truth values": _value(lambda: np.zeros((8, 8), bool), "values of type bool"),
    "objects": _value(lambda: np.full((8, 8), None), "values of type object"),
    "complex numbers": _value(lambda: np.zeros((8, 8), complex), "values of type complex128"),
    "NaN in a tensor": _value(lambda: torch.full((3, 8, 8), float("nan")), "float values from nan"),
    "array too large": _value(lambda: np.zeros((3000, 3000), np.uint8), r"shape \[3000, 3000\]"),
}
