"""The small face of a model that can be measured, ours or from outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .items import Item


@dataclass(frozen=True)
class Reply:
    """An answer with what was timed on the way, in seconds from when the model got the batch, and the sound it made."""

    text: str
    first_token_s: float | None = None
    first_audio_s: float | None = None
    made_audio_s: float | None = None


class Answers(Protocol):
    """What is measured: `answer(batch)` gives a text, or a `Reply`, for each item, in order.

    It may have besides:
    `load(item)`: opens the item's media. It is called from several threads, some batches ahead, and what it gives
        comes as a list to `answer(batch, loaded)`.
    `prepare(items)`: called once with all items of a task, before the first batch of it.
    `refusal(task)`: why it cannot do a task, as a sentence; None if it can.
    """

    def answer(self, batch: Sequence[Item]) -> Sequence[str | Reply]: ...


def refusal(model: Any, task: str) -> str | None:
    """Why a model cannot do a task, where it can tell."""
    return model.refusal(task) if hasattr(model, "refusal") else None


def as_reply(answer: "str | Reply") -> Reply:
    """A plain text as a reply without times."""
    return answer if isinstance(answer, Reply) else Reply(answer)
