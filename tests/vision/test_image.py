import io
import pickle
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from adapters.media import MediaError, read_source
from vision.image import PictureLimits, open_picture, open_reduced

from .hostile import HOSTILE, LIMITS, encoded, jpeg_of_many_scans, noise, png, png_chunk

# A picture of six flat blocks, 16 px each, all different, so that a turn, a swap of channels or a wrong scale shows.
BLOCKS = np.array([[[200, 30, 40], [30, 180, 50], [40, 60, 220]], [[240, 230, 20], [20, 20, 20], [128, 64, 160]]])
RGB = BLOCKS.repeat(16, 0).repeat(16, 1).astype(np.uint8)  # [32, 48, 3]
GREY = (RGB @ [0.299, 0.587, 0.114]).round().astype(np.uint8)  # [32, 48]
PICTURE = Image.fromarray(RGB)


def difference(picture: Image.Image, expected: np.ndarray) -> int:
    """The largest difference of any channel of any pixel, in levels of 255."""
    assert picture.mode == "RGB"
    assert picture.size == (expected.shape[1], expected.shape[0])
    expected = expected if expected.ndim == 3 else expected[..., None].repeat(3, 2)
    return int(np.abs(np.asarray(picture).astype(int) - expected).max())


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_picture_gets_one_clear_error_in_time(name, tmp_path, recwarn, capfd):
    source = HOSTILE[name].make(tmp_path)
    started = time.monotonic()
    with pytest.raises(MediaError, match=f"^[^\n]+: found .*{HOSTILE[name].found}.*; accepted: [^\n]+$") as error:
        open_picture(source, LIMITS)
    assert time.monotonic() - started < LIMITS.deadline_s + 3
    assert len(str(error.value)) < 900
    assert isinstance(error.value, ValueError)
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")
    assert difference(open_picture(encoded(PICTURE, "PNG"), LIMITS), RGB) == 0  # and life goes on


def test_the_error_names_the_file_on_one_printable_line(tmp_path):
    path = tmp_path / "evil\n\x1b[2Jname.png"
    path.write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"evil\?\?\[2Jname.png: found text; accepted: a PNG, .* the other$"):
        open_picture(path, LIMITS)


def test_the_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(MediaError("a.png", "text", "a picture")))
    assert str(error) == "a.png: found text; accepted: a picture"
    assert (error.name, error.found, error.accepted) == ("a.png", "text", "a picture")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_random_damage_gives_a_picture_or_the_error(kind):
    whole, rng = encoded(noise(40, 30), kind), np.random.default_rng(1)
    for _ in range(40):
        data = bytearray(whole)
        for position in rng.integers(4, len(data), 6):
            data[position] = rng.integers(256)
        try:
            picture = open_picture(bytes(data), LIMITS)
        except MediaError:
            continue
        assert picture.mode == "RGB" and picture.width * picture.height <= LIMITS.max_pixels


def test_a_slow_jpeg_passes_when_there_is_time():
    picture = open_picture(jpeg_of_many_scans(64, 2000), PictureLimits(deadline_s=20))
    assert difference(picture, np.broadcast_to(np.uint8([10, 200, 30]), (64, 64, 3))) <= 2


def test_a_flood_of_empty_chunks_is_stopped_in_time():
    data = png(64, 64, 8, 2, [], extra=png_chunk(b"IDAT", b"") * 200_000)
    with pytest.raises(MediaError, match=r"takes longer than 0.01 s"):
        open_picture(data, PictureLimits(deadline_s=0.01))


def test_limits_must_be_positive():
    with pytest.raises(ValueError, match=r"PictureLimits.max_pixels is 0"):
        PictureLimits(max_pixels=0)


# Right answers about unusual pictures.


def animated(kind: str, **options) -> bytes:
    later = [Image.new("RGB", PICTURE.size), Image.new("RGB", PICTURE.size, "white")]
    return encoded(PICTURE, kind, save_all=True, append_images=later, **options)


def with_alpha(mode: str) -> Image.Image:
    """The left 16 columns are half transparent, the next 16 wholly, the rest not."""
    alpha = np.full(GREY.shape, 255, np.uint8)
    alpha[:, :16], alpha[:, 16:32] = 128, 0
    image = PICTURE.convert(mode[:-1])
    image.putalpha(Image.fromarray(alpha))
    return image


def on_white(colours: np.ndarray) -> np.ndarray:
    shown = colours.astype(float)
    shown[:, :16] = shown[:, :16] * 128 / 255 + 255 * 127 / 255
    shown[:, 16:32] = 255
    return shown.round()


def palette(transparency: int | bytes | None) -> bytes:
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3).repeat(16, 0).repeat(16, 1))
    image.putpalette(BLOCKS.astype(np.uint8).tobytes())
    return encoded(image, "PNG", **({} if transparency is None else {"transparency": transparency}))


def png_16(colours: np.ndarray, colour_type: int, extra: bytes = b"") -> bytes:
    rows = [row.tobytes() for row in (colours.astype(">u2") * 257).astype(">u2")]
    return png(48, 32, 16, colour_type, rows, extra)


