"""The letters that nano's encoder learns to name, and transcripts as rows of them."""

from functools import cache

import torch
from torch import Tensor

from ..text.phrases import KINDS, phrase_table
from .utterances import scored

BLANK = 0  # CTC's; letters count from 1


@cache
def letters() -> tuple[str, ...]:
    """Every letter of what is scored of nano's world, in order."""
    names = [name for row in phrase_table().values() for kind in (*KINDS, "month_in_date") for name in row[kind]]
    dates = [row["date"].format(day="", month="", month_number="", year="") for row in phrase_table().values()]
    text = "".join(scored(one, code) for code in phrase_table() for one in (*names, *dates))
    return tuple(sorted(set(text) | set("abcdefghijklmnopqrstuvwxyz0123456789 ")))


def spelled(text: str, code: str) -> Tensor:
    """The numbers [L] of the letters that are scored of a text in a language."""
    number = {letter: at for at, letter in enumerate(letters(), start=1)}
    return torch.tensor([number[letter] for letter in scored(text, code)])


def read(logits: Tensor) -> str:
    """Greedy: logits [T, letters + 1] -> text."""
    best = logits.argmax(-1).unique_consecutive().tolist()
    return " ".join("".join(letters()[one - 1] for one in best if one != BLANK).split())
