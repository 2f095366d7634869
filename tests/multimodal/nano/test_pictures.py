"""What is drawn is what the scene says, and training never sees what is held out."""

import colorsys
import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from multimodal.nano.captions import (
    CONTEXT,
    LETTERS,
    caption_tile,
    caption_whole,
    decode,
    encode,
    looks,
    name_patches,
    twin_of,
)
from multimodal.nano.pictures import (
    FACES,
    GROUNDS,
    HELD_OUT_FACES,
    HELD_OUT_GROUNDS,
    HELD_OUT_HUES,
    Style,
    draw,
    letter_boxes,
    sample_style,
)
from multimodal.nano.scenes import (
    COLOURS,
    HELD_OUT_PAIRS,
    SHAPES,
    SIZE_JITTER,
    SIZES,
    Inscription,
    Scene,
    Thing,
    sample_scene,
)

GREY = (120, 120, 120)
PLAIN = Style("plain", (GREY, GREY), "dejavu sans", "lower", 2, 0.0, 0.0, 0.0, 0.0, 0.0, None, 7)
# Area of each shape in circles of its radius, from its corners (a ring, cross or star at its middle build).
AREA = {"circle": 1.0, "square": 0.92, "triangle": 0.465, "star": 0.425, "cross": 0.66, "ring": 0.675}


def inked(picture) -> np.ndarray:
    """Which pixels differ from the grey ground."""
    return np.abs(np.asarray(picture, np.int16) - GREY[0]).max(-1) > 40


def one(shape: str, colour: str, size: str, x: float = 0.5, y: float = 0.5) -> Scene:
    return Scene((Thing(shape, colour, size, x, y, SIZES[size]),))


def test_drawing_is_a_function_of_its_arguments():
    rng = random.Random(3)
    for held_out in (False, True):
        for _ in range(20):
            scene = sample_scene(rng, held_out)
            style = sample_style(rng, scene, held_out=held_out)
            first, again = draw(scene, style, 96, 64), draw(scene, style, 96, 64)
            assert first.size == (96, 64) and first.mode == "RGB"
            assert first.tobytes() == again.tobytes()
    other = replace(style, ground="noisy", seed=style.seed + 1)
    assert draw(scene, other, 96, 64).tobytes() != draw(scene, replace(other, seed=0), 96, 64).tobytes()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour", COLOURS)
def test_a_thing_has_its_colour_where_it_stands(shape, colour):
    picture = np.asarray(draw(one(shape, colour, "large", 0.3, 0.6), PLAIN, 200, 200), np.int16)
    at = (120, 60 + round(0.82 * SIZES["large"] * 200)) if shape == "ring" else (120, 60)
    nearest = min(COLOURS, key=lambda name: np.abs(picture[at] - COLOURS[name]).sum())
    assert nearest == colour
    if shape == "ring":
        assert tuple(picture[120, 60]) == GREY


@pytest.mark.parametrize("shape", SHAPES)
def test_a_thing_is_as_big_as_its_size_says(shape):
    areas = {size: inked(draw(one(shape, "red", size), PLAIN, 320, 320)).sum() for size in SIZES}
    for size, area in areas.items():
        assert area / (np.pi * (SIZES[size] * 320) ** 2) == pytest.approx(AREA[shape], rel=0.16)
    assert areas["large"] / areas["small"] == pytest.approx((SIZES["large"] / SIZES["small"]) ** 2, rel=0.08)


def test_radius_is_a_fraction_of_the_shorter_side_and_places_of_each():
    for width, height in ((200, 100), (100, 200)):
        rows, columns = np.nonzero(inked(draw(one("circle", "red", "large", 0.25, 0.75), PLAIN, width, height)))
        assert (columns.mean() + 0.5) / width == pytest.approx(0.25, abs=0.01)
        assert (rows.mean() + 0.5) / height == pytest.approx(0.75, abs=0.01)
        assert np.ptp(columns) + 1 == pytest.approx(28, abs=2) and np.ptp(rows) + 1 == pytest.approx(28, abs=2)


def test_sizes_stay_apart_and_things_do_not_touch():
    bands = sorted((radius * (1 - SIZE_JITTER), radius * (1 + SIZE_JITTER)) for radius in SIZES.values())
    assert all(before[1] < after[0] for before, after in itertools.pairwise(bands))
    rng = random.Random(0)
    for _ in range(500):
        things = sample_scene(rng).things
        for n, a in enumerate(things):
            for b in things[:n]:
                assert np.hypot(a.x - b.x, a.y - b.y) >= a.radius + b.radius


def test_training_never_shows_what_is_held_out():
    rng = random.Random(1)
    low, high = HELD_OUT_HUES
    assert not set(FACES) & set(HELD_OUT_FACES) and not set(GROUNDS) & set(HELD_OUT_GROUNDS)
    for _ in range(1000):
        scene = sample_scene(rng)
        for shown in (scene, twin_of(scene, rng)):
            style = sample_style(rng, shown)
            assert not {(thing.colour, thing.shape) for thing in shown.things} & HELD_OUT_PAIRS
            assert style.face in FACES and style.ground in GROUNDS
            assert all(not low + 0.01 < hue < high - 0.01 for hue in _clear_hues(style))
        scene = sample_scene(rng, held_out=True)
        style = sample_style(rng, scene, held_out=True)
        assert style.face in HELD_OUT_FACES
        assert style.ground in HELD_OUT_GROUNDS or all(low < hue < high for hue in _clear_hues(style))
        assert not scene.things or {(thing.colour, thing.shape) for thing in scene.things} & HELD_OUT_PAIRS


