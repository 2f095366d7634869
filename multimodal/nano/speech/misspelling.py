"""Spellings as an unsure ear gives them, made of text alone, so that a reader of them may learn from many texts.

What happens to a letter and how often is our choice, after what nano's encoder does in noise.
"""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from .letters import BLANK

LEVELS = (0.0, 0.5, 1.0, 1.5, 2.5)  # times the shares below
_LOST, _TAKEN_FOR_ANOTHER, _DOUBLED, _DOUBTED, _IMAGINED = 0.03, 0.06, 0.04, 0.17, 0.02  # shares of the letters

Place = dict[int, float]  # how likely some letters are where one of them is


def misspelled(letters: Sequence[int], num_letters: int, rng: random.Random) -> Tensor:
    """The letters (numbered from 1) of a text -> [K, num_letters + 1], as `adapters.token_adapter.letters_there` gives.

    Letters are lost, taken for others (those of the same text, or any), doubled, doubted or imagined; how often is
    drawn from LEVELS for the whole text.
    """
    level, places = rng.choice(LEVELS), []

    def any_letter() -> int:
        return rng.choice(letters) if rng.random() < 0.5 else rng.randint(1, num_letters)

    for letter in letters:
        places += _heard(letter, any_letter(), level, rng)
        if rng.random() < level * _IMAGINED:
            places.append({any_letter(): rng.uniform(0.1, 0.6), BLANK: rng.uniform(0.4, 0.9)})
    likely = torch.zeros(len(places), num_letters + 1)
    for row, place in zip(likely, places, strict=True):
        row[list(place)] = torch.tensor(list(place.values()))
    return likely


def _heard(letter: int, other: int, level: float, rng: random.Random) -> list[Place]:
    """The places at which a letter is heard: one as a rule, perhaps none or two."""
    drawn = rng.random() / level if level else 1.0
    if drawn < (bound := _LOST):
        faint = {letter: rng.uniform(0.1, 0.4), BLANK: rng.uniform(0.6, 0.9)}
        return [faint] if rng.random() < 0.5 else []
    if drawn < (bound := bound + _TAKEN_FOR_ANOTHER):
        right = {letter: 0.5 * rng.random() ** 2}  # comes second, if it comes at all
        return [right | {other: rng.uniform(0.4, 1.0), BLANK: rng.uniform(0.0, 0.5)}]
    if drawn < (bound := bound + _DOUBLED):
        again = letter if rng.random() < 0.5 else other
        first = {letter: rng.uniform(0.4, 1.0), BLANK: rng.uniform(0.0, 0.6)}
        return [first, {again: rng.uniform(0.1, 0.8), BLANK: rng.uniform(0.2, 0.9)}]
    if drawn < bound + _DOUBTED:
        doubt = {other: rng.uniform(0.0, 0.5), BLANK: rng.uniform(0.0, 0.6)}
        return [doubt | {letter: rng.uniform(0.4, 1.0)}]
    return [{letter: 1 - 0.1 * rng.random() ** 2, BLANK: 0.02}]
