"""Spoken text that arrives in pieces -> phones of the words that are sure, and their places and endings."""

import re
from dataclasses import dataclass

from .espeak import names
from .phones import PAUSE, NothingToSay, Phone, events, phone_id, places_and_endings
from .spoken_text import Piece

_CLAUSE_ENDS = re.compile(r"[,;:.!?…。！？，、；：؟،؛।]+[\"'’)]*\s")
_LONGEST_CLAUSE = 400  # characters; one that does not end is cut at a word


@dataclass(frozen=True)
class Read:
    """A phone: its id, its place in its word, how its word ends, and where in the written text that word ends."""

    id: int
    place: int
    ending: int
    end: int


class Reader:
    """Reads one text. The clause that is being written is read again with each new word, and words once said stay."""

    def __init__(self, voice: str):
        """Raises ValueError if espeak-ng is not installed or lacks the voice."""
        names("a", voice)
        self._voice = voice
        self._text, self._ends, self._said = "", [], 0

    def push(self, pieces: list[Piece]) -> list[Read]:
        """Phones of the words that are sure now."""
        for piece in pieces:
            self._text += piece.text
            self._ends.append((len(self._text), piece.end))
        phones: list[Read] = []
        while (found := _CLAUSE_ENDS.search(self._text)) or len(self._text) > _LONGEST_CLAUSE:
            cut = found.end() if found else self._text.rfind(" ", 0, _LONGEST_CLAUSE) + 1 or _LONGEST_CLAUSE
            phones += self._read(self._text[:cut], whole=True)
            self._drop(cut)
        return phones + (self._read(self._text, whole=False) if pieces else [])

    def flush(self) -> list[Read]:
        """Phones of the rest, and a last pause."""
        phones = self._read(self._text, whole=True)
        self._drop(len(self._text))
        if phones and phones[-1].id == phone_id(PAUSE):
            phones.pop()
        return [*phones, Read(phone_id(PAUSE), 0, 2, self._ends[-1][1] if self._ends else 0)]

    def _read(self, clause: str, whole: bool) -> list[Read]:
        """Phones of the words of a clause that have not been said; without `whole` its last word is not sure."""
        if not any(sign.isalnum() for sign in clause):
            return []
        try:
            phones = events(clause, self._voice)
        except NothingToSay:  # signs without a sound, which are no error in the middle of a text
            return []
        places, endings = places_and_endings(phones, clause)
        newest = phones[-1].place
        sure = [
            Read(phone_id(phone.ipa), place, ending, self._written_end(phone))
            for phone, place, ending in zip(phones, places, endings, strict=True)
            if phone.place >= self._said and (whole or phone.place < newest)
        ]
        if not whole:
            self._said = max(self._said, newest)
        return sure

    def _written_end(self, phone: Phone) -> int:
        return next((written for spoken, written in self._ends if spoken > phone.place), self._ends[-1][1])

    def _drop(self, cut: int) -> None:
        self._text, self._said = self._text[cut:], 0
        self._ends = [(spoken - cut, written) for spoken, written in self._ends if spoken > cut] or [
            (0, written) for _, written in self._ends[-1:]
        ]
