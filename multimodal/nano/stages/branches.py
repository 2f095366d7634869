"""Rows of questions in branches: each is asked as if it were the first, and what it is about is encoded once for all.

A row is text whose tokens belong to branches. Branch 0 is what every branch sees: the picture or clip, and the
words before it. A branch sees that and its own words, and no other branch.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..scenes import Question
from ..text.tokenizer import ConversationEncoder
from .undenied import UndeniedTokens


@dataclass(frozen=True)
class Branched:
    """A row: its tokens, and [start, stop) of each answer with its end of turn, with the kind of its question.

    undenied: places of answer tokens, each with a token that the loss must not deny there.
    """

    ids: list[int]
    branch: list[int]  # of each token; 0 is what every branch sees
    position: list[int]
    answers: list[tuple[int, int]]
    kinds: list[str]
    undenied: list[tuple[int, int]]


Row = TypeVar("Row", bound=Branched)


def template_around(
    encoder: ConversationEncoder, end_of_turn: int, medium: int
) -> tuple[list[int], Callable[[str], list[int]]]:
    """The ids up to a picture or clip, whose token is `medium`, and those from a question up to its answer."""
    asked = encoder.conversation([("user", ""), ("assistant", "")]).ids
    first = asked.index(end_of_turn)
    before, between = asked[:first], asked[first:-1]
    return [*before, medium], lambda text: [*encoder.text(text), *between]


class InBranches:
    """Puts questions behind what all of them see; at most `tokens_a_row`, then no further question begins."""

    def __init__(self, encoder: ConversationEncoder, end_of_turn: int, medium: int, tokens_a_row: int):
        self.prefix, self.turn = template_around(encoder, end_of_turn, medium)
        self._encoder, self._end_of_turn, self._tokens_a_row = encoder, end_of_turn, tokens_a_row
        self._undenied = UndeniedTokens(encoder)

    def __call__(
        self,
        asked: Sequence[Question],
        turn_of: Callable[[str], list[int]] | None = None,
        dialogue: bool = False,
    ) -> Branched:
        """turn_of: in place of `turn`, for questions otherwise asked; dialogue: turns see those before them."""
        row = Branched(list(self.prefix), [0] * len(self.prefix), list(range(len(self.prefix))), [], [], [])
        header = self.prefix[1:-1] if dialogue else []
        for number, question in enumerate(asked):
            first = len(row.ids)
            if first > self._tokens_a_row:
                break
            turn = (turn_of or self.turn)(question.text)
            if number:
                turn = [*header, *turn]
            answer = self._encoder.text(question.answer)
            added = [*turn, *answer, self._end_of_turn]
            row.answers.append((first + len(turn), first + len(added)))
            row.undenied.extend(self._undenied(question, answer, first + len(turn)))
            start = first if dialogue else len(self.prefix)
            row.position.extend(range(start, start + len(added)))
            row.branch.extend([0 if dialogue else number + 1] * len(added))
            row.kinds.append(question.kind)
            row.ids.extend(added)
        return row


def collate(rows: Sequence[Branched], pad: int) -> dict[str, Tensor]:
    """What a row is made of, padded, and where answers are written.

    ids, branch and position [B, T]; of each of A answer tokens: at, its predecessor's place among B * T, targets,
    the token itself, weights, of which long answers have less a token, and answer, which one it belongs to.
    undenied [N, 2]: of those A the one, and a token that the loss must not deny there.
    """

    def padded(lists: list[list[int]], value: int) -> Tensor:
        return pad_sequence([torch.tensor(one) for one in lists], batch_first=True, padding_value=value)

    ids = padded([row.ids for row in rows], pad)
    at, targets, weights, answer, answers, undenied = [], [], [], [], 0, []
    for number, row in enumerate(rows):
        number_of: dict[int, int] = {}  # of an answer token in the row: which of the A it is
        for start, stop in row.answers:
            number_of |= {place: len(at) + place - start for place in range(start, stop)}
            at += range(number * ids.shape[1] + start - 1, number * ids.shape[1] + stop - 1)
            targets += row.ids[start:stop]
            weights += [(stop - start) ** -0.5] * (stop - start)
            answer += [answers] * (stop - start)
            answers += 1
        undenied += [(number_of[place], token) for place, token in row.undenied]
    return {
        "ids": ids,
        "branch": padded([row.branch for row in rows], -1),
        "position": padded([row.position for row in rows], 0),
        "at": torch.tensor(at),
        "targets": torch.tensor(targets),
        "weights": torch.tensor(weights),
        "answer": torch.tensor(answer),
        "undenied": torch.tensor(undenied, dtype=torch.long).view(-1, 2),
    }


def sees(branch: Tensor) -> Tensor:
    """Which token sees which, of branches [B, T]: [B, 1, T, T]."""
    own = (branch[:, None] == branch[:, :, None]) | (branch[:, None] == 0)
    causal = torch.ones(branch.shape[1], branch.shape[1], dtype=torch.bool, device=branch.device).tril()
    return (own & causal).unsqueeze(1)


def answer_loss(logits: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, float]:
    """Weighted cross-entropy of answer tokens, of logits [A, V], and the share of them that is the likeliest."""
    logits = logits.index_put(tuple(batch["undenied"].T), logits.new_tensor(-torch.inf))
    nll = F.cross_entropy(logits, batch["targets"], reduction="none")
    right = (logits.argmax(-1) == batch["targets"]).float().mean().item()
    return (nll * batch["weights"]).sum() / batch["weights"].sum(), right


@torch.no_grad()
def exact_answers(
    rows: Sequence[Row], rows_a_batch: int, logits_of: Callable[[Sequence[Row]], tuple[Tensor, dict[str, Tensor]]]
) -> dict[str, list[bool]]:
    """For each kind, which answers greedy decoding gives exactly: each token the likeliest after the right ones.

    logits_of: logits [A, V] of rows, and their batch.
    """
    right = defaultdict(list)
    for start in range(0, len(rows), rows_a_batch):
        part = rows[start : start + rows_a_batch]
        logits, batch = logits_of(part)
        wrong = logits.argmax(-1) != batch["targets"]
        for at, kind in enumerate(kind for row in part for kind in row.kinds):
            right[kind].append(not wrong[batch["answer"] == at].any().item())
    return right


def shares(right: dict[str, list[bool]], apart: str) -> dict[str, float]:
    """The share of exact answers of each kind, and under `all` that of all kinds but `apart`."""
    hits = [hit for kind, of_kind in right.items() if kind != apart for hit in of_kind]
    return {"all": sum(hits) / len(hits)} | {kind: sum(one) / len(one) for kind, one in sorted(right.items())}
