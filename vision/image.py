"""Opens one untrusted picture as upright 8-bit RGB, within limits, or raises one MediaError.

Why a picture cannot hang or exhaust us. Memory: the size that the header states is checked before a pixel is decoded.
Time: Pillow decodes PNG, JPEG, GIF and BMP piece by piece, and every piece, like every look into the header, is
read from `_Watched`, which stops at the deadline. That catches what a limit on pixels cannot: a JPEG of thousands
of progressive scans, a file of millions of empty chunks. WebP, AVIF and TIFF are decoded in one call
whose work is bounded by pixels and bytes. A worker thread with a timeout would not do: a thread cannot be stopped.
"""

import codecs
import io
import struct
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError, features

from adapters.media import MediaError, Source, read_source

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
_OTHER_FILES = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"8BPS", "a Photoshop document"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\0\0\x01\0", "an icon (ICO)"),
)
_DIRECT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"}
_ORIENTATION = 0x0112  # EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 322, 323
# A scan of a JPEG may take 10 bytes and, at 67 Mpx, 9 ms to decode (measured); encoders write about ten. With more, the
# clock is looked at every KiB, so at most 1 s late. Honest files keep Pillow's 64 KiB, which decode 10% faster.
_START_OF_SCAN, _MANY_SCANS, _MANY_SCANS_BLOCK_BYTES = b"\xff\xda", 16, 1024


@dataclass(frozen=True)
class PictureLimits:
    """What a picture may be (all numbers our choice). Decoding takes 7 to 16 bytes of memory per pixel."""

    max_file_bytes: int = 64 * 2**20
    max_pixels: int = 2**26  # 8192 x 8192; Pillow itself refuses twice PIL.Image.MAX_IMAGE_PIXELS (1.8e8)
    min_side_px: int = 4
    max_side_px: int = 2**15
    max_aspect: int = 100  # longer side / shorter side
    deadline_s: float = 20.0  # for decoding one file

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"PictureLimits.{name} is {value}; it must be greater than 0")

    @property
    def accepted(self) -> str:
        *most, last = picture_formats()
        return (
            f"a {', '.join(most)} or {last} picture, {self.max_file_bytes / 2**20:.3g} MiB, "
            f"{self.min_side_px} to {self.max_side_px} px a side, {self.max_pixels / 1e6:.3g} megapixels, "
            f"one side up to {self.max_aspect} times the other"
        )


DEFAULT_LIMITS = PictureLimits()
PictureSource = Source | Image.Image | np.ndarray | torch.Tensor


@cache
def picture_formats() -> tuple[str, ...]:
    """The file formats that are opened, by Pillow's names; all others are refused by their first bytes."""
    return ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF") + (("AVIF",) if features.check("avif") else ())


def open_picture(source: PictureSource, limits: PictureLimits = DEFAULT_LIMITS) -> Image.Image:
    """The picture as the eye should see it: upright (EXIF), RGB, 8 bits, transparency on white, first frame.

    source: a path, bytes, a binary stream, a PIL image, a numpy array [H, W] or [H, W, 1|3|4], or a torch tensor [H, W]
    or [1|3|4, H, W]; arrays and tensors are uint8, uint16 (65535 is white) or float in [0, 1].
    The first frame of an animation stands for it, the current frame of a PIL image. Colour profiles are not applied.
    An already opened picture comes back unchanged.
    Raises MediaError naming the source, what was found and what is accepted. Damage that a format cannot show (a wrong
    bit inside JPEG or lossy WebP data) passes, as in every viewer.
    """
    return open_reduced(source, limits, lambda height, width: (height, width))[0]


def open_reduced(
    source: PictureSource, limits: PictureLimits, needed: Callable[[int, int], tuple[int, int]]
) -> tuple[Image.Image, tuple[int, int]]:
    """As open_picture, but a JPEG of at least twice the size needed is decoded at half its size, in half the time.

    needed: full (height, width) -> the (height, width) in px below which the picture must not fall.
    Returns the picture and its full (height, width).
    """
    if isinstance(source, np.ndarray):
        picture = _from_array(source, "array [H, W, C]", source.shape, limits)
    elif isinstance(source, torch.Tensor):
        picture = _from_tensor(source, limits)
    elif isinstance(source, Image.Image):
        return _from_pil(source, limits)
    else:
        return _from_file(source, limits, needed)
    return picture, (picture.height, picture.width)


