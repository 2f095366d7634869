"""Text that arrives in pieces -> clauses' words, in spoken form, as soon as they are sure.

A word is sure when the next one has ended, because what follows changes how a word is said ("the end"). Where
signs other than letters occur, what is written is held back until three ordinary words have followed it (the
context of the paper's normaliser, 8.3), and then handed to the normaliser in one piece.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

Spoken = Callable[[str, str], str]  # (written text, language's code) -> spoken text
CONTEXT = 3  # ordinary words that must follow what is not ordinary
_WORD = re.compile(r"\s*\S+\s+|\s+")
_MARKS = ",;:.!?…。！？，、；：؟،؛।\"'’()-"


@dataclass(frozen=True)
class Piece:
    """Spoken text that is sure, and where in the written text that it stands for ends, in characters."""

    text: str
    end: int


class SpokenText:
    """The spoken form of one text, as it is written."""

    def __init__(self, spoken: Spoken, language: str):
        self._spoken, self._language = spoken, language
        self._buffer, self._held, self._plain, self._end = "", "", 0, 0

    def push(self, text: str) -> list[Piece]:
        """The newest characters -> what is now sure."""
        self._buffer += text
        pieces = []
        while found := _WORD.match(self._buffer):
            word = found[0]
            self._buffer = self._buffer[len(word) :]
            pieces += self._take(word)
        return pieces

    def flush(self) -> list[Piece]:
        """The rest."""
        word, self._buffer = self._buffer, ""
        pieces = self._take(word) if word else []
        return pieces + (self._release() if self._held else [])

    def _take(self, word: str) -> list[Piece]:
        if not self._held and is_ordinary(word):
            self._end += len(word)
            return [Piece(word, self._end)]
        self._held += word
        self._plain = self._plain + 1 if is_ordinary(word) else 0
        return self._release() if self._plain >= CONTEXT else []

    def _release(self) -> list[Piece]:
        held, self._held, self._plain = self._held, "", 0
        self._end += len(held)
        said = self._spoken(held.strip(), self._language)
        return [Piece(said + " ", self._end)] if said.strip() else []


def is_ordinary(word: str) -> bool:
    """Whether a word is letters alone, with at most the marks that end clauses: nothing to be put in other words."""
    bare = word.strip().strip(_MARKS)
    if "." in word.strip()[:-1] or (len(bare) > 1 and bare.isupper() and bare.isascii()):
        return False
    if word.strip().endswith(".") and len(bare) < 4 and bare.isascii():  # "St.", "Dr."
        return False
    return all(unicodedata.category(sign)[0] in "LM" or sign in "'’-\u200c\u200d" for sign in bare)
