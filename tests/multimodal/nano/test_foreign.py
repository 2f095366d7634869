"""Pictures of other programs show the scene, and each file is really what its name says."""

import io
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multimodal.nano import foreign, pictures
from multimodal.nano.foreign import WAYS, Look, paint, sample_look
from multimodal.nano.scenes import COLOURS, SHAPES, Inscription, Scene, Thing, sample_scene
from vision.image import open_picture

PLAIN = Look("matplotlib", "", ("dimgray", "dimgray"), "plain", foreign._FACES[1], "lower", (0.0,), (False,))
GREY = 105  # dimgray
# Area of each shape in units of its radius squared; programs differ by a little.
AREAS = {"circle": 3.14, "square": 3.06, "triangle": 1.48, "star": 1.24, "cross": 2.1, "ring": 2.09}
WEB = {name: tuple(round(255 * level) for level in foreign.to_rgb(name)) for name in COLOURS}


def samples(number: int) -> list[tuple[Scene, Look, tuple[int, int]]]:
    rng = random.Random(4)
    scenes = [sample_scene(rng, held_out=True) for _ in range(number)]
    return [(scene, sample_look(scene, rng), rng.choice(((240, 240), (320, 240), (200, 300)))) for scene in scenes]


@pytest.mark.parametrize("program", foreign._PROGRAMS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour", COLOURS)
def test_a_thing_is_drawn_where_and_as_the_scene_says(program, shape, colour):
    scene = Scene((Thing(shape, colour, "large", 0.4, 0.6, 0.14),))
    drawn = np.asarray(paint(scene, replace(PLAIN, program=program), (300, 200)), np.int16)
    inked = np.abs(drawn - GREY).max(-1) > 40
    rows, columns = inked.nonzero()
    radius = 0.14 * 200
    assert abs((columns.min() + columns.max()) / 2 - 120) < 2
    assert abs((rows.min() + rows.max()) / 2 - 120) < 0.3 * radius  # a triangle's middle is not that of its box
    assert 1.65 * radius < np.ptp(columns) < 2.15 * radius
    assert inked.sum() == pytest.approx(AREAS[shape] * radius**2, rel=0.08)
    paint_of = [np.abs(drawn[inked] - np.array(named)).max(-1) < 60 for named in (COLOURS[colour], WEB[colour])]
    assert np.logical_or(*paint_of).mean() > 0.7
    if shape == "triangle":  # it points up
        assert np.ptp(columns[rows < rows.min() + 5]) < 0.5 * radius


@pytest.mark.parametrize("program", foreign._PROGRAMS)
@pytest.mark.parametrize("face", foreign._FACES)
@pytest.mark.parametrize("text", ["i", "407", "welcome"])
def test_print_stands_in_the_picture_where_the_scene_says(program, face, text):
    scene = Scene((), Inscription(text, "white", 0.5, 0.3, min(0.3, 1.3 / max(3, len(text)))))
    look = replace(PLAIN, program=program, face=face, case="upper", turns=(), edges=())
    rows, columns = (np.asarray(paint(scene, look, (240, 240)), np.int16).max(-1) > GREY + 60).nonzero()
    assert columns.min() >= 4 and columns.max() <= 235
    assert abs((columns.min() + columns.max()) / 2 - 120) < 8 and abs((rows.min() + rows.max()) / 2 - 72) < 12
    assert np.ptp(rows) > 0.5 * scene.inscription.height * 240 or len(text) == 7


def test_no_face_is_one_of_trainings():
    assert not set(foreign._FACES) & {pictures._FILES[name] for name in pictures.FACES}


@pytest.mark.parametrize("way", WAYS)
def test_a_file_is_a_function_of_its_arguments(way):
    scene, look, size = samples(1)[0]
    assert WAYS[way](scene, look, size) == WAYS[way](scene, look, size)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_shows_the_picture_upright(way, tmp_path):
    for scene, look, size in samples(2 if way == "3,000 px" else 8):
        file = tmp_path / "picture"
        file.write_bytes(WAYS[way](scene, look, size))
        seen = open_picture(file)
        if way == "96 px":
            assert min(seen.size) == 96
        elif way == "3,000 px":
            assert max(seen.size) == 3000
        else:
            assert seen.size == size
        common = (96, round(96 * size[1] / size[0]))
        shown, expected = (
            np.asarray(p.resize(common, Image.Resampling.BOX), np.float32) for p in (seen, paint(scene, look, size))
        )
        assert np.abs(shown - expected).mean() < 3 and np.abs(shown - expected).max(-1).mean() < 4


def test_the_jpeg_has_the_tables_of_quality_60():
    opened = Image.open(io.BytesIO(foreign.as_jpeg(*samples(1)[0])))
    # JPEG, annex K.1: the luminance steps 16, 11, 10, 16, 24, which IJG's quality 60 takes times 0.8
    assert opened.format == "JPEG" and opened.quantization[0][:5] == [13, 9, 8, 13, 19]
    assert opened.layer[0][1:3] == (2, 2)  # chroma at half the resolution


def test_the_16_bit_png_says_so_and_uses_them():
    scene, look, size = samples(1)[0]
    data = foreign.as_16_bit_png(scene, look, size)
    width, height, depth, colour_type = (int.from_bytes(data[16:20]), int.from_bytes(data[20:24]), data[24], data[25])
    assert (width, height, depth, colour_type) == (*size, 16, 2)
    *_, rows, _ = foreign.png.Reader(bytes=data).read()
    levels = np.array([list(row) for row in rows])
    assert (levels % 257 != 0).any()  # no level of 8 bits, repeated, gives these


def test_the_turned_jpeg_is_stored_turned_and_tagged():
    found = set()
    for scene, look, size in samples(20):
        opened = Image.open(io.BytesIO(foreign.as_turned_jpeg(scene, look, size)))
        orientation = opened.getexif()[0x0112]
        found.add(orientation)
        assert opened.size == (size if orientation == 3 else size[::-1])
        upright = np.asarray(paint(scene, look, size).resize((60, 60)), np.float32)
        assert (
            orientation == 3 or size[0] != size[1] or np.abs(np.asarray(opened.resize((60, 60))) - upright).max() > 40
        )
    assert found == {3, 6, 8}


@pytest.mark.parametrize("file", ["scene.png", "sign.jpg"])
def test_the_example_pictures_open(file):
    assert min(open_picture(Path(__file__).parents[3] / "examples" / file).size) >= 300
