"""Models without weights that can be measured: what they answer is a function of the item alone."""

from collections.abc import Sequence

from multimodal.evaluation.answering import Reply
from multimodal.evaluation.items import Item


def sentences(count: int, language: str = "English", task: str = "asr") -> list[Item]:
    """Items of growing length, each with a sentence to say."""
    words = "red circle left of a blue square and two stars".split()
    return [
        Item(
            f"{language}-{at:03d}", task, language, None, (" ".join(words[: 1 + at % 9]),), extra={"duration_s": at / 7}
        )
        for at in range(count)
    ]


class Forgetful:
    """Repeats a reference without its last word, or whole where the number in the id is even."""

    def __init__(self, stop_after: int | None = None):
        self.asked: list[list[str]] = []
        self._stop_after = stop_after

    def answer(self, batch: Sequence[Item]) -> list[str | Reply]:
        if len(self.asked) == self._stop_after:
            raise KeyboardInterrupt
        self.asked.append([item.id for item in batch])
        return [self._said(item) for item in batch]

    def _said(self, item: Item) -> str:
        words = item.references[0].split()
        return " ".join(words if int(item.id[-3:]) % 2 == 0 else words[:-1])


class Loading(Forgetful):
    """Opens its items ahead: what is opened is the reference; it times itself."""

    def load(self, item: Item) -> str:
        return item.references[0]

    def answer(self, batch: Sequence[Item], loaded: list[str]) -> list[str | Reply]:
        assert loaded == [item.references[0] for item in batch]
        return [Reply(text, first_token_s=0.25) for text in super().answer(batch)]
