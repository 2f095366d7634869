"""The mix of conversations that nano's text core learns, made on the fly from a random generator.

Five families: `repeat` (transcription, told in words), `translate`, `scene` and `clip` (questions about
something that was described), and `talk`. What is held out is decided by the text itself, so that a
training and a held-out conversation never tell of the same scene, clip or combination of phrases.
Prompts of `repeat` and `translate` are those of the Llama 3 paper, section 8; the mix is our choice.
"""

import random
import string
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from multimodal.languages import LANGUAGES
from multimodal.nano.questions import ask_about
from multimodal.nano.scenes import WORDS, Question, Scene, describe, sample_scene
from multimodal.nano.text.clips import ClipScene, ask_about_clip, narrate, sample_clip
from multimodal.nano.text.phrases import sample_item, sample_items, say, say_all
from multimodal.nano.text.small_talk import sample_small_talk

REPEAT_PROMPT = "Repeat after me in {language}:"
TRANSLATE_PROMPT = "Translate the following sentence into {language}:"
SPOKEN_SHARE = 0.15  # of questions about scenes and of small talk, as a transcript would look


@dataclass(frozen=True)
class Conversation:
    """Turns of (role, text), and for each assistant turn what is asked of it (for the held-out table)."""

    turns: tuple[tuple[str, str], ...]
    kinds: tuple[str, ...]


def family_weights(progress: float) -> dict[str, float]:
    """How often a conversation of each family is drawn when this share of the training is done.

    Copying comes first: heads that find an earlier occurrence are what every other family builds on.
    Then translation has two fifths of the tokens, since it has seven thousand pairs of names to remember,
    and scenes a third, since whatever is asked of a picture later is learnt there.
    """
    early = max(0.0, 1 - progress / 0.04)
    repeat, rest = 0.1, {"translate": 0.46, "scene": 0.21, "clip": 0.1, "talk": 0.13}
    return {"repeat": repeat + (1 - repeat) * early} | {f: weight * (1 - early) for f, weight in rest.items()}


def sample_conversation(
    rng: random.Random, family: str | None = None, held_out: bool = False, progress: float = 1.0
) -> Conversation:
    """A random conversation of the family (by default one drawn from the mix)."""
    if family is None:
        weights = family_weights(progress)
        family = rng.choices(list(weights), list(weights.values()))[0]
    return _FAMILIES[family](rng, held_out, progress)


def as_spoken(text: str) -> str:
    """Lower case and no punctuation: what a transcript of speech looks like."""
    return " ".join(text.lower().translate(str.maketrans("", "", string.punctuation)).split())


def _is_held_out_text(text: str) -> bool:
    return zlib.crc32(text.encode()) % 20 == 0


def _until_in_set(sample: Callable[[], object], tell: Callable[[object], str], held_out: bool) -> object:
    while True:
        one = sample()
        if _is_held_out_text(tell(one)) == held_out:
            return one


def _repeat(rng: random.Random, held_out: bool, progress: float) -> Conversation:
    language = rng.choice(LANGUAGES)
    form = rng.choices(("phrase", "mixed", "words", "question"), (0.55, 0.1, 0.2, 0.15))[0]
    if form in ("words", "question"):
        language = next(one for one in LANGUAGES if one.code == "en")
    turns = [("system", REPEAT_PROMPT.format(language=language.name))]
    count = rng.randint(1, 3)
    for _ in range(count):
        if form == "phrase":
            text = say_all(sample_items(rng, held_out), language.code)
        elif form == "question":
            text = _a_question(rng)
        else:
            text = _until_in_set(lambda: _random_words(rng, form == "mixed"), str, held_out)
        turns += [("user", text), ("assistant", text)]
    return Conversation(tuple(turns), (f"repeat {form}",) * count)


def _random_words(rng: random.Random, mixed: bool) -> str:
    """Words in no order, from all languages where `mixed`; nothing but copying can tell the next."""
    count = rng.randint(2, 8)
    if mixed:
        return " ".join(say(sample_item(rng), rng.choice(LANGUAGES).code) for _ in range(count))
    return " ".join(rng.choice(WORDS) if rng.random() < 0.9 else str(rng.randrange(1000)) for _ in range(count))


def _a_question(rng: random.Random) -> str:
    if rng.random() < 0.3:
        text = sample_small_talk(rng)[0]
    else:
        text = rng.choice(_questions_about(sample_scene(rng), rng, 4)).text
    return as_spoken(text) if rng.random() < 0.3 else text


def _questions_about(told: Scene | ClipScene, rng: random.Random, number: int) -> list[Question]:
    """At least one question: by chance, all that were tried may not fit the scene."""
    while True:
        if questions := (ask_about if isinstance(told, Scene) else ask_about_clip)(told, rng, number):
            return questions


def _translate(rng: random.Random, held_out: bool, progress: float) -> Conversation:
    others = [language for language in LANGUAGES if language.code != "en"]
    english = next(language for language in LANGUAGES if language.code == "en")
    into = english if rng.random() < 0.47 else rng.choice(others)
    turns, kinds = [("system", TRANSLATE_PROMPT.format(language=into.name))], []
    for _ in range(rng.randint(1, 4)):
        source = rng.choice(others) if into is english or rng.random() < 0.1 else english
        items = sample_items(rng, held_out, most=3 if held_out else 6)  # long lists: more names a step
        turns += [("user", say_all(items, source.code)), ("assistant", say_all(items, into.code))]
        kinds.append(
            f"translate {'into English' if into is english else 'from English' if source is english else 'other'}"
        )
    return Conversation(tuple(turns), tuple(kinds))


def _about(rng: random.Random, told: str, questions: list[Question]) -> Conversation:
    """Questions one turn each after what was told; now and then small talk between them."""
    turns, kinds = [], []
    for at, question in enumerate(questions):
        kind, asked, answer = question.kind, question.text, question.answer
        if at and rng.random() < 0.05:
            kind, (asked, answer) = "talk in between", sample_small_talk(rng)
        if rng.random() < SPOKEN_SHARE:
            asked = as_spoken(asked)
        turns += [("user", asked if at else f"{told}.\n{asked}"), ("assistant", answer)]
        kinds.append(kind)
    return Conversation(tuple(turns), tuple(kinds))


def _scene(rng: random.Random, held_out: bool, progress: float) -> Conversation:
    """Held-out pairs of colour and shape occur in words: only pictures hold them out."""
    most = 3 if rng.random() > progress / 0.12 else 6
    scene = _until_in_set(lambda: sample_scene(rng, held_out=rng.random() < 0.15, max_things=most), describe, held_out)
    return _about(rng, f"Picture: {describe(scene)}", _questions_about(scene, rng, rng.randint(6, 10)))


def _clip(rng: random.Random, held_out: bool, progress: float) -> Conversation:
    clip = _until_in_set(lambda: sample_clip(rng), narrate, held_out)
    return _about(rng, f"Clip: {narrate(clip)}", _questions_about(clip, rng, rng.randint(5, 9)))


def _talk(rng: random.Random, held_out: bool, progress: float) -> Conversation:
    turns = []
    count = rng.randint(1, 6)
    for _ in range(count):
        asked, answer = sample_small_talk(rng)
        turns += [("user", as_spoken(asked) if rng.random() < 2 * SPOKEN_SHARE else asked), ("assistant", answer)]
    return Conversation(tuple(turns), ("talk",) * count)


_FAMILIES: dict[str, Callable[[random.Random, bool, float], Conversation]] = {
    "repeat": _repeat,
    "translate": _translate,
    "scene": _scene,
    "clip": _clip,
    "talk": _talk,
}
