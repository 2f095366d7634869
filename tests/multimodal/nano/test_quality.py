"""The held-out questions are balanced and unseen, scores are right, and the shipped nano scores what its card says."""

import json
import random
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

import multimodal
from multimodal.assistant import NANO
from multimodal.nano import quality
from multimodal.nano.card import held_out_table, write_card
from multimodal.nano.foreign import WAYS
from multimodal.nano.pictures import FACES, HELD_OUT_FACES, HELD_OUT_GROUNDS, sample_style
from multimodal.nano.quality import held_out_sheets, score
from multimodal.nano.scenes import HELD_OUT_PAIRS, KINDS, NUMBERS, SIZE_JITTER, SIZES, Question, sample_scene
from multimodal.nano.stages.core import CoreStage
from multimodal.nano.text.corpus import sample_conversation
from tests.multimodal.tiny_assistant import tiny_assistant
from vision.image import open_picture

# What the shipped weights must reach, a little under what was measured; the goal is 0.92, 0.85 and 0.80.
OVERALL, EACH_KIND, EACH_FOREIGN_WAY = 0.92, 0.85, 0.92
# The text core is frozen for good: every later part is trained around these very bytes.
CORE_SHA256 = "8078274f864ba3233da980e588bb4cbe0691592c25a87a20ebc372e7c3b23e5c"
REPEATED, TRANSLATED = 0.80, 0.80  # shares of held-out phrases in words, a little under what was measured
ROOT = Path(__file__).parents[3]
EXAMPLES, README = ROOT / "examples", ROOT / "README.md"


@pytest.fixture(scope="module")
def sheets() -> list[quality.Sheet]:
    return held_out_sheets()


@pytest.fixture(scope="module")
def figures() -> dict:
    return json.loads((NANO / "figures.json").read_text())


@pytest.fixture(scope="module")
def nano() -> multimodal.Assistant:
    return multimodal.load("nano", device="cpu")


# The questions


def test_kinds_counts_and_yes_no_are_balanced(sheets):
    asked = [question for sheet in sheets for question in sheet.questions]
    assert len(asked) >= 2000
    number = len(asked) // len(KINDS)
    assert Counter(question.kind for question in asked) == dict.fromkeys(KINDS, number) and number >= 250
    answers = {kind: Counter(one.answer for one in asked if one.kind == kind) for kind in ("count", "yes/no")}
    assert answers["count"] == dict.fromkeys(NUMBERS, number / len(NUMBERS))
    assert answers["yes/no"] == dict.fromkeys(("yes", "no"), number / 2)


def test_no_picture_is_asked_the_same_twice(sheets):
    for sheet in sheets:
        assert len({question.text for question in sheet.questions}) == len(sheet.questions)
    assert len({sheet.seed for sheet in sheets}) == len(sheets) == len({sheet.scene for sheet in sheets})


def test_a_small_set_is_the_start_of_a_large_one(sheets):
    few = held_out_sheets(100)
    assert 100 <= sum(len(sheet.questions) for sheet in few) <= 200
    assert few == sheets[: len(few)]
    assert held_out_sheets(100, seed=1) != few


def test_every_scene_with_things_shows_a_pair_that_training_never_shows(sheets):
    for sheet in sheets:
        pairs = {(thing.colour, thing.shape) for thing in sheet.scene.things}
        assert not pairs or pairs & HELD_OUT_PAIRS
    rng = random.Random(0)
    trained = {(thing.colour, thing.shape) for _ in range(2000) for thing in sample_scene(rng).things}
    assert not trained & HELD_OUT_PAIRS


def test_every_size_is_unseen_and_still_what_it_is_called(sheets):
    things = [thing for sheet in sheets for thing in sheet.scene.things]
    for thing in things:
        off = abs(thing.radius / SIZES[thing.size] - 1)
        assert SIZE_JITTER < off <= 0.1 and thing.size == min(SIZES, key=lambda size: abs(SIZES[size] - thing.radius))
    sides = [side for sheet in sheets for side in sheet.size]
    assert min(sides) < 150 and max(sides) > 600 and len({sheet.size for sheet in sheets}) > 300