def _clear_hues(style: Style) -> list[float]:
    """Hues of the ground colours that are far enough from grey for rounding not to bend them."""
    levels = [np.array(colour) / 255 for colour in style.ground_colours]
    return [colorsys.rgb_to_hsv(*level)[0] for level in levels if level.max() - level.min() > 0.1]


def test_everything_stands_out_from_the_ground():
    rng = random.Random(2)
    for number in range(200):
        scene = sample_scene(rng, held_out=number % 2 == 0)
        style = sample_style(rng, scene, held_out=number % 2 == 0)
        style = replace(style, ground="plain", colour_jitter=0.0, noise=0.0, blur=0.0, outline=0.0, jpeg_quality=None)
        empty = np.asarray(draw(Scene(()), style, 128, 128), np.int16)
        differs = np.abs(np.asarray(draw(scene, style, 128, 128), np.int16) - empty).max(-1) > 45
        for thing in scene.things:
            x, y, radius = (round(value * 128) for value in (thing.x, thing.y, thing.radius))
            assert differs[y - radius : y + radius, x - radius : x + radius].mean() > 0.2
        boxes = letter_boxes(scene, style, 128, 128)
        for left, top, right, bottom in boxes:
            assert differs[round(top) : round(bottom), round(left) : round(right)].mean() > 0.06


@pytest.mark.parametrize("face", (*FACES, *HELD_OUT_FACES))
def test_an_inscription_lies_within_the_picture_and_where_it_should(face):
    scene = Scene((), Inscription("welcome", "white", 0.5, 0.7, 0.186))
    for case in ("lower", "upper", "capitalised"):
        style = replace(PLAIN, face=face, case=case)
        rows, columns = np.nonzero(inked(draw(scene, style, 128, 128)))
        assert columns.min() > 0 and columns.max() < 127
        assert (columns.min() + columns.max()) / 2 == pytest.approx(64, abs=2.5)
        assert (rows.min() + rows.max()) / 2 == pytest.approx(0.7 * 128, abs=2.5)
        assert 8 <= np.ptp(rows) <= 26
        boxes = letter_boxes(scene, style, 128, 128)
        assert len(boxes) == 7 and boxes[0][0] <= columns.min() + 2 and boxes[-1][2] >= columns.max() - 2


def test_captions_tell_the_scene_and_come_back_from_their_ids():
    scene = Scene((Thing("triangle", "black", "large", 0.2, 0.2, 0.14),), Inscription("no", "red", 0.5, 0.7, 0.3))
    assert caption_whole(scene) == ("one", "top left", "large", "black", "triangle", "text", "n", "o")
    rng = random.Random(4)
    for _ in range(300):
        scene = sample_scene(rng, held_out=rng.random() < 0.5)
        caption = caption_whole(scene)
        ids = encode(caption)
        assert decode([*ids, 0, 0]) == caption and len(ids) <= CONTEXT
        assert all(looks(thing.radius) == thing.size for thing in scene.things)


def test_a_tile_tells_only_what_it_shows():
    things = (Thing("circle", "red", "small", 0.19, 0.19, 0.06), Thing("ring", "blue", "large", 0.81, 0.81, 0.14))
    scene = Scene(things, Inscription("stop", "black", 0.5, 0.5, 0.2))
    style = replace(PLAIN, face="dejavu mono")
    boxes = letter_boxes(scene, style, 256, 256)
    tiles = {
        (x, y): caption_tile(scene, boxes, (256, 256), (x, y, x + 128, y + 128)) for x in (0, 128) for y in (0, 128)
    }
    # twice as big as in the whole picture, and the word cut in four: each tile has half of two letters' height
    assert tiles[0, 0] == ("one", "center", "broad", "red", "circle", "text", "s", "t")
    assert tiles[128, 128] == ("one", "center", "giant", "blue", "ring", "text", "o", "p")
    assert tiles[128, 0] == ("zero", "text", "o", "p")


def test_patches_are_named_by_what_covers_them():
    things = (Thing("circle", "red", "large", 0.3, 0.3, 0.14), Thing("ring", "blue", "small", 0.84, 0.1, 0.06))
    scene = Scene(things, Inscription("at", "black", 0.5, 0.7, 0.25))
    boxes = letter_boxes(scene, PLAIN, 128, 128)
    names = name_patches(scene, boxes, (128, 128), (0, 0), 128, 16)
    assert names[0, 2, 2] == 1 + list(COLOURS).index("red") and names[1, 2, 2] == 1 + SHAPES.index("circle")
    assert names[1, 0, 6] == 1 + SHAPES.index("ring") and names[2, 0, 6] == 1
    assert np.argwhere(names[3]).tolist() == [[0, 6], [2, 2]]
    assert not names[:4, 5:].any()
    read = [LETTERS[number - 1] for patch in names[4:, 5].T for number in patch if number]
    assert read == ["a", "t"] and not names[4:, :5].any()


def test_a_twin_tells_something_else_with_as_many_things():
    rng = random.Random(5)
    for _ in range(1000):
        scene = sample_scene(rng)
        twin = twin_of(scene, rng)
        assert caption_whole(twin) != caption_whole(scene)
        assert len(twin.things) == len(scene.things)
        assert all(looks(thing.radius) == thing.size for thing in twin.things)
        for n, a in enumerate(twin.things):
            assert all(np.hypot(a.x - b.x, a.y - b.y) >= a.radius + b.radius for b in twin.things[:n])
