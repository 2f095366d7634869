"""Sentences with written forms that have several readings, and the rules that say them right; seeded.

The frames, the words and what is held out are told in `written_frames.py`, more frames of training in
`more_frames.py`. A sentence is a lead, one or two frames and a tail; forms of one group come from the same
ranges whatever their reading, so that only the words around them tell it: they stand to the left, or to the
right, there at times after {mid}, which has up to six words. Labels follow from the frame; what is said
follows from them by `tts.rules`.
"""

import random
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from tts.rules import CONTINUE, say
from tts.written_tokens import DIGITS, WrittenToken, split

from .more_frames import MORE_FRAMES, MORE_LEADS, MORE_TAILS
from .written_frames import FRAMES, LEADS, TAILS, WORDS

NUM_TRAINED, NUM_HELD_OUT = 48_000, 5_000
_OUTSIDE = {"name", "ruler", "part", "doing"}  # categories that nano's core does not know

Form = tuple[tuple[str, str], ...]  # parts of a written form, each with its rule


@dataclass(frozen=True)
class Sentence:
    """A sentence, the rule of each of its tokens, how it is said, and what it is made of.

    groups, frames: the tables and frames of its forms; the first frame is the one that it is counted with.
    known: whether the words around the forms are all of nano's world.
    """

    written: str
    labels: tuple[str, ...]
    spoken: str
    groups: tuple[str, ...]
    frames: tuple[str, ...]
    known: bool

    @property
    def tokens(self) -> list[WrittenToken]:
        return split(self.written)


def sentence(index: int, held_out: bool = False, seed: int = 0) -> Sentence:
    """The sentence with this number; a pure function of its arguments."""
    rng = random.Random(f"written {seed} {held_out} {index}")
    lead, tail = (
        rng.choice(_part(_lines(text, "|"), held_out) + ([] if held_out else _lines(more, "|")))
        for text, more in ((LEADS, MORE_LEADS), (TAILS, MORE_TAILS))
    )
    pieces: list[tuple[str, str]] = [(lead + " " * bool(lead), "verbatim")]
    groups, frames, known = [], [], True
    for at in range(2 if rng.random() < 0.3 else 1):
        group = rng.choice(list(FRAMES))
        rule, frame = rng.choice(_frames(group, held_out))
        pieces += [(". ", "verbatim")] * (at > 0) + _filled(frame, rule, rng, held_out)
        groups.append(group)
        frames.append(frame)
        known &= not set(re.findall(r"{(\w+)}", frame)) & _OUTSIDE
    pieces.append((tail + ("" if pieces[-1][0].endswith((".", "?")) else "."), "verbatim"))
    written = "".join(text for text, _ in pieces)
    tokens = split(written)
    labels = _labels(tokens, pieces)
    return Sentence(written, labels, say(tokens, labels, "en"), tuple(groups), tuple(frames), known)


def mark(held_out: bool) -> str:
    """Eight letters that change with the sentences: what is computed from them is kept under this name."""
    some = "".join(sentence(at, held_out).written for at in range(200))
    return f"{zlib.crc32(some.encode()):08x}"


def _labels(tokens: list[WrittenToken], pieces: list[tuple[str, str]]) -> tuple[str, ...]:
    """The first token of a form has its rule, the rest go on with it; all else is verbatim, or a plain number."""
    starts, place = {}, 0
    for text, rule in pieces:
        for at in range(place, place + len(text)):
            starts[at] = (place, rule)
        place += len(text)
    labels, last = [], -1
    for token in tokens:
        start, rule = starts[token.start]
        if rule == "verbatim":
            labels.append("cardinal" if token.kind == DIGITS else rule)
        else:
            labels.append(CONTINUE if start == last else rule)
        last = start
    return tuple(labels)


def _part(options: list[str], held_out: bool) -> list[str]:
    """Every third is held out; of a few, every third all the same."""
    return [option for at, option in enumerate(options) if (at % 3 == 2) == held_out]


@cache
def _words(category: str, held_out: bool) -> list[str]:
    if category == "mid":
        return _lines(WORDS["mid"], "|")
    return _part(WORDS[category].split(), held_out)


def _lines(text: str, mark: str) -> list[str]:
    return [" ".join(one.split()) for one in text.split(mark)]


@cache
def _frames(group: str, held_out: bool) -> list[tuple[str, str]]:
    """Rule and frame, readings equally often."""
    table = [[(rule, frame) for frame in _part(lines, held_out)] for rule, lines in _rows(FRAMES[group])]
    if not held_out:
        for frames, (rule, lines) in zip(table, _rows(MORE_FRAMES[group]), strict=True):
            assert frames[0][0] == rule
            frames += [(rule, frame) for frame in lines]
    most = max(map(len, table))
    return [frames[at % len(frames)] for frames in table for at in range(most)]


def _rows(text: str) -> list[tuple[str, list[str]]]:
    """The rows of a table: rules and their frames."""
    rows = re.findall(r"^\s*([a-z ]+): ((?:.*)(?:\n\s*\|.*)*)", text, re.MULTILINE)
    return [(rule, _lines(line, "|")) for rule, line in rows]


def _filled(frame: str, rule: str, rng: random.Random, held_out: bool) -> list[tuple[str, str]]:
    pieces = []
    for at, part in enumerate(re.split(r"{(\w+)}", frame)):
        if at % 2 == 0:
            pieces.append((part, "verbatim"))
        elif part in WORDS:
            pieces.append((rng.choice(_words(part, held_out)), "verbatim"))
        else:
            pieces += _FORMS[part](rng, rule)
    return [piece for piece in pieces if piece[0]]