def test_unseen_sizes_leave_things_apart_and_in_the_picture(sheets):
    for sheet in sheets:
        wide, high = (side / min(sheet.size) for side in sheet.size)
        for thing in sheet.scene.things:
            assert min(thing.x * wide, (1 - thing.x) * wide, thing.y * high, (1 - thing.y) * high) > 0.9 * thing.radius
        for a, b in combinations(sheet.scene.things, 2):
            distance = ((a.x - b.x) ** 2 * wide**2 + (a.y - b.y) ** 2 * high**2) ** 0.5
            assert distance > 0.999 * (a.radius + b.radius)


def test_every_face_and_ground_is_unseen(sheets):
    styles = [sample_style(random.Random(sheet.seed), sheet.scene, held_out=True) for sheet in sheets]
    assert {style.face for style in styles} == set(HELD_OUT_FACES) and not set(HELD_OUT_FACES) & set(FACES)
    assert 0.4 < sum(style.ground in HELD_OUT_GROUNDS for style in styles) / len(styles) < 0.6


def test_a_sheets_file_is_a_png_of_its_size(sheets):
    for sheet in sheets[:6]:
        file = quality.held_out_file(sheet)
        assert file[:8] == b"\x89PNG\r\n\x1a\n" and file == quality.held_out_file(sheet)
        assert open_picture(file).size == sheet.size


# The scores


def test_a_score_counts_exact_answers_beside_the_best_constant_one():
    asked = [Question("count", str(at), answer) for at, answer in enumerate(["one", "two", "two", "six"])]
    asked += [Question("yes/no", "?", answer) for answer in ["yes", "no"]]
    scores = score(asked, ["one", " two\n", "Two", "two", "yes", "yes"], ["two"] * 6)
    assert scores["count"] == quality.Score(exact=0.5, constant=0.5, blind=0.5, questions=4)
    assert scores["yes/no"] == quality.Score(exact=0.5, constant=0.5, blind=0.0, questions=2)
    assert scores["overall"] == quality.Score(exact=0.5, constant=0.5, blind=2 / 6, questions=6)
    assert list(scores) == ["count", "yes/no", "overall"]


def test_no_constant_answer_is_much_of_an_answer(sheets):
    asked = [question for sheet in sheets for question in sheet.questions]
    scores = score(asked, [question.answer for question in asked])
    assert all(one.exact == 1.0 for one in scores.values())
    most = {"colour": 0.2, "shape": 0.25, "count": 0.15, "size": 0.4, "position": 0.15, "yes/no": 0.5, "text": 0.05}
    assert all(scores[kind].constant <= share for kind, share in most.items())


def test_asking_all_at_once_is_asking_one_by_one(sheets):
    tiny, some = tiny_assistant(), [replace(sheet, size=(64, 48)) for sheet in sheets[:9]]
    some[3] = replace(some[3], size=(30, 30))  # one tile beside several
    assert_same_answers(tiny, some)


def assert_same_answers(assistant: multimodal.Assistant, sheets: list[quality.Sheet]) -> None:
    together = quality.ask_all(assistant, sheets, quality.held_out_file)
    alone = [
        assistant.ask(question.text, image=quality.held_out_file(sheet), max_new_tokens=quality.MAX_NEW_TOKENS).text
        for sheet in sheets
        for question in sheet.questions
    ]
    assert together == alone
    assert len(set(alone)) > 5


# The card


