"""`spoken_form` for a text that comes in pieces: the same words, as soon as no later sign can change them."""

from collections.abc import Sequence

from .guesses import guess
from .lexicon import CURRENCIES, SCALES, UNITS
from .rules import Sayer, spans
from .spoken_numbers import numbers_of
from .spoken_text import Piece, piece_of
from .written_tokens import DIGITS, LETTERS, SIGN, Splitter, WrittenToken

_BEHIND_A_NUMBER = {*UNITS, *SCALES, *CURRENCIES, "a", "p", "am", "pm", "AM", "PM", "A", "P"}
_ENDS_A_CLAUSE = "。、，！？；："  # in scripts that write no spaces


class RuleStream:
    """The spoken form of one text by rules alone, in any of the 34 languages; ValueError for another one.

    A text is cut before a word that follows a space and a word or sign; no rule reaches over such a place. What
    stands between two cuts, at most a number with all that belongs to it, is held back.
    """

    def __init__(self, language: str):
        numbers_of(language)
        self._language = language
        self._splitter, self._sayer = Splitter(), Sayer(language)
        self._tokens: list[WrittenToken] = []
        self._before: list[WrittenToken] = []  # the word before them, which a reading may hang on

    def push(self, text: str, hidden: object = None) -> list[Piece]:
        """A piece of the text -> what is now certain to be said, often nothing. The core's state is not used."""
        self._tokens += self._splitter.push(text)
        tokens = [*self._tokens, *self._splitter.begun]
        cuts = [at for at in range(1, len(tokens)) if is_cut(tokens, at)]
        return self._say(cuts[-1], tokens[cuts[-1]]) if cuts else []

    def flush(self) -> list[Piece]:
        """What was still held back; the stream has ended."""
        self._tokens += self._splitter.flush()
        return self._say(len(self._tokens), None)

    def _say(self, until: int, following: WrittenToken | None) -> list[Piece]:
        tokens, self._tokens = self._tokens[:until], self._tokens[until:]
        labels = guess([*self._before, *tokens], self._language)[len(self._before) :]
        if tokens:
            self._before = tokens[-1:] if tokens[-1].kind == LETTERS else []
        pieces, behind = [], [*tokens[1:], following]
        for first, last in spans(labels):
            said = self._sayer.say(tokens[first:last], labels[first])
            pieces += piece_of(said, tokens[last - 1], behind[last - 1])
        return pieces


def is_cut(tokens: Sequence[WrittenToken], at: int) -> bool:
    """Whether no rule reaches over the place before a token."""
    token, last = tokens[at], tokens[at - 1]
    if token.kind != LETTERS or not (token.spaced or last.text in _ENDS_A_CLAUSE):
        return False
    of_number = at > 1 and tokens[at - 2].kind == DIGITS and last.text in _BEHIND_A_NUMBER
    return last.kind == SIGN or (last.kind == LETTERS and not of_number)
