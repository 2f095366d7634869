"""The tokens of text normalisation: runs of letters, runs of digits, and every other sign alone.

Text is split by Unicode category (paper, section 3). Marks and joiners belong to the letters that they
follow. Spaces, control characters and lone surrogates only part tokens; so does any character without
a meaning that Unicode knows.
"""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

LETTERS, DIGITS, SIGN = "letters", "digits", "sign"
_JOINERS = "\u200c\u200d"
_LONGEST = 64  # characters of one token; a longer run is cut, so that memory and time are bounded


@dataclass(frozen=True)
class WrittenToken:
    """One token: its text, its place [start, stop) in characters of the whole, and whether a space came before."""

    text: str
    start: int
    stop: int
    kind: str
    spaced: bool


class Splitter:
    """Tokens of a text that comes piece by piece; the same tokens as those of the whole."""

    def __init__(self) -> None:
        self._run, self._kind, self._start = "", "", 0
        self._place, self._spaced = 0, False
        self.num_written = 0  # characters that belong to tokens, so far

    @property
    def is_open(self) -> bool:
        """Whether a token has begun that the next sign may still belong to."""
        return bool(self._run)

    def push(self, text: str) -> list[WrittenToken]:
        """The tokens that are complete now. A run of letters or digits is complete when another sign follows."""
        done: list[WrittenToken] = []
        for sign in text:
            kind = _kind(sign)
            if kind == "mark":  # alone, a mark is a sign of its own
                kind = LETTERS if self._kind == LETTERS else SIGN
            if kind != self._kind or kind == SIGN or len(self._run) >= _LONGEST:
                done += self.flush()
            if kind == "space":
                self._spaced = True
            else:
                if not self._run:
                    self._start, self._kind = self._place, kind
                self._run += sign
                self.num_written += 1
            self._place += 1
            if self._kind == SIGN:
                done += self.flush()
        return done

    @property
    def begun(self) -> list[WrittenToken]:
        """The token that is still open, as far as it goes; its kind stays."""
        return [WrittenToken(self._run, self._start, self._place, self._kind, self._spaced)] if self._run else []

    def flush(self) -> list[WrittenToken]:
        """The token that was still open."""
        token = self.begun
        if token:
            self._run, self._kind, self._spaced = "", "", False
        return token


def split(text: str) -> list[WrittenToken]:
    """All tokens of a text."""
    splitter = Splitter()
    return splitter.push(text) + splitter.flush()


@lru_cache(maxsize=65_536)
def _kind(sign: str) -> str:
    category = unicodedata.category(sign)
    if sign in _JOINERS or category[0] == "M":
        return "mark"
    if category[0] == "L":
        return LETTERS
    if category == "Nd":
        return DIGITS
    return "space" if category[0] in "CZ" else SIGN


def in_ascii_digits(text: str) -> str:
    """The text with the digits of every script as 0 to 9."""
    return "".join(str(unicodedata.decimal(sign)) if sign.isdecimal() else sign for sign in text)