def test_the_card_tells_the_figures_and_only_of_the_weights_measured(tmp_path):
    weights = tmp_path / "core.safetensors"
    weights.write_bytes(b"some weights")
    one = {"exact": 0.9375, "constant": 0.25, "blind": 0.3, "questions": 98}
    measured = {
        "kinds": dict.fromkeys(KINDS, one),
        "overall": one | {"pictures": 28},
        "foreign": {way: one | {"kinds": dict.fromkeys(KINDS, 0.8125)} for way in WAYS},
        "weights": quality.weight_hashes(tmp_path),
    }
    stages = {"core": {"steps": 4400, "seconds": 5025}, "trunk": {"steps": 9000}}
    write_card(tmp_path, measured, stages, "2 CPU cores")
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["run"] == "seed 0: core 4,400 steps, trunk 9,000 steps; 2 CPU cores, 1 h 23 min"
    assert written.items() >= measured.items()
    card = (tmp_path / "README.md").read_text()
    assert all(f"| {kind} | 93.8% | 25.0% | 30.0% | 98 |" in card for kind in KINDS)
    assert all(f"| {way} | 93.8% | 25.0% | 81% |" in card for way in WAYS)
    assert measured["weights"]["core.safetensors"] in card and written["run"] in card
    further = {"core": {"steps": 5000, "seconds": 600, "begun_after": 4400}}  # on from these weights
    for _ in range(2):  # what is told twice has taken no longer
        write_card(tmp_path, measured, further, "2 CPU cores")
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["stages"] == {"core": {"steps": 5000, "seconds": 5625}, "trunk": {"steps": 9000}}
    weights.write_bytes(b"other weights")
    with pytest.raises(ValueError, match=r"measured on other weights .*core\.safetensors"):
        write_card(tmp_path, measured, stages, "2 CPU cores")


# The shipped nano


def test_the_figures_shipped_are_those_of_the_weights_and_good_enough(figures):
    assert figures["weights"] == quality.weight_hashes(NANO)
    assert figures["overall"]["questions"] >= 2000 and figures["overall"]["exact"] >= OVERALL
    assert set(figures["kinds"]) == set(KINDS) and set(figures["foreign"]) == set(WAYS)
    assert min(one["exact"] for one in figures["kinds"].values()) >= EACH_KIND
    assert min(one["exact"] for one in figures["foreign"].values()) >= EACH_FOREIGN_WAY
    assert min(one["questions"] for one in figures["foreign"].values()) >= 400


def test_the_text_core_is_the_one_frozen_for_good(figures):
    assert figures["weights"]["core.safetensors"] == CORE_SHA256


def test_the_text_core_repeats_and_translates_phrases_in_words(nano):
    stage = CoreStage(nano.processor.tokenizer)
    stage.model = nano.model.core
    for family, least in (("repeat", REPEATED), ("translate", TRANSLATED)):
        rng = random.Random(f"held out {family}")
        told = [sample_conversation(rng, family, held_out=True) for _ in range(150)]
        right = [exact for conversation in told for exact in stage.exact_answers(conversation)]
        assert sum(right) / len(right) >= least, family


def test_the_readme_tells_the_figures(figures):
    assert held_out_table(figures) in README.read_text("utf-8")


def test_nano_answers_a_sample_as_well_as_its_figures_say(nano, figures, sheets):
    some = held_out_sheets(quality.SAMPLE_QUESTIONS)
    asked = [question for sheet in some for question in sheet.questions]
    scores = score(asked, quality.ask_all(nano, some, quality.held_out_file))
    for kind, expected in figures["sample"].items():  # another processor may round one answer of 28 otherwise
        assert scores[kind].exact == pytest.approx(expected, abs=0.01 if kind == "overall" else 0.04), kind


def test_nano_answers_the_same_at_once_and_one_by_one(nano, sheets):
    assert_same_answers(nano, sheets[:6])


@pytest.mark.parametrize(
    ("file", "question", "answer"),
    [
        ("scene.png", "How many things are there?", "six"),
        ("scene.png", "How many circles are there?", "three"),
        ("scene.png", "What color is the star?", "orange"),
        ("scene.png", "Is there a blue square?", "yes"),
        ("sign.jpg", "What does it say?", "coffee"),
    ],
)
def test_nano_answers_about_the_examples(nano, file, question, answer):
    assert nano.ask(question, image=EXAMPLES / file).text == answer


@pytest.mark.slow
def test_nano_answers_all_as_well_as_its_card_says(nano, figures):
    measured = quality.measure(nano)
    for kind in KINDS:
        assert measured["kinds"][kind] == pytest.approx(figures["kinds"][kind], abs=0.01), kind
    assert measured["overall"] == pytest.approx(figures["overall"], abs=0.01)
    for way in WAYS:
        assert measured["foreign"][way]["exact"] == pytest.approx(figures["foreign"][way]["exact"], abs=0.01), way
