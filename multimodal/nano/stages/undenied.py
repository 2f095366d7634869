"""What no training loss denies: pairs of a colour and a shape that training never shows.

Where a thing is red, and no red star was ever shown, cross-entropy over all shapes teaches that red things are no
stars. Nothing that was seen says so. Here "star" is left out of what the shape of a red thing is told from, and "red"
out of what the colour of a star is: logit adjustment (arXiv 2007.07314) by a prior that is 0 or 1. Our choice.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor

from ..captions import VOCABULARY
from ..scenes import COLOURS, SHAPES, UNSEEN_WITH, Question
from ..text.tokenizer import ConversationEncoder


def _unseen(rows: tuple[str, ...], columns: tuple[str, ...]) -> Tensor:
    """bool [rows, columns]: which names training never shows together."""
    return torch.tensor([[column in UNSEEN_WITH.get(row, ()) for column in columns] for row in rows])


_WORDS = _unseen(VOCABULARY, VOCABULARY)
_NAMES = _unseen(("", *COLOURS), ("", *SHAPES))


def undenied_words(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits [B, T, V] of captions' words without those that the next or the last word was never shown with.

    labels [B, T]: the right words; in a caption a thing's shape follows on its colour.
    """
    unseen = _WORDS.to(labels.device)
    return logits.masked_fill(unseen[labels.roll(1, 1)] | unseen[labels.roll(-1, 1)], -math.inf)


def undenied_names(colours: Tensor, shapes: Tensor, colour: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of colours [..., 9] and shapes [..., 7], without those never shown with the right one of the other.

    colour and shape [...]: the right ones, counted from 1 as in `COLOURS` and `SHAPES`; other numbers stand for none.
    """
    unseen = _NAMES.to(colour.device)
    colour, shape = (
        right.where((right >= 0) & (right < names), 0)
        for right, names in zip((colour, shape), unseen.shape, strict=True)
    )
    return colours.masked_fill(unseen.T[shape], -math.inf), shapes.masked_fill(unseen[colour], -math.inf)


class UndeniedTokens:
    """Tokens of the core that would name such a pair in an answer."""

    def __init__(self, encoder: ConversationEncoder):
        self._encoder = encoder
        token = {name: encoder.text(f" {name}")[0] for name in UNSEEN_WITH}  # each is a single one
        self._unseen_with = {token[name]: [token[other] for other in others] for name, others in UNSEEN_WITH.items()}

    def __call__(self, question: Question, answer: list[int], first: int) -> list[tuple[int, int]]:
        """Places and tokens, of an answer that begins at the place `first`."""
        found = [(first, self._encoder.text(name)[0]) for name in question.unseen]
        for at, (one, other) in enumerate(pairwise(answer), first):  # where a thing is told of: colour, then shape
            found += [(at, token) for token in self._unseen_with.get(other, ())]
            found += [(at + 1, token) for token in self._unseen_with.get(one, ())]
        return found
