"""Text that arrives in pieces -> spans in spoken form as soon as they are sure, and their places in the text."""

from typing import NamedTuple, Protocol

from torch import Tensor

from .written_tokens import LETTERS, WrittenToken


class Piece(NamedTuple):
    """The spoken form of a span, sure; where the span ends in the written text, in characters; what follows it.

    `then` is the first letter of the next word, where a space and a word follow; else "".
    """

    text: str
    end: int
    then: str = ""


class SpokenStream(Protocol):
    """What puts a text into spoken form piece by piece: `rule_stream.RuleStream`, or a normaliser's stream."""

    def push(self, text: str, hidden: Tensor | None = None) -> list[Piece]:
        """The newest characters, and their token's state [D] -> what is now sure."""

    def flush(self) -> list[Piece]:
        """The rest."""


def piece_of(said: str, last: WrittenToken, following: WrittenToken | None) -> list[Piece]:
    """The piece of a span whose last token and the one behind it are these; none for a span that is silent."""
    then = following.text[0] if following and following.spaced and following.kind == LETTERS else ""
    return [Piece(said, last.stop, then)] if said else []


def joined(pieces: list[Piece]) -> str:
    """The words of pieces that follow each other."""
    return "".join(piece.text for piece in pieces)