ONE_CLEAR = RGB.copy()  # the fifth of the six colours of the palette is transparent
ONE_CLEAR[16:, 16:32] = 255
GREY_CLEAR = np.where(GREY[0, 0] == GREY, 255, GREY)

VALID = {  # how it is encoded, the pixels to see, the largest difference allowed
    "PNG": (lambda: encoded(PICTURE, "PNG"), RGB, 0),
    "PNG, interlaced rows of 4 bits": (lambda: png(48, 32, 4, 0, [b"\x0f" * 24] * 32), np.tile([0, 255], (32, 24)), 0),
    "PNG, followed by more": (lambda: encoded(PICTURE, "PNG") + b"more", RGB, 0),
    "JPEG": (lambda: encoded(PICTURE, "JPEG", quality=95, subsampling=0), RGB, 6),
    "JPEG, progressive": (lambda: encoded(PICTURE, "JPEG", quality=95, subsampling=0, progressive=True), RGB, 6),
    "JPEG, grey": (lambda: encoded(PICTURE.convert("L"), "JPEG", quality=95), GREY, 6),
    "JPEG, CMYK (inverted)": (lambda: encoded(PICTURE.convert("CMYK"), "JPEG", quality=95, subsampling=0), RGB, 12),
    "JPEG, several pictures": (lambda: animated("MPO", quality=95, subsampling=0), RGB, 6),
    "TIFF, CMYK": (lambda: encoded(PICTURE.convert("CMYK"), "TIFF"), RGB, 1),
    "TIFF, LZW": (lambda: encoded(PICTURE, "TIFF", compression="tiff_lzw"), RGB, 0),
    "TIFF, JPEG inside": (lambda: encoded(PICTURE.convert("L"), "TIFF", compression="jpeg", quality=95), GREY, 6),
    "TIFF, several pages": (lambda: animated("TIFF"), RGB, 0),
    "TIFF, 16 bits": (lambda: encoded(Image.fromarray(GREY.astype(np.uint16) * 257), "TIFF"), GREY, 0),
    "TIFF, floats": (lambda: encoded(Image.fromarray(GREY.astype(np.float32) / 255), "TIFF"), GREY, 0),
    "BMP": (lambda: encoded(PICTURE, "BMP"), RGB, 0),
    "WebP": (lambda: encoded(PICTURE, "WEBP", lossless=True), RGB, 0),
    "AVIF": (lambda: encoded(PICTURE, "AVIF", quality=100, subsampling="4:4:4"), RGB, 4),
    "GIF": (lambda: encoded(PICTURE, "GIF"), RGB, 0),
    "GIF, animated": (lambda: animated("GIF"), RGB, 0),
    "WebP, animated": (lambda: animated("WEBP", lossless=True), RGB, 0),
    "AVIF, animated": (lambda: animated("AVIF", quality=100, subsampling="4:4:4"), RGB, 4),
    "PNG, animated": (lambda: animated("PNG"), RGB, 0),
    "1 bit": (lambda: encoded(PICTURE.convert("L").point(lambda v: v > 99, "1"), "PNG"), (GREY > 99) * 255, 0),
    "palette": (lambda: palette(None), RGB, 0),
    "palette, one colour transparent": (lambda: palette(4), ONE_CLEAR, 0),
    "palette with alpha": (lambda: palette(b"\xff\xff\xff\xff\0"), ONE_CLEAR, 0),
    "RGBA": (lambda: encoded(with_alpha("RGBA"), "PNG"), on_white(RGB), 1),
    "RGBA, WebP": (lambda: encoded(with_alpha("RGBA"), "WEBP", lossless=True, exact=True), on_white(RGB), 1),
    "RGBA, TIFF": (lambda: encoded(with_alpha("RGBA"), "TIFF"), on_white(RGB), 1),
    "RGBA, opaque": (lambda: encoded(PICTURE.convert("RGBA"), "PNG"), RGB, 0),
    "grey with alpha": (lambda: encoded(with_alpha("LA"), "PNG"), on_white(GREY), 1),
    "16 bits, grey": (lambda: png_16(GREY, 0), GREY, 0),
    "16 bits, grey, one level transparent": (
        lambda: png_16(GREY, 0, png_chunk(b"tRNS", bytes([GREY[0, 0]] * 2))),
        GREY_CLEAR,
        0,
    ),
    "16 bits, colour": (lambda: png_16(RGB, 2), RGB, 0),
    "16 bits, colour with alpha": (lambda: png_16(np.asarray(with_alpha("RGBA")), 6), on_white(RGB), 1),
}


@pytest.mark.parametrize("name", VALID)
def test_an_unusual_picture_is_seen_as_it_is(name, recwarn):
    make, expected, allowed = VALID[name]
    picture = open_picture(make(), LIMITS)
    assert difference(picture, expected) <= allowed
    assert difference(open_picture(picture), np.asarray(picture)) == 0  # opening twice changes nothing
    assert not recwarn.list


def test_16_bits_are_rounded_not_cut():
    levels = np.array([0, 128, 129, 256, 257, 32767, 32768, 65406, 65407, 65535], np.uint16)
    picture = open_picture(levels.repeat(10).reshape(10, 10))
    assert np.asarray(picture)[:, 0, 0].tolist() == [0, 0, 1, 1, 1, 127, 128, 254, 255, 255]


