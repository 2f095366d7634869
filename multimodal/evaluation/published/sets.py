"""What describes a published data set, and how its items are read from a folder or the hub."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from multimodal.languages import LANGUAGES, Language

from ..items import Item


@dataclass(frozen=True)
class Asked:
    """What is wanted of a data set: for a task, a split and a language, from a folder."""

    folder: Path
    task: str
    split: str
    language: Language
    codes: Mapping[str, str] = field(default_factory=dict)  # the set's own codes, by ours

    @property
    def code(self) -> str:
        """What the data set calls the language."""
        return self.codes[self.language.code]


@dataclass(frozen=True)
class HubRow:
    """A row of the data set as it lies on the hub, with what wants its media as files: name of the column -> path."""

    values: Mapping[str, Any]
    number: int
    save: Callable[[str], Path]


@dataclass(frozen=True)
class Published:
    """A data set: its tasks, its languages by our codes, the split that tables are about, and its readers.

    layout: its folder in words. hub: where a table of it lies; `hub_config` is the configuration for what is
    asked, `hub_splits` what our names of splits are there, and `hub_item` makes an item of a row.
    """

    name: str
    tasks: tuple[str, ...]
    codes: Mapping[str, str]
    split: str
    layout: str
    read: Callable[[Asked], Iterator[Item]]
    hub_id: str | None = None
    hub_config: Callable[[Asked], str | None] = lambda asked: None
    hub_splits: Mapping[str, str] = field(default_factory=dict)
    hub_item: Callable[[HubRow, Asked], Item | None] | None = None
    hub_columns: Callable[[Asked], tuple[str, ...]] = lambda asked: ()
    places: Callable[[Asked], tuple[str, ...]] = lambda asked: (asked.code, f"*/{asked.code}")  # where a language lies
    from_english: tuple[str, ...] | None = None  # of the codes, those that there is a translation into; None: all
    hub_lacks: tuple[str, ...] = ()  # of the codes, those that are in the published folders alone

    def languages(self, task: str, wanted: Sequence[Language], on_hub: bool = False) -> tuple[Language, ...]:
        """Those wanted, or all that the task has here; ValueError names one that it lacks."""
        codes = set(self.codes) - set(self.hub_lacks if on_hub else ())
        if task == "ast-from-english" and self.from_english is not None:
            codes = set(self.from_english)
        if task.startswith("ast"):
            codes -= {"en"}
        has = [one for one in LANGUAGES if one.code in codes]
        if missing := [one.name for one in wanted if one not in has]:
            where = " on the hub" if on_hub else ""
            accepted = ", ".join(one.name for one in has)
            raise ValueError(f"{self.name} has no {task} for {', '.join(missing)}{where}; accepted: {accepted}")
        return tuple(wanted) or tuple(has)


def read_published(
    published: Published,
    place: str,
    split: str,
    task: str,
    wanted: Sequence[Language],
    limit: int | None,
    cache: Path,
) -> list[Item]:
    """At most `limit` items of each language, from a folder, or from the hub where the place is no folder."""
    from .hub import has_table, is_table, read_hub

    items: list[Item] = []
    folder = Path(place).expanduser()
    on_hub = is_table(folder, published) if folder.is_dir() else _is_hub_id(place, published)
    languages = published.languages(task, wanted, on_hub)
    for language in languages:
        asked = Asked(folder, task, split, language, published.codes)
        may_lack = not wanted and len(languages) > 1 and folder.is_dir()
        if may_lack and not (has_table if on_hub else _has)(published, asked):
            continue  # of a data set of many languages a user may have some
        found: Iterable[Item] = read_hub(published, place, asked, cache) if on_hub else published.read(asked)
        items += islice(found, limit)
    if not items:
        raise ValueError(f"{published.name}={place} has no item of split {split!r} in any language of {task}")
    return items


def _has(published: Published, asked: Asked) -> bool:
    """Whether the folder has what the data set calls the language."""
    return any(next(asked.folder.glob(place), None) for place in published.places(asked))


def _is_hub_id(place: str, published: Published) -> bool:
    name = place.partition("@")[0]
    if place.startswith(("/", ".", "~")) or name.count("/") != 1:
        raise ValueError(
            f"found no folder {place}; accepted: a folder with {published.layout}, "
            f"or a hub id such as {published.hub_id or 'owner/name'}"
        )
    if published.hub_item is None:
        raise ValueError(f"{published.name} is read from a folder only, with {published.layout}; found {place!r}")
    return True
