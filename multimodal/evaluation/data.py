"""Every data set behind one face: `open_dataset` gives the items of a task, from wherever they lie."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .items import TASKS, Item

EMBEDDED = "espeak34"  # what the harness builds itself, offline, for any task


@dataclass(frozen=True)
class ItemSet:
    """The items of a task in a fixed order, of which a smaller limit is the beginning in each language.

    data: the name of the data set, such as "fleurs", or the path of a manifest; split: such as "test".
    """

    data: str
    split: str
    items: tuple[Item, ...]

    @property
    def name(self) -> str:
        return f"{self.data} {self.split}".strip()

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)


def open_dataset(
    task: str,
    data: str | None = None,
    languages: Sequence[str] = (),
    limit: int | None = None,
    *,
    split: str | None = None,
    seed: int = 0,
    cache: Path | None = None,
) -> ItemSet:
    """The items of a task, their media as files on this machine.

    data: `fleurs=FOLDER` for a folder in the layout that the data set is published in; `fleurs=google/fleurs`
        (`@REVISION` may follow) for the hub, which alone may reach the network; the path of a manifest, *.jsonl
        or *.tsv; `espeak34`, `espeak34-noise10` or `nano-pictures`, which the harness builds; or None, the
        embedded default of the task.
    languages: English names or codes of the 34; none named means all that the data set has.
    limit: at most so many items a language; None means all, or 60 of what the harness builds.
    split: None means the one that published tables are about.
    cache: where built and fetched media are kept; by default `cache_folder()`.

    Raises ValueError that names a task, data set, language, split, folder, file or column that is not there,
    and what is accepted.
    """
    if task not in TASKS:
        raise ValueError(f"found task {task!r}; accepted: {', '.join(TASKS)}")
    raise NotImplementedError


def cache_folder() -> Path:
    """Where built and fetched media lie unless the caller says otherwise: $XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "multimodal-llama" / "evaluation"