UPRIGHT = {  # EXIF 2.32, tag 274: what a stored array [H, W, C] looks like upright
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored),
}

BEST = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_turns_a_picture_upright_once(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    best = {
        "JPEG": {"quality": 95, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    }
    data = encoded(PICTURE, kind, exif=exif.tobytes(), **best.get(kind, {}))
    expected = UPRIGHT[orientation](RGB)
    picture, (height, width) = open_reduced(data, LIMITS, lambda height, width: (height, width))
    assert (height, width) == expected.shape[:2]
    assert difference(picture, expected) <= 6
    assert difference(open_picture(picture), np.asarray(picture)) == 0
    assert difference(open_picture(Image.open(io.BytesIO(data))), np.asarray(picture)) == 0


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + b"\xff" * 50])
def test_a_broken_exif_block_turns_nothing(exif):
    assert difference(open_picture(encoded(PICTURE, "PNG", exif=exif)), RGB) == 0


def test_an_orientation_that_does_not_exist_turns_nothing():
    exif = Image.Exif()
    exif[0x0112] = 9
    assert difference(open_picture(encoded(PICTURE, "PNG", exif=exif.tobytes())), RGB) == 0


SOURCES = {
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "path": lambda path: path,
    "string": lambda path: str(path),
    "stream": lambda path: io.BytesIO(path.read_bytes()),
    "raw stream": lambda path: io.FileIO(path),
    "PIL image": lambda path: Image.open(path),
    "array": lambda path: RGB,
    "array, strided": lambda path: np.ascontiguousarray(RGB[:, ::-1])[:, ::-1],
    "array, alpha": lambda path: np.asarray(PICTURE.convert("RGBA")),
    "array, 16 bits": lambda path: RGB.astype(np.uint16) * 257,
    "array, 16 bits, big-endian": lambda path: (RGB.astype(np.uint16) * 257).astype(">u2"),
    "array, float16": lambda path: (RGB / 255).astype(np.float16),
    "array, float32": lambda path: (RGB / 255).astype(np.float32),
    "array, float64": lambda path: RGB / 255,
    "tensor": lambda path: torch.from_numpy(RGB).permute(2, 0, 1),
    "tensor, uint16": lambda path: torch.from_numpy(RGB.astype(np.uint16) * 257).permute(2, 0, 1),
    "tensor, float": lambda path: torch.from_numpy(RGB / 255).permute(2, 0, 1).requires_grad_(),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_kind_of_source_gives_the_same_picture(name, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(PICTURE, "PNG"))
    source = SOURCES[name](path)
    assert difference(open_picture(source), RGB) == 0
    if hasattr(source, "close"):
        source.close()


@pytest.mark.parametrize("grey", [GREY, GREY[..., None], torch.from_numpy(GREY), torch.from_numpy(GREY)[None]])
def test_grey_arrays_and_tensors(grey):
    assert difference(open_picture(grey), GREY) == 0


def test_a_bfloat16_tensor_is_a_picture():
    assert difference(open_picture((torch.from_numpy(RGB) / 255).permute(2, 0, 1).bfloat16()), RGB) <= 1


def test_a_large_jpeg_is_decoded_no_smaller_than_needed():
    data = encoded(PICTURE.resize((1600, 1000), Image.Resampling.NEAREST), "JPEG")
    for needed, size in {(501, 1): (1600, 1000), (500, 801): (1600, 1000), (500, 800): (800, 500)}.items():
        picture, full = open_reduced(data, LIMITS, lambda height, width, needed=needed: needed)
        assert (picture.size, full) == (size, (1000, 1600))
        assert picture.getpixel((1, 1)) == pytest.approx((200, 30, 40), abs=8)


def test_a_jpeg_with_an_odd_side_keeps_its_size():
    data = encoded(PICTURE.resize((1601, 998), Image.Resampling.NEAREST), "JPEG")
    assert open_reduced(data, LIMITS, lambda height, width: (50, 50))[0].size == (1601, 998)


def test_threads_share_the_silence_and_leave_the_filters_alone(tmp_path):
    before, failures = list(warnings.filters), []
    path = HOSTILE["truncated TIFF"].make(tmp_path)

    def work() -> None:
        for _ in range(20):
            try:
                failures.append(open_picture(path, LIMITS))
            except MediaError:
                continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert warnings.filters == before


def test_a_stream_is_read_up_to_the_limit_only():
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size=-1):
            self.given += min(size, 1000)
            return b"x" * min(size, 1000)

    stream = Endless()
    with pytest.raises(MediaError, match="Endless: found more than 5000 bytes; accepted: anything"):
        read_source(stream, 5000, "anything")
    assert stream.given == 5001


def test_a_source_is_named_after_its_file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    assert read_source(path, 3, "") == (str(path), b"abc")
    with open(path, "rb") as file:
        assert read_source(file, 3, "") == (str(path), b"abc")
    assert read_source(b"abc", 3, "") == ("bytes", b"abc")
