"""That a pair of colour and shape was never shown is not learnt as if there were none; all else is."""

import random

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from multimodal.checkpoint import NANO
from multimodal.nano import captions
from multimodal.nano.captions import caption_whole, encode, name_patches
from multimodal.nano.clips import sample_scene_of_clip
from multimodal.nano.questions import ask_about
from multimodal.nano.scenes import COLOURS, HELD_OUT_PAIRS, SHAPES, UNSEEN_WITH, Question, Scene, Thing, sample_scene
from multimodal.nano.stages.branches import answer_loss
from multimodal.nano.stages.trunk import TILE, _naming_loss
from multimodal.nano.stages.undenied import UndeniedTokens, undenied_words
from multimodal.nano.text.clips import ask_about_clip
from multimodal.nano.text.tokenizer import ConversationEncoder

RED_CIRCLE = Scene((Thing("circle", "red", "medium", 0.2, 0.2, 0.1),))


@pytest.fixture(scope="module")
def encoder() -> ConversationEncoder:
    return ConversationEncoder(PreTrainedTokenizerFast.from_pretrained(NANO))


def test_what_a_name_was_never_shown_with_is_what_is_held_out():
    assert {(colour, shape) for colour in COLOURS for shape in UNSEEN_WITH[colour]} == HELD_OUT_PAIRS
    assert {(colour, shape) for shape in SHAPES for colour in UNSEEN_WITH[shape]} == HELD_OUT_PAIRS


def test_a_patch_of_a_red_circle_says_nothing_of_red_stars():
    names = torch.from_numpy(name_patches(RED_CIRCLE, [], (TILE, TILE), (0, 0), TILE, 16)).long().unsqueeze(0)
    logits = torch.zeros(1, 64, sum(captions.PATCH_NAMES), requires_grad=True)
    _naming_loss(logits, names).backward()
    colours, shapes = (part[0] for part in logits.grad.split(captions.PATCH_NAMES, -1)[:2])
    there = names[0, 1].flatten() > 0
    denied = {name: (shapes[there, 1 + at] > 0).all().item() for at, name in enumerate(SHAPES)}
    assert denied == {name: name not in ("circle", "star") for name in SHAPES}
    denied = {name: (colours[there, 1 + at] > 0).all().item() for at, name in enumerate(COLOURS)}
    assert denied == {name: name not in ("red", "yellow", "white") for name in COLOURS}
    assert (shapes[~there, 1:] > 0).all() and (colours[~there, 1:] > 0).all()  # where nothing is, all are denied


def test_a_caption_of_a_red_circle_says_nothing_of_red_stars():
    labels = torch.tensor([encode(caption_whole(RED_CIRCLE))[1:]])
    left_out = undenied_words(torch.zeros(1, labels.shape[1], len(captions.VOCABULARY)), labels).isinf()
    told = [captions.VOCABULARY[word] for word in labels[0]]
    left_out = [{captions.VOCABULARY[word] for word in one.nonzero().flatten()} for one in left_out[0]]
    assert left_out[told.index("red")] == {"yellow", "white"} and left_out[told.index("circle")] == {"star"}
    assert not any(word in out for word, out in zip(told, left_out, strict=True))


def left_out(encoder: ConversationEncoder, question: Question) -> dict[int, set[str]]:
    """Words that the loss leaves out, at each token of the answer."""
    places: dict[int, set[str]] = {}
    for place, token in UndeniedTokens(encoder)(question, encoder.text(question.answer), 0):
        places.setdefault(place, set()).add(encoder.decode([token]).strip())
    return places


def test_questions_about_a_red_circle_say_nothing_of_red_stars(encoder):
    asked = {one.answer: one for seed in range(40) for one in ask_about(RED_CIRCLE, random.Random(seed), 10)}
    assert left_out(encoder, asked["circle"]) == {0: {"star"}}
    assert left_out(encoder, asked["red"]) == {0: {"yellow", "white"}}
    assert left_out(encoder, asked["medium"]) == left_out(encoder, asked["yes"]) == {}
    [described] = [one for one in asked.values() if one.kind == "describe"]
    words = [encoder.decode([token]).strip() for token in encoder.text(described.answer)]
    places = left_out(encoder, described)
    assert "star" in places[words.index("circle")] and {"yellow", "white"} <= places[words.index("red")]


def test_no_right_answer_is_left_out(encoder):
    rng, undenied = random.Random(0), UndeniedTokens(encoder)
    asked = [one for _ in range(200) for one in ask_about(sample_scene(rng), rng, 10)]
    asked += [one for _ in range(200) for one in ask_about_clip(sample_scene_of_clip(rng), rng, 10)]
    some = 0
    for question in asked:
        answer = encoder.text(question.answer)
        for place, token in undenied(question, answer, 0):
            assert place < len(answer) and token != answer[place], question
            some += 1
    assert some > 500


def test_the_loss_takes_no_gradient_from_what_is_left_out():
    logits = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    batch = {"targets": torch.tensor([1, 2, 3]), "weights": torch.ones(3), "undenied": torch.tensor([[0, 5], [2, 0]])}
    answer_loss(logits, batch)[0].backward()
    assert (logits.grad == 0).nonzero().tolist() == [[0, 5], [2, 0]]
