"""Things without a name: never a held-out pair in disguise, visible, and never asked about by a name they lack."""

import random

import numpy as np

from multimodal.nano.pictures import draw, sample_style
from multimodal.nano.questions import ask_about
from multimodal.nano.scenes import COLOURS, HELD_OUT_PAIRS, NUMBERS, OTHER, SHAPES, sample_scene, with_strangers


def strange_scenes(number: int) -> list:
    rng = random.Random(0)
    return [with_strangers(sample_scene(rng), rng) for _ in range(number)]


def test_about_half_of_the_things_lose_one_name_and_none_both():
    things = [thing for scene in strange_scenes(500) for thing in scene.things]
    nameless = [thing for thing in things if OTHER in (thing.colour, thing.shape)]
    assert 0.4 < len(nameless) / len(things) < 0.6
    assert all(thing.colour in COLOURS or thing.shape in SHAPES for thing in things)
    assert not {(thing.colour, thing.shape) for thing in things} & HELD_OUT_PAIRS


def test_a_colour_without_a_name_is_far_from_those_that_have_one_and_from_its_ground():
    rng = random.Random(1)
    seen = 0
    for scene in strange_scenes(200):
        for thing in scene.things:
            if thing.colour != OTHER or thing.shape not in ("circle", "square"):
                continue
            style = sample_style(rng, scene)
            picture = np.asarray(draw(scene, style, 256, 256)).astype(int)
            at_thing = picture[round(thing.y * 256), round(thing.x * 256)]
            assert min(abs(at_thing - np.array(colour)).sum() for colour in COLOURS.values()) > 40
            assert min(abs(at_thing - np.array(ground)).max() for ground in style.ground_colours) > 15
            seen += 1
    assert seen > 30


def test_nothing_is_asked_by_a_name_that_it_lacks_and_counts_stay_true():
    rng = random.Random(2)
    for scene in strange_scenes(300):
        asked = ask_about(scene, rng, 10)
        assert asked and not any(OTHER in f"{one.text} {one.answer}" for one in asked)
        for one in asked:
            if one.text in ("How many things are there?", "How many shapes do you see?"):
                assert one.answer == NUMBERS[len(scene.things)]