def _from_file(
    source: Source, limits: PictureLimits, needed: Callable[[int, int], tuple[int, int]]
) -> tuple[Image.Image, tuple[int, int]]:
    name, data = read_source(source, limits.max_file_bytes, limits.accepted)
    kind = _format(data)
    what = f"a picture ({kind})" if kind else _describe(data)
    if kind not in picture_formats():
        raise MediaError(name, what, limits.accepted)
    with _decoding(name, what, limits):
        file = _Watched(data, limits.deadline_s)
        if kind == "PNG":
            _check_png(data, file)
        image = Image.open(file, formats=[kind])
        _check_size(name, what, image.width, image.height, limits)
        full = _reduce(image, data, needed) if kind == "JPEG" else None
        if kind == "TIFF":
            tile_pixels = image.tag_v2.get(_TIFF_TILE_WIDTH, 0) * image.tag_v2.get(_TIFF_TILE_HEIGHT, 0)
            if tile_pixels > limits.max_pixels:
                raise MediaError(name, f"{what} with tiles of {tile_pixels} px", limits.accepted)
        image.load()
        picture = _upright_rgb(image, name, limits)
        return picture, full or (picture.height, picture.width)


def _reduce(image: Image.Image, data: bytes, needed: Callable[[int, int], tuple[int, int]]) -> tuple[int, int]:
    """Sets how a JPEG is going to be decoded; returns its full upright (height, width)."""
    if data.count(_START_OF_SCAN) > _MANY_SCANS:
        image.decodermaxblock = _MANY_SCANS_BLOCK_BYTES
    turned = _orientation(image) >= 5
    full = (image.width, image.height) if turned else (image.height, image.width)
    height, width = needed(*full)[::-1] if turned else needed(*full)
    even = image.width % 2 == image.height % 2 == 0  # an odd side would be rounded up, and the picture stretched
    if even and image.width >= 2 * width and image.height >= 2 * height:
        image.draft(None, (image.width // 2, image.height // 2))
    return full


def _from_pil(image: Image.Image, limits: PictureLimits) -> tuple[Image.Image, tuple[int, int]]:
    name = str(getattr(image, "filename", "") or "PIL image")
    _check_size(name, f"a PIL image (mode {image.mode})", image.width, image.height, limits)
    with _decoding(name, "a PIL image", limits):
        image.load()
        picture = _upright_rgb(image, name, limits)
        return picture, (picture.height, picture.width)


def _from_tensor(tensor: torch.Tensor, limits: PictureLimits) -> Image.Image:
    shape = tuple(tensor.shape)
    tensor = tensor.detach()
    if tensor.is_floating_point():
        tensor = tensor.float()
    return _from_array(tensor.movedim(0, -1) if tensor.ndim == 3 else tensor, "tensor [C, H, W]", shape, limits)


def _from_array(array: np.ndarray | torch.Tensor, name: str, shape: tuple[int, ...], limits: PictureLimits):
    """A picture from [H, W] or [H, W, 1|3|4]; shape is the shape that the caller gave, for messages."""
    accepted = f"{name} or [H, W], C = 1, 3 or 4, uint8, uint16 or float in [0, 1]; sizes as of {limits.accepted}"
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise MediaError(name, f"shape {list(shape)}", accepted)
    _check_size(name, f"shape {list(shape)},", array.shape[1], array.shape[0], limits)
    array = array.cpu().numpy() if isinstance(array, torch.Tensor) else array
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    picture = Image.fromarray(np.ascontiguousarray(_to_8_bits(array, name, accepted)))
    return _on_white(picture)


def _to_8_bits(array: np.ndarray, name: str, accepted: str) -> np.ndarray:
    """uint8 of the same shape: uint16 / 257 and float x 255, rounded to the nearest."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.dtype.kind != "f":
        raise MediaError(name, f"values of type {array.dtype}", accepted)
    low, high = array.min(), array.max()  # NaN if any value is
    if not (low >= 0 and high <= 1):
        raise MediaError(name, f"float values from {low} to {high}", accepted)
    return np.rint(array.astype(np.float32) * 255).astype(np.uint8)


def _upright_rgb(image: Image.Image, name: str, limits: PictureLimits) -> Image.Image:
    """A decoded image of any mode as upright RGB. The result carries no orientation, so it is never turned twice."""
    if image.mode.startswith("I;16") or image.mode == "F":
        array = np.array(image)
        if isinstance(image.info.get("transparency"), int):  # one level of grey that stands for "nothing here"
            array[array == image.info["transparency"]] = 65535
        rgb = Image.fromarray(_to_8_bits(array, name, limits.accepted)).convert("RGB")
    elif image.mode in _DIRECT_MODES:
        rgb = _on_white(image)
    else:
        raise MediaError(name, f"pixels of mode {image.mode}", limits.accepted)
    orientation = _orientation(image)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
        rgb.info = {}
    return rgb


def _on_white(image: Image.Image) -> Image.Image:
    """RGB; what is transparent shows a white ground (our choice: most such pictures are drawn for white pages)."""
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return rgba.convert("RGB")
    ground = Image.new("RGB", rgba.size, "white")
    ground.paste(rgba, mask=alpha)
    return ground


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if there is none. An EXIF block that cannot be read says nothing about it."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except _Late:
        raise
    except Exception:  # the parser may raise anything on hostile bytes
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _check_size(name: str, what: str, width: int, height: int, limits: PictureLimits) -> None:
    short, long = min(width, height), max(width, height)
    if (
        short < limits.min_side_px
        or long > limits.max_side_px
        or width * height > limits.max_pixels
        or long > limits.max_aspect * short
    ):
        raise MediaError(name, f"{what} {width} px wide and {height} px high", limits.accepted)


def _check_png(data: bytes, file: "_Watched") -> None:
    """Raises ValueError unless every chunk up to IEND is whole and has its checksum: Pillow skips those of pixels."""
    position, kind, view = 8, b"", memoryview(data)
    while kind != b"IEND":
        file.check_time()
        if position + 12 > len(data):
            raise ValueError("the file is truncated")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            raise ValueError("the file is truncated")
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise ValueError(f"wrong checksum at byte {position}")
        position = end + 4


def _format(data: bytes) -> str | None:
    """Pillow's name of the format that the first bytes announce, None if it is none that we know."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp" and (data[8:12] in (b"avif", b"avis") or b"avif" in data[16:64]):
        return "AVIF"
    return next((kind for start, kind in _SIGNATURES if data.startswith(start)), None)


def _describe(data: bytes) -> str:
    """What a file that is no picture of ours seems to be, in words."""
    head = data[:1024]
    if head[4:8] == b"ftyp":
        heic = head[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
        return "a HEIC picture" if heic else "an MP4 or QuickTime file"
    if b"<svg" in head.lower():
        return "an SVG drawing"
    for start, words in _OTHER_FILES:
        if data.startswith(start):
            return words
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # a letter may be cut at the end of head
    except UnicodeDecodeError:
        text = "\0"
    readable = all(letter.isprintable() or letter.isspace() for letter in text)
    return "text" if readable else "bytes of no known picture format"


class _Late(Exception):
    """The deadline has passed."""


class _Watched(io.BytesIO):
    """A file in memory whose reads raise _Late once seconds have passed since it was made."""

    def __init__(self, data: bytes, seconds: float):
        super().__init__(data)
        self.stop = time.monotonic() + seconds

    def check_time(self) -> None:
        if time.monotonic() > self.stop:
            raise _Late

    def read(self, size: int | None = -1, /) -> bytes:
        self.check_time()
        return super().read(size)


@contextmanager
def _decoding(name: str, what: str, limits: PictureLimits) -> Iterator[None]:
    """Turns whatever a codec raises into one MediaError, and keeps Pillow's warnings in."""
    try:
        with _quiet:
            yield
    except MediaError:
        raise
    except _Late:
        found = f"{what} that takes longer than {limits.deadline_s:g} s to decode"
        raise MediaError(name, found, limits.accepted) from None
    except UnidentifiedImageError:
        raise MediaError(name, f"{what} with a damaged header", limits.accepted) from None
    except Image.DecompressionBombError:
        raise MediaError(name, f"{what} of more pixels than Pillow opens", limits.accepted) from None
    except Exception as error:  # a codec may raise anything on hostile bytes
        reason = str(error) or type(error).__name__
        raise MediaError(name, f"{what} that cannot be decoded ({reason})", limits.accepted) from error


class _Quiet:
    """Ignores warnings while any thread is inside: the first one in saves the filters, the last one out restores them.

    `warnings.catch_warnings` alone is not safe here: two threads that overlap may restore in the wrong order.
    """

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.saved = warnings.catch_warnings(action="ignore")
                self.saved.__enter__()
            self.inside += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.saved.__exit__(*error)


_quiet = _Quiet()
