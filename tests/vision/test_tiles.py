import random
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from vision.image import open_picture
from vision.tiles import CLIP_MEAN, CLIP_STD, arrangements, choose_canvas, cut, fit_to_canvas, prepare

from .hostile import encoded, noise

random_sizes = random.Random(5)
SIZES = [(random_sizes.randint(5, 900), random_sizes.randint(5, 900)) for _ in range(18)] + [
    (112, 112),  # height, width: exactly one tile, then one pixel about it
    (111, 112),
    (113, 112),
    (224, 224),
    (225, 224),
    (448, 112),
    (112, 448),
    (6, 500),
    (500, 6),
    (40, 41),
    (1000, 1000),
    (750, 1500),
    (1500, 2999),  # a hair from the tie between 1 x 2 and 2 x 2 tiles
    (997, 333),
]


@pytest.fixture(scope="module")
def reference():
    """The default image processor of the published models' library."""
    from transformers import MllamaImageProcessor

    def tiles(picture: Image.Image, tile_px: int) -> tuple[torch.Tensor, int]:
        size = {"height": tile_px, "width": tile_px}
        processor = MllamaImageProcessor(size=size, image_mean=list(CLIP_MEAN), image_std=list(CLIP_STD))
        batch = processor(images=picture, return_tensors="pt")
        return batch["pixel_values"][0, 0, : batch["num_tiles"][0][0]], batch["aspect_ratio_ids"].item()

    return tiles


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_tiles_are_those_of_the_published_models(height, width, reference):
    picture = noise(width, height)
    pixels, aspect_id = reference(picture, 112)
    tiles = cut(picture, 112)
    assert tiles.aspect_id == aspect_id
    assert tiles.pixels.dtype == torch.float32
    torch.testing.assert_close(tiles.pixels, pixels, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(600, 800), (700, 500), (90, 130)])
def test_tiles_of_the_full_size_are_those_of_the_published_models(height, width, reference):
    picture = noise(width, height)
    pixels, aspect_id = reference(picture, 560)
    assert cut(picture, 560).aspect_id == aspect_id
    torch.testing.assert_close(cut(picture, 560).pixels, pixels, rtol=0, atol=1e-6)


def test_aspect_ids_of_four_tiles():
    assert arrangements(4) == ((1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 1), (4, 1))
    wide = cut(noise(400, 100), 100)
    assert (wide.arrangement, wide.aspect_id, wide.pixels.shape) == ((1, 4), 4, (4, 3, 100, 100))
    high = cut(noise(100, 300), 100)
    assert (high.arrangement, high.aspect_id, high.pixels.shape) == ((3, 1), 7, (3, 3, 100, 100))


def test_no_tiles_is_no_arrangement():
    with pytest.raises(ValueError, match="max_tiles is 0; it must be at least 1"):
        arrangements(0)


def many_sizes():
    rng = random.Random(9)
    for _ in range(400):
        yield rng.randint(1, 3000), rng.randint(1, 3000), rng.choice([1, 2, 3, 4, 6]), rng.choice([14, 128, 560])


def test_choose_canvas_is_the_rule_in_exact_fractions():
    for height, width, max_tiles, tile_px in many_sizes():
        scales = {
            (rows, cols): min(Fraction(rows * tile_px, height), Fraction(cols * tile_px, width))
            for rows in range(1, max_tiles + 1)
            for cols in range(1, max_tiles // rows + 1)
        }
        up = [scale for scale in scales.values() if scale >= 1]
        best = min(up) if up else max(scales.values())
        area = min(rows * cols for (rows, cols), scale in scales.items() if scale == best)
        rows, cols = choose_canvas(height, width, max_tiles, tile_px)
        assert scales[rows, cols] == best
        assert rows * cols == area


def test_choose_canvas_knows_neither_units_nor_up():
    for height, width, max_tiles, tile_px in many_sizes():
        canvas = choose_canvas(height, width, max_tiles, tile_px)
        assert choose_canvas(3 * height, 3 * width, max_tiles, 3 * tile_px) == canvas
        assert choose_canvas(width, height, max_tiles, tile_px) == canvas[::-1]


def test_fit_to_canvas_fits_and_keeps_the_shape():
    for height, width, max_tiles, tile_px in many_sizes():
        rows, cols = choose_canvas(height, width, max_tiles, tile_px)
        new_height, new_width = fit_to_canvas(height, width, rows, cols, tile_px)
        assert 1 <= new_height <= rows * tile_px and 1 <= new_width <= cols * tile_px
        assert max(new_height, new_width) >= tile_px
        exact = min(new_height / height, new_width / width), max(new_height / height, new_width / width)
        rounded_down = 1 / min(height, width)
        assert exact[1] - exact[0] <= rounded_down + 1e-9 or 1 in (new_height, new_width)


def test_pixels_are_put_together_again():
    picture = noise(250, 180)
    tiles = cut(picture, 100)
    assert tiles.arrangement == (2, 2)  # 250 x 180 shrinks to 200 x 144
    mean, std = torch.tensor(CLIP_MEAN).view(3, 1, 1), torch.tensor(CLIP_STD).view(3, 1, 1)
    levels = (tiles.pixels * std + mean) * 255
    whole = torch.cat([torch.cat(list(row), dim=2) for row in levels.view(2, 2, 3, 100, 100)], dim=1)
    assert whole[:, 144:].abs().max() < 1e-4  # black below
    resized = np.asarray(picture.resize((200, 144), Image.Resampling.BILINEAR))
    assert np.abs(whole[:, :144].permute(1, 2, 0).numpy() - resized).max() < 2.1  # Pillow's filter, rounded otherwise


def test_mean_and_std_are_used():
    grey = Image.new("RGB", (64, 64), (51, 102, 255))
    pixels = cut(grey, 64, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125)).pixels
    expected = torch.tensor([0.2, 0.8, 5.6]).view(1, 3, 1, 1)
    torch.testing.assert_close(pixels, expected.expand(1, 3, 64, 64))


@pytest.mark.parametrize("size", [(300, 200), (90, 700)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_prepare_is_open_and_cut(size, kind):
    data = encoded(noise(*size), kind)
    prepared, whole = prepare(data, 160), cut(open_picture(data), 160)
    assert (prepared.arrangement, prepared.aspect_id) == (whole.arrangement, whole.aspect_id)
    assert torch.equal(prepared.pixels, whole.pixels)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("size", [(1600, 1200), (3000, 1504), (1504, 3000), (480, 2400)])
def test_a_large_jpeg_gives_almost_the_same_tiles(size, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = noise(size[0] // 60, size[1] // 60).resize(size, Image.Resampling.BICUBIC)
    data = encoded(picture, "JPEG", quality=90, exif=exif)
    reduced, whole = prepare(data, 112), cut(open_picture(data), 112)
    assert (reduced.arrangement, reduced.aspect_id) == (whole.arrangement, whole.aspect_id)
    assert not torch.equal(reduced.pixels, whole.pixels)  # the decoder did reduce
    levels = (reduced.pixels - whole.pixels) * torch.tensor(CLIP_STD).view(3, 1, 1) * 255
    assert levels.abs().mean() < 1
    assert levels.abs().max() < 16
