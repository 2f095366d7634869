"""Questions have one right answer, recomputed here from the scene, and give nothing away."""

import random
import re
from collections import Counter

import pytest

from multimodal.nano.questions import ask_about, ask_kind
from multimodal.nano.scenes import (
    COLOURS,
    HELD_OUT_PAIRS,
    KINDS,
    NUMBERS,
    SHAPES,
    SIZES,
    Inscription,
    Scene,
    sample_scene,
)


@pytest.fixture(scope="module")
def asked() -> list:
    rng = random.Random(0)
    return [(scene, one) for scene in (sample_scene(rng) for _ in range(3000)) for one in ask_about(scene, rng, 8)]


def of_kind(asked: list, kind: str) -> list:
    return [(scene, question) for scene, question in asked if question.kind == kind]


def meant(scene: Scene, name: str) -> list:
    """The things that a name such as "large red thing" fits."""
    words = set(name.split()) - {"thing", "the"}
    return [thing for thing in scene.things if words <= {thing.size, thing.colour, thing.shape}]


@pytest.mark.parametrize(
    ("kind", "attribute", "pattern"),
    [
        ("colour", "colour", r"(?:What colou?r is the|Which color does the) (.+?)(?: have)?\?"),
        ("shape", "shape", r"(?:What shape is|Which shape is|What is) the (.+)\?"),
        ("size", "size", r"(?:What size is|How big is|How large is) the (.+)\?"),
    ],
)
def test_an_attribute_is_that_of_the_one_thing_named(asked, kind, attribute, pattern):
    for scene, question in of_kind(asked, kind):
        found = meant(scene, re.fullmatch(pattern, question.text)[1])
        assert len(found) == 1 and getattr(found[0], attribute) == question.answer, question


def test_counts_count(asked):
    for scene, question in of_kind(asked, "count"):
        noun = re.match(r"How many (.+?) (?:are|do)", question.text)[1]
        noun = {"crosses": "cross", "things": "", "shapes": ""}.get(noun, noun.removesuffix("s"))
        assert NUMBERS[len(meant(scene, noun))] == question.answer, question


def test_yes_and_no_are_as_frequent_and_right(asked):
    answers = Counter(question.answer for _, question in of_kind(asked, "yes/no"))
    assert abs(answers["yes"] / answers.total() - 0.5) < 0.03
    for scene, question in of_kind(asked, "yes/no"):
        if there := re.match(r"(?:Is there|Do you see) an? (.+?)(?: in the picture)?\?", question.text):
            assert bool(meant(scene, there[1])) == (question.answer == "yes"), question
        elif stands := re.match(r"Is the (.+) (left of|right of|above|below) the (.+)\?", question.text):
            (first,), (second,) = meant(scene, stands[1]), meant(scene, stands[3])
            truth = {
                "left of": first.x < second.x,
                "right of": first.x > second.x,
                "above": first.y < second.y,
                "below": first.y > second.y,
            }[stands[2]]
            assert truth == (question.answer == "yes"), question
        elif said := re.match(r"Does it say (.+)\?", question.text):
            assert (said[1] == scene.inscription.text) == (question.answer == "yes"), question
        else:
            name, value = re.match(r"Is the (.+?) (?:a )?(\w+)\?", question.text).groups()
            (thing,) = meant(scene, name)
            assert (value in (thing.size, thing.colour, thing.shape)) == (question.answer == "yes"), question


def test_positions_are_where_things_stand(asked):
    kinds = Counter()
    for scene, question in of_kind(asked, "position"):
        if where := re.match(r"(?:Where is|Where do you see|In which place is) the (.+)\?", question.text):
            (thing,) = meant(scene, where[1])
            assert thing.place == question.answer
        elif side := re.match(r"Is the (.+) (?:left or right of|above or below) the (.+)\?", question.text):
            (first,), (second,) = meant(scene, side[1]), meant(scene, side[2])
            horizontal = question.answer in ("left", "right")
            before = (first.x < second.x) if horizontal else (first.y < second.y)
            assert before == (question.answer in ("left", "above"))
        else:
            word = re.search(r"(leftmost|rightmost|highest|lowest)", question.text)[1]
            key = {"leftmost": "x", "rightmost": "x", "highest": "y", "lowest": "y"}[word]
            chosen = (min if word in ("leftmost", "highest") else max)(scene.things, key=lambda t: getattr(t, key))
            assert question.answer in (chosen.shape, chosen.colour)
        kinds[question.text.split()[0]] += 1
    assert len(kinds) >= 4


def test_training_never_says_no_to_a_pair_that_it_never_shows(asked):
    for scene, question in of_kind(asked, "yes/no"):
        words = set(re.findall(r"\w+", question.text))
        thing = next((one for one in scene.things if one.shape in words and " is the " in question.text.lower()), None)
        colours, shapes = words & set(COLOURS), words & set(SHAPES)
        if " a " in question.text and len(colours) == len(shapes) == 1:
            assert (*colours, *shapes) not in HELD_OUT_PAIRS, question
        if thing and len(colours) == 1 and question.text.rstrip("?").split()[-1] in COLOURS:
            assert (*colours, thing.shape) not in HELD_OUT_PAIRS, question


def test_each_kind_can_be_asked_and_every_scene_has_a_question():
    rng = random.Random(1)
    scene = next(
        scene for scene in iter(lambda: sample_scene(rng), None) if len(scene.things) == 2 and scene.inscription
    )
    for kind in KINDS:
        assert any(ask_kind(kind, scene, rng) for _ in range(50))
    for seed in range(300):  # scenes of held-out pairs, too
        assert ask_about(sample_scene(random.Random(seed), held_out=True), random.Random(seed), 12)
    bare = Scene((), Inscription("stop", "red", 0.5, 0.5, 0.2))
    assert all(ask_about(bare, random.Random(seed), 1) for seed in range(500))


def test_sizes_are_told_apart():
    rng = random.Random(2)
    for thing in (thing for _ in range(500) for thing in sample_scene(rng).things):
        assert min(SIZES, key=lambda size: abs(SIZES[size] - thing.radius)) == thing.size
