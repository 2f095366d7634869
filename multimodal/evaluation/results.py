"""What a run leaves behind: `results.json` with every answer, and nothing in it that differs from run to run."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .. import __version__
from .answering import Reply
from .items import Item
from .measures import measures
from .scoring import score

FORMAT = 1
LIBRARIES = ("torch", "transformers", "jiwer", "rapidfuzz", "sacrebleu", "whisper-normalizer")


@dataclass(frozen=True)
class Settings:
    """What decides the answers and figures of a run; a folder holds one run, so it holds one of these."""

    model: str
    tasks: tuple[str, ...]
    data: dict[str, str]  # by task, with the split
    languages: tuple[str, ...]
    limit: int | None
    batch_size: int
    seed: int
    max_new_tokens: int
    weights: dict[str, str] = field(default_factory=dict)  # SHA-256 of each file of a local model
    items: dict[str, str] = field(default_factory=dict)  # by task, SHA-256 of what is asked
    skipped: dict[str, str] = field(default_factory=dict)  # tasks left out of "all", and why

    def told(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self)))


def weights_of(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of weights in a model's folder; of a hub id, which is no folder, none."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else ():
        digest = sha256()
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        found[path.name] = digest.hexdigest()
    return found


def asked(items: Sequence[Item]) -> str:
    """SHA-256 of what items ask: another run of the same has the same."""
    told = [[item.id, item.language, item.prompt, len(item.images)] for item in items]
    return sha256(json.dumps(told, ensure_ascii=False).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Of what computes answers and figures."""
    return {"multimodal-llama": __version__, "python": platform.python_version()} | {
        name: version(name) for name in LIBRARIES
    }


def task_results(
    task: str, data: str, items: Sequence[Item], replies: Sequence[Reply], seed: int, contaminated: Any = None
) -> dict[str, Any]:
    """A task's part of `results.json`: figures, and every item with its answer and its own first figure."""
    texts = [reply.text for reply in replies]
    found = {"task": task, "data": data} | score(task, items, texts, seed)
    if contaminated is not None:
        found["contamination"] = contaminated
    found["items"] = [_told(item, text) for item, text in zip(items, texts, strict=True)]
    return found


def _told(item: Item, text: str) -> dict[str, Any]:
    measure = measures(item.task, item.language)[0]
    value = measure.value(measure.rows([item], [text]).sum(0))
    extra = {key: value for key, value in item.extra.items() if isinstance(value, str | int | float | list | tuple)}
    return {
        "id": item.id,
        "language": item.language,
        "prompt": item.prompt,
        "references": list(item.references),
        "hypothesis": text,
        measure.name: None if value != value else value,
        "extra": extra,
    }


def read_items(told: dict[str, Any]) -> tuple[list[Item], list[str]]:
    """The items and answers of a task's part of `results.json`, as far as scoring needs them."""
    items = [
        Item(one["id"], told["task"], one["language"], one["prompt"], tuple(one["references"]), extra=one["extra"])
        for one in told["items"]
    ]
    return items, [one["hypothesis"] for one in told["items"]]


def read_results(path: Path) -> dict[str, Any]:
    """The results in a file, or in a run's folder. Raises ValueError for what is no such file."""
    file = path / "results.json" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"{path}: found no results.json; accepted: a folder that evaluate wrote, or its results.json")
    try:
        found = json.loads(file.read_text("utf-8"))
    except ValueError:
        raise ValueError(f"{file}: found no JSON; accepted: a results.json that evaluate wrote") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"{file}: found no results of format {FORMAT}; accepted: a results.json that evaluate wrote")
    return found
