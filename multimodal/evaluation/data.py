"""Every data set behind one face: `open_dataset` gives the items of a task, from wherever they lie."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from multimodal.languages import Language, find_language

from .items import SPEECH_TASKS, TASKS, Item
from .manifest import ENDINGS, read_manifest
from .processes import Processes
from .published.registry import PUBLISHED
from .published.sets import read_published

EMBEDDED, EMBEDDED_NOISY = "espeak34", "espeak34-noise10"  # what the harness builds itself, offline, for any task
_NANO_SETS = {
    "nano-pictures": "image-qa",
    "nano-clips": "video-qa",
    "nano-answers": "tts-intelligibility",
    "nano-written": "text-normalization",
}
_NEEDS = {  # libraries of the extra `train` that draw and encode what the ordinary evaluation only reads
    "spoken-qa": ("font_lato", "font_manrope", "font_source_serif_pro"),
    "image-qa": ("font_lato", "font_manrope", "font_source_serif_pro"),
    "video-qa": ("av",),
}
BUILT = (EMBEDDED, EMBEDDED_NOISY, *_NANO_SETS)
HELD_OUT = "held out"


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
    processes: Processes = Processes(),  # noqa: B008 (frozen)
) -> ItemSet:
    """The items of a task, their media as files on this machine.

    data: `fleurs=FOLDER` for a folder in the layout that the data set is published in; `fleurs=google/fleurs`
        (`@REVISION` may follow) for the hub, which alone may reach the network; the path of a manifest, *.jsonl
        or *.tsv; one of `BUILT`, which the harness makes; or None, `espeak34`, which for tasks other than speech
        stands for nano's held-out pictures, clips, answers or written forms.
    languages: English names or codes of the 34; none named means all that the data set has.
    limit: at most so many items a language; None means all, or of what the harness builds 60 of
        speech and of texts, 196 questions about pictures, 120 about clips and 500 sentences of written forms.
    split: None means the one that published tables are about.
    cache: where built and fetched media are kept; by default `cache_folder()`.
    processes: those that open the same items together: sounds to be made are shared, and anything else that is to
        be made or fetched is by the first, for all.

    Raises ValueError that names a task, data set, language, split, folder, file or column that is not there,
    and what is accepted.
    """
    if task not in TASKS:
        raise ValueError(f"found task {task!r}; accepted: {', '.join(TASKS)}")
    if limit is not None and limit < 1:
        raise ValueError(f"found a limit of {limit} items a language; accepted: 1 or more")
    wanted = tuple(dict.fromkeys(find_language(one) for one in languages))
    cache = cache or cache_folder()
    if data is None or data in BUILT:
        if split is not None:
            raise ValueError(f"found split {split!r}; {data or 'a built set'} has none: all of it is held out")
        return _build(task, data or EMBEDDED, wanted, limit, seed, cache / EMBEDDED, processes)
    if data.endswith(ENDINGS):
        if split is not None:
            raise ValueError(f"found split {split!r}; a manifest has none")
        return ItemSet(data, "", tuple(_limited(read_manifest(Path(data), task, wanted), limit)))
    with processes.leader_first():
        return _open_published(task, data, wanted, limit, split, cache)


def _build(
    task: str,
    data: str,
    languages: tuple[Language, ...],
    limit: int | None,
    seed: int,
    folder: Path,
    processes: Processes,
) -> ItemSet:
    """What the harness makes itself; `espeak34` stands for the set of whichever task."""
    if missing := [name for name in _NEEDS.get(task, ()) if find_spec(name) is None]:
        raise ValueError(f"{data} makes {task} with {', '.join(missing)}: pip install 'multimodal-llama[train]'")
    from . import espeak34, nano_sets

    if task in SPEECH_TASKS and data in (EMBEDDED, EMBEDDED_NOISY):
        items = espeak34.speech_items(task, languages, limit, seed, folder, data == EMBEDDED_NOISY, processes)
        return ItemSet(data, f"{HELD_OUT}, seed {seed}", tuple(items))
    name = next((name for name, its_task in _NANO_SETS.items() if its_task == task), None)
    if name is None or data not in (EMBEDDED, name):
        accepted = [EMBEDDED, EMBEDDED_NOISY] if task in SPEECH_TASKS else [EMBEDDED, *([name] if name else [])]
        raise ValueError(f"{data} has no {task}; accepted of what is built here: {', '.join(accepted)}")
    if others := [language.name for language in languages if language.code != "en"]:
        raise ValueError(f"{name} has no {task} for {', '.join(others)}; accepted: English")
    make = {
        nano_sets.PICTURES: lambda: nano_sets.picture_items(limit, seed, folder),
        nano_sets.CLIPS: lambda: nano_sets.clip_items(limit, seed, folder),
        nano_sets.ANSWERS: lambda: nano_sets.answer_items(limit, seed),
        nano_sets.WRITTEN: lambda: nano_sets.written_items(limit, seed),
    }[name]
    with processes.leader_first():
        made = make()
    return ItemSet(name, f"{HELD_OUT}, seed {seed}", tuple(made))


def _open_published(
    task: str, data: str, languages: tuple[Language, ...], limit: int | None, split: str | None, cache: Path
) -> ItemSet:
    name, _, place = data.partition("=")
    if name not in PUBLISHED:
        raise ValueError(
            f"found data {data!r}; accepted: {', '.join(BUILT)}, a manifest (*.jsonl or *.tsv), or NAME=FOLDER or "
            f"NAME=HUB_ID with a name of {', '.join(sorted(PUBLISHED))}"
        )
    published = PUBLISHED[name]
    if task not in published.tasks:
        raise ValueError(f"{name} has no {task}; it has {', '.join(published.tasks)}")
    if not place:
        raise ValueError(
            f"{name} needs a place: {name}=FOLDER for a folder in its published layout ({published.layout}), or "
            f"{name}={published.hub_id or 'HUB_ID'} to fetch it from the hub"
        )
    split = split or published.split
    items = read_published(published, place, split, task, languages, limit, cache / name)
    return ItemSet(name, split, tuple(items))


def _limited(items: Iterable[Item], limit: int | None) -> Iterator[Item]:
    """At most so many items of each language, in order."""
    seen: Counter[str] = Counter()
    for item in items:
        seen[item.language] += 1
        if limit is None or seen[item.language] <= limit:
            yield item


def cache_folder() -> Path:
    """Where built and fetched media lie unless the caller says otherwise: $XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "multimodal-llama" / "evaluation"
