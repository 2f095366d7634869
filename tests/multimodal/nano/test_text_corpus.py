import random
import re
from collections import Counter

import pytest

from multimodal.nano.text.clips import ACTIONS, CLIP_KINDS, ask_about_clip, narrate, sample_clip
from multimodal.nano.text.corpus import as_spoken, family_weights, sample_conversation
from multimodal.nano.text.small_talk import facts, sample_sum

FAMILIES = tuple(family_weights(1.0))
NUMBERS = ("zero", "one", "two", "three")


def read_narration(text):
    """(colour, shape, verb, detail) in order of the telling: a reading independent of the clip's own fields."""
    parts = re.split(r", (?:then|and) ", text)
    return [re.fullmatch(r"an? (\w+) (\w+) (\w+) ?(\w*)", part).groups() for part in parts]


def answer_from(told, question):
    """The answer as the narration tells it, for the questions that can be read mechanically; None for others."""
    acting = [actor for actor in told if actor[2] != "stays"]
    deed = {f"the {c} {s} {verb} {detail}".strip(): at for at, (c, s, verb, detail) in enumerate(acting)}
    named = [
        actor for actor in told if {actor[1], actor[0] + " thing"} & {*question.rstrip("?").split(), question[-17:]}
    ]
    if match := re.fullmatch(r"What happens (?:right )?(after|before) (.+)\?", question):
        return list(deed)[deed[match[2]] + (1 if match[1] == "after" else -1)]
    if match := re.fullmatch(r"What happens (first|last)\?", question):
        return list(deed)[0 if match[1] == "first" else -1]
    if match := re.fullmatch(r"How many things (\w+)\?", question):
        return NUMBERS[sum(verb in (match[1], match[1] + "s", match[1] + "es") for _, _, verb, _ in told)]
    if match := re.fullmatch(r"How many things are there at the (start|end)\?", question):
        gone = {"start": "appears", "end": "vanishes"}[match[1]]
        return NUMBERS[sum(verb != gone for _, _, verb, _ in told)]
    if match := re.fullmatch(r"What color is the (\w+) at the (start|end)\?", question):
        colour, _, verb, detail = next(actor for actor in told if actor[1] == match[1])
        return detail if match[2] == "end" and verb == "becomes" else colour
    if match := re.fullmatch(r"Does the (\w+) (\w+) .* (before|after) (.+)\?", question):
        first = next(at for at, actor in enumerate(acting) if actor[:2] == (match[1], match[2]))
        return "yes" if (first < deed[match[4]]) == (match[3] == "before") else "no"
    if named and (match := re.fullmatch(r"Which way does the .+ move\?", question)):
        return named[0][3]
    return None


def test_answers_about_clips_follow_from_the_narration():
    rng = random.Random(0)
    checked = Counter()
    for _ in range(400):
        clip = sample_clip(rng)
        told = read_narration(narrate(clip))
        for question in ask_about_clip(clip, rng, 6):
            expected = answer_from(told, question.text)
            assert expected is None or expected == question.answer, (narrate(clip), question)
            checked[question.kind] += expected is not None
    assert all(checked[kind] > 20 for kind in ("order", "change", "clip count", "clip yes/no", "direction"))


def test_clips_use_every_action_and_kind():
    rng = random.Random(1)
    clips = [sample_clip(rng) for _ in range(300)]
    assert {actor.action for clip in clips for actor in clip.actors} == set(ACTIONS)
    kinds = Counter(question.kind for clip in clips for question in ask_about_clip(clip, rng, 6))
    assert set(CLIP_KINDS) <= set(kinds)
    for clip in clips:
        assert clip.events and clip.actors[: len(clip.events)] == clip.events
        assert (
            len({actor.shape for actor in clip.actors})
            == len({actor.colour for actor in clip.actors})
            == len(clip.actors)
        )


def test_yes_and_no_are_balanced_in_clips():
    rng = random.Random(2)
    said = Counter()
    for _ in range(1500):
        said.update(q.answer for q in ask_about_clip(sample_clip(rng), rng, 4) if q.kind == "clip yes/no")
    assert 0.4 < said["yes"] / said.total() < 0.6


@pytest.mark.parametrize("family", FAMILIES)
def test_conversations_are_well_formed(family):
    rng = random.Random(3)
    for _ in range(200):
        conversation = sample_conversation(rng, family)
        roles = [role for role, _ in conversation.turns if role != "system"]
        assert roles == ["user", "assistant"] * len(conversation.kinds) and roles
        assert all(text == text.strip() and text for _, text in conversation.turns)


@pytest.mark.parametrize("family", ["scene", "clip"])
def test_held_out_descriptions_are_never_trained_on(family):
    rng = random.Random(4)

    def told(held_out):
        return sample_conversation(rng, family, held_out).turns[0][1].split("\n")[0]

    training, held_out = ({told(which) for _ in range(n)} for which, n in ((False, 1500), (True, 300)))
    assert not training & held_out


def test_prompts_are_those_of_the_paper():
    rng = random.Random(5)
    for family, pattern in (
        ("repeat", r"Repeat after me in \w+:"),
        ("translate", r"Translate the following sentence into \w+:"),
    ):
        for _ in range(50):
            role, text = sample_conversation(rng, family).turns[0]
            assert role == "system" and re.fullmatch(pattern, text)


def test_repeating_repeats():
    rng = random.Random(6)
    for _ in range(100):
        texts = [text for _, text in sample_conversation(rng, "repeat").turns[1:]]
        assert texts[::2] == texts[1::2]


def test_small_talk_has_one_answer_to_a_question():
    answers = {}
    for fact in facts():
        for question in fact.questions:
            assert answers.setdefault(as_spoken(question), fact.answer) == fact.answer, question
    assert len(answers) > 500


def test_sums_are_right():
    rng = random.Random(7)
    for _ in range(200):
        question, answer = sample_sum(rng)
        a, word, b = re.search(r"(\d+) (plus|minus) (\d+)", question).groups()
        assert int(answer) == (int(a) + int(b) if word == "plus" else int(a) - int(b)) and 0 <= int(answer) <= 20


def test_spoken_form():
    assert as_spoken("What color is the ring? It's 5, I think.") == "what color is the ring its 5 i think"
