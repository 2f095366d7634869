"""Spoken text that arrives in pieces -> phones of the words that are sure, and their places and endings."""

import re
import unicodedata
from dataclasses import dataclass

from .espeak import names
from .phones import PAUSE, NothingToSay, Phone, events, phone_id, places_and_endings
from .spoken_text import Piece

_CLAUSE_ENDS = re.compile(r"[,;:.!?…؟،؛।]+[\"'’)]*\s|[。！？，、；：]+[”’）\"')]*\s?")
_LONGEST_CLAUSE = 400  # characters; one that does not end is cut at a word


@dataclass(frozen=True)
class Read:
    """A phone: its id, its place in its word, how its word ends, and where in the written text that word ends."""

    id: int
    place: int
    ending: int
    end: int


class Reader:
    """Reads one text. The clause that is being written is read again with each new word, and words once said stay.

    How a word is said may hang on the sound that follows: "the" has two forms. So a clause is read with the first
    letter of its next word, and where no letter follows its last word waits. That gives the phones of the whole
    clause, but for about one in 250 in English and hardly any in the other languages.
    """

    def __init__(self, voice: str):
        """Raises ValueError if espeak-ng is not installed or lacks the voice."""
        names("a", voice)
        self._voice = voice
        self._text, self._ends = "", []
        self._until, self._given = 0, 0  # the place before which words of this clause are said, and their phones

    def push(self, pieces: list[Piece]) -> list[list[Read]]:
        """Phones of the words that are sure now, in the groups in which they became sure: the same for any cut."""
        groups = []
        for piece in pieces:
            self._text += piece.text.lstrip() if self._text.endswith(" ") else piece.text
            self._ends.append((len(self._text), piece.end))
            self._text += " " * bool(piece.then)
            while cut := self._cut():
                groups.append(self._read(self._text[:cut]))
                self._drop(cut)
            if piece.then:
                groups.append(self._read(self._text, _syllable(piece.then)))
        return [group for group in groups if group]

    def flush(self) -> list[Read]:
        """Phones of the rest, and a last pause."""
        phones = self._read(self._text)
        self._drop(len(self._text))
        if phones and phones[-1].id == phone_id(PAUSE):
            phones.pop()
        return [*phones, Read(phone_id(PAUSE), 0, 2, self._ends[-1][1] if self._ends else 0)]

    def _cut(self) -> int:
        """Where the first clause ends, 0 if it has not ended."""
        found = _CLAUSE_ENDS.search(self._text)
        if found or len(self._text) <= _LONGEST_CLAUSE:
            return found.end() if found else 0
        return self._text.rfind(" ", 0, _LONGEST_CLAUSE) + 1 or _LONGEST_CLAUSE

    def _read(self, clause: str, then: str = "") -> list[Read]:
        """Phones of the words of a clause that have not been said; `then` is said behind it, and left out."""
        if not any(sign.isalnum() for sign in clause):
            return []
        try:
            phones = events(clause + then, self._voice)
        except NothingToSay:  # signs without a sound, which are no error in the middle of a text
            return []
        if then and phones[-1].place < len(clause):  # it was read as one word with the last, which has to wait
            return []
        places, endings = places_and_endings(phones, clause + then)
        said = sum(phone.place < self._until for phone in phones)
        sure = sum(phone.place < len(clause) for phone in phones)
        first = min(self._given, said)  # a word that is now read as one with that before it adds its phones there
        self._until, self._given = len(clause), sure
        return [
            Read(phone_id(phone.ipa), place, ending, self._written_end(phone))
            for phone, place, ending in zip(phones[first:sure], places[first:], endings[first:], strict=False)
        ]

    def _written_end(self, phone: Phone) -> int:
        return next((written for spoken, written in self._ends if spoken > phone.place), self._ends[-1][1])

    def _drop(self, cut: int) -> None:
        self._text, self._until, self._given = self._text[cut:], 0, 0
        self._ends = [(spoken - cut, written) for spoken, written in self._ends if spoken > cut] or [
            (0, written) for _, written in self._ends[-1:]
        ]


def _syllable(letter: str) -> str:
    """A short word that begins as one with this first letter does. Alone, "m" would be read as "em"."""
    base = unicodedata.normalize("NFD", letter.lower())[0]
    if not "a" <= base <= "z":
        return letter
    return letter + ("b" if base in "aeiou" else "a")
