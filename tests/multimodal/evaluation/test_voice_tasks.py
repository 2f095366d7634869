"""A voice is judged by an outside recogniser; here the voice is espeak-ng's, which everyone can make out."""

import pytest

from multimodal.evaluation.items import Item
from multimodal.evaluation.measures import measures
from multimodal.evaluation.voice_tasks import Judge, write_out
from multimodal.nano.speech.synthesiser import SYNTHESIS_RATE_HZ, Voice, say

from ..tiny_assistant import tiny_assistant

TEXTS = ("a small red circle at the top", "May 24, 1987", "Malayalam", "two large blue squares", "sixty", "60 stars")


def item(text: str, language: str = "English", task: str = "tts-intelligibility") -> Item:
    return Item(text, task, language, text, (text,))


@pytest.fixture(scope="module")
def judge() -> Judge:
    pytest.importorskip("pocketsphinx")
    return Judge(tiny_assistant(), [item(text) for text in TEXTS])


def test_what_is_said_is_heard_as_itself(judge):
    heard = [judge.hear(*spoken(text), "English") for text in TEXTS]
    wrong = measures("tts-intelligibility", "English")[0].rows([item(text) for text in TEXTS], heard)[:, 0]
    assert (wrong > 0).sum() <= 1, heard


def spoken(text: str):
    return say(text, Voice("en-us")).samples, SYNTHESIS_RATE_HZ


def test_what_was_heard_before_changes_nothing(judge):
    """Else the figure would depend on how processes share the texts, and on where a run was stopped."""

    def scores(texts):
        return {text: (judge.hear(*spoken(text), "English"), judge._decoder.hyp().score) for text in texts}

    assert scores(TEXTS[:3]) == scores(TEXTS[2::-1])


def test_another_text_is_heard_as_another(judge):
    assert judge.hear(*spoken("two large blue squares"), "English") != TEXTS[0]


def test_what_the_judge_cannot_know_is_refused():
    pytest.importorskip("pocketsphinx")
    with pytest.raises(ValueError, match="dictionary lacks xyzzyplugh"):
        Judge(tiny_assistant(), [item("xyzzyplugh")])
    with pytest.raises(ValueError, match="other languages than English needs ears"):
        Judge(tiny_assistant(), [item("Montag", "German")])


def test_written_forms_are_said_by_rules_without_a_tagger():
    asked = [item("It costs $5.", task="text-normalization"), item("5", "German", "text-normalization")]
    assert [reply.text for reply in write_out(tiny_assistant(), asked)] == ["It costs five dollars.", "fünf"]
