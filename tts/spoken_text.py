"""Text that arrives in pieces -> words in spoken form as soon as they are sure, and their places in the text."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

_NEAR = 40  # characters on in which a word that is said as it is written is looked for


class SpokenStream(Protocol):
    """What puts a text into spoken form piece by piece: `rule_stream.RuleStream`, or a normaliser's stream."""

    def push(self, text: str, hidden: Tensor | None = None) -> str:
        """The newest characters, and their token's state [D] -> what is now sure."""

    def flush(self) -> str:
        """The rest."""


@dataclass(frozen=True)
class Piece:
    """Spoken text that is sure, and where in the written text that it stands for ends, in characters."""

    text: str
    end: int


class SpokenText:
    """The spoken form of one text. A word said as written is found there; others end where they became sure."""

    def __init__(self, stream: SpokenStream):
        self._stream, self._written, self._at = stream, "", 0

    def push(self, text: str, hidden: Tensor | None = None) -> list[Piece]:
        """The newest characters -> what is now sure."""
        before = len(self._written)
        self._written += text
        return self._placed(self._stream.push(text, hidden), before)

    def flush(self) -> list[Piece]:
        """The rest."""
        return self._placed(self._stream.flush(), len(self._written))

    def _placed(self, spoken: str, sure: int) -> list[Piece]:
        pieces = []
        for word in _words(spoken):
            bare = word.strip()
            found = self._written.find(bare, self._at, self._at + len(bare) + _NEAR) if bare else -1
            self._at = found + len(bare) if found >= 0 else max(self._at, sure)
            pieces.append(Piece(word, self._at))
        return pieces


def _words(text: str) -> list[str]:
    """The text cut before each space that follows something else."""
    words, begun = [], 0
    for at in range(1, len(text)):
        if text[at].isspace() and not text[at - 1].isspace():
            words.append(text[begun:at])
            begun = at
    return [*words, text[begun:]] if text else []
