"""What nano's voice learns to say: its answers and other English, and the phrase table in 34 languages."""

import random
import zlib
from dataclasses import dataclass
from functools import cache

from multimodal.languages import LANGUAGES

from ..questions import ask_about
from ..scenes import WORDS, describe, sample_scene
from ..speech.utterances import UNSAID, as_read, scored
from ..text.clips import ask_about_clip, narrate, sample_clip
from ..text.phrases import sample_items, say_all
from ..text.small_talk import facts, sample_small_talk

# Judged is mostly what nano says most, English; learnt as well are the sounds and tones of 33 other languages.
_SHARES = {"answer": 0.15, "describe": 0.1, "question": 0.05, "names": 0.1, "phrase": 0.6}
_HELD_OUT_SHARES = {"answer": 0.30, "describe": 0.2, "question": 0.1, "names": 0.16, "phrase": 0.24}


@dataclass(frozen=True)
class Line:
    """A text as nano writes it and as espeak-ng is given it, and its language's code."""

    written: str
    read: str
    language: str


def sample_line(rng: random.Random, held_out: bool = False) -> Line:
    """A random text; one that has more than two words is either for training or held out, never both."""
    shares = _HELD_OUT_SHARES if held_out else _SHARES
    while True:
        line = _sample(rng, rng.choices(list(shares), list(shares.values()))[0])
        words = scored(line.written, line.language).split()
        if held_out == (len(words) > 2 and zlib.crc32(" ".join(words).encode()) % 20 == 0) and words:
            return line


def sample_answer(rng: random.Random) -> str:
    """An English answer of nano's, held out; of three words or more."""
    while True:
        text = _sample(rng, rng.choice(("answer", "describe"))).written
        words = scored(text, "en").split()
        if len(words) > 2 and zlib.crc32(" ".join(words).encode()) % 20 == 0:
            return text


def _sample(rng: random.Random, kind: str) -> Line:
    if kind == "phrase":
        code = rng.choice(LANGUAGES).code
        items = sample_items(rng, most=3)
        while any((code, item) in UNSAID for item in items):
            items = sample_items(rng, most=3)
        text = say_all(items, code)
        return Line(text, as_read(text, code), code)
    text = {"answer": _answer, "describe": _describe, "question": _question, "names": _names}[kind](rng)
    if rng.random() < 0.3:
        text = text[:1].upper() + text[1:] + ("" if text[-1] in ".?!" else ".")
    return Line(text, text, "en")


def _answer(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.4:
        return sample_small_talk(rng)[1]
    if kind < 0.5:
        return rng.choice([fact.answer for fact in facts() if fact.topic == "chat"])
    asked = ask_about(sample_scene(rng), rng, 4) if kind < 0.7 else ask_about_clip(sample_clip(rng), rng, 6)
    return max((one.answer for one in asked), key=len, default="yes")


def _describe(rng: random.Random) -> str:
    return describe(sample_scene(rng, max_things=3)) if rng.random() < 0.5 else narrate(sample_clip(rng))


def _question(rng: random.Random) -> str:
    if rng.random() < 0.4:
        return sample_small_talk(rng)[0]
    return rng.choice(ask_about(sample_scene(rng), rng, 4)).text


def _names(rng: random.Random) -> str:
    """Words in no order, of all that CLDR names in English: any sound may follow any."""
    words = _english()
    return ", ".join(" ".join(rng.choice(words) for _ in range(rng.randint(1, 3))) for _ in range(rng.randint(1, 2)))


@cache
def _english() -> tuple[str, ...]:
    from babel import Locale

    locale = Locale("en")
    names = [*locale.territories.values(), *locale.languages.values(), *locale.currencies.values(), *WORDS]
    return tuple(dict.fromkeys(name for name in names if name.isascii() and name.replace(" ", "").isalpha()))