def _x(rng: random.Random, rule: str) -> Form:
    """The form of each group that all its readings share."""
    few, more = rng.randint(1, 11), rng.randint(10, 59)
    if rule in ("year", "cardinal", "digits"):
        return ((str(rng.randint(1100, 2030)), rule),)
    if rule in ("date", "fraction", "out of"):
        return ((f"{few}/{rng.randint(few + 1, 12)}", rule),)
    if rule in ("range", "score", "minus"):
        return ((f"{few}-{rng.randint(few + 1, 12)}", rule),)
    if rule in ("ratio", "duration"):
        return ((f"{few}:{more}", rule),)
    return ((f"{few}.{more}", rule),)


def _timed(rng: random.Random, sign: str) -> Form:
    return ((f"{rng.randint(1, 11)}{sign}{rng.randint(10, 59)}", "time"),)


def _phone(rng: random.Random, rule: str) -> Form:
    return ((f"{rng.randint(100, 999)}-{rng.randint(1000, 9999)}", "phone"),)


def _money(rng: random.Random, rule: str) -> Form:
    mark, amount = rng.choice("$£€"), rng.choice((rng.randint(1, 99), rng.randint(100, 1999)))
    tail = rng.choice(("", "", f".{rng.randint(10, 99)}", "M", "K", "B", " million", " billion"))
    return ((f"{mark}{amount}{tail}", "money"),)


def _with_letter(rng: random.Random, rule: str) -> Form:
    number, letter = str(rng.randint(1, 99)), rng.choice("KMB")
    return ((number + letter, rule),) if rule == "measure" else ((number, "cardinal"), (letter, "letters"))


def _abbreviation(rng: random.Random, rule: str) -> Form:
    return ((rng.choice("St Dr Ft Co Pt Pl".split()) + ".", rule),)


def _roman(rng: random.Random, rule: str) -> Form:
    return ((rng.choice("II III IV V VI VII IX X XI XV".split()), rule),)


def _unit(rng: random.Random, rule: str) -> Form:
    return ((f"{rng.randint(1, 60)} {rng.choice(('in', 'in', 'm', 'ft', 'km'))}", "measure"),)


def _word(rng: random.Random, rule: str) -> Form:
    return ((str(rng.randint(1, 60)), "cardinal"), (" in", "verbatim"))


def _plain(make: Callable[[random.Random], str], rule: str) -> Callable[[random.Random, str], Form]:
    return lambda rng, _: ((make(rng), rule),)


def _suffixed(rng: random.Random) -> str:
    number = rng.randint(1, 31)
    return f"{number}{'th' if number in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _range(rng: random.Random) -> str:
    low = rng.randint(100, 900)
    return f"{low}-{rng.randint(1000, 9999)}"


_FORMS: dict[str, Callable[[random.Random, str], Form]] = {
    "x": lambda rng, rule: _timed(rng, rng.choice(":.")) if rule == "time" else _x(rng, rule),
    "p": _phone,
    "w": _plain(_range, "range"),
    "a": _abbreviation,
    "r": _roman,
    "s": _with_letter,
    "u": _unit,
    "v": _word,
    "d": lambda rng, rule: ((str(rng.randint(1, 28)), rule),),
    "y": _plain(lambda rng: str(rng.randint(1900, 2030)), "year"),
    "t": lambda rng, rule: ((str(rng.randint(100, 999)), rule),),
    "n": _plain(lambda rng: "No.", "abbreviation"),
    "N": _plain(lambda rng: "No.", "verbatim"),
    "k": _plain(lambda rng: rng.choice(("Sun.", "Sat.")), "abbreviation"),
    "K": _plain(lambda rng: rng.choice(("Sun", "Sat")), "verbatim"),
    "m": _money,
    "o": _plain(_suffixed, "ordinal"),
    "q": _plain(lambda rng: f"{rng.randint(1, 99)}%", "measure"),
    "z": _plain(lambda rng: f"{rng.randint(11, 20)}{rng.randint(1, 9)}0s", "decade"),
    "l": _plain(lambda rng: "".join(rng.sample("BCDFGHKLMNPRSTVW", rng.randint(2, 4))), "letters"),
    "g": _plain(lambda rng: f"{rng.randint(1, 99)},{rng.randint(100, 999)}", "cardinal"),
    "h": _plain(
        lambda rng: rng.choice(("www.{}.com", "info@{}.org", "{}@mail.com")).format(
            rng.choice("nano scene clock lemon circle".split())
        ),
        "address",
    ),
    "j": _plain(lambda rng: rng.choice("&+"), "symbol"),
    "c": _plain(lambda rng: str(rng.choice((rng.randint(0, 28), rng.randint(0, 28), rng.randint(0, 99)))), "cardinal"),
    "e": _plain(lambda rng: rng.choice("+="), "symbol"),
    "b": _plain(lambda rng: ".".join(str(rng.randint(0, 12)) for _ in range(3)), "version"),
    "W": _plain(lambda rng: rng.choice(("NASA", "NATO", "YES", "OPEC", "UNICEF")), "verbatim"),
    "i": _plain(lambda rng: f"{rng.randint(1900, 2030)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}", "date"),
}
