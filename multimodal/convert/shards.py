"""Safetensors files, read and written one tensor at a time."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..checkpoint import INDEX
from .table import Row

MAX_SHARD_BYTES = 5_000_000_000


class Shards:
    """The tensors of safetensors files; one file is open at a time, so one is in memory at most.

    files: as `checkpoint.files_of` tells, and the names of the tensors that each must hold, where known.

    Raises ValueError, with the name of the file, if one is missing, damaged, or not the one that the
    index, or the hub's cache, has the SHA-256 of.
    """

    def __init__(self, files: Mapping[Path, set[str] | None]):
        self.files = list(files)
        self._home: dict[str, Path] = {}
        for file, expected in files.items():
            names = set(_opened(file).keys())
            if expected is not None and names != expected:
                raise ValueError(f"{file}: found other tensors than its index names")
            self._home |= dict.fromkeys(names, file)
        self._file, self._open = None, None

    @property
    def names(self) -> set[str]:
        return set(self._home)

    def check(self) -> None:
        """Compare every file with its SHA-256, where that is known; reads all of them."""
        for file in self.files:
            known = _known_sha256(file)
            if known is not None and sha256(file) != known:
                raise ValueError(f"{file}: found another SHA-256 than the {known} it was written with")

    def read(self, name: str) -> Tensor:
        """A copy of one tensor, in memory of its own."""
        return self.view(name).clone()

    def view(self, name: str) -> Tensor:
        """One tensor, mapped: what is not looked at is not read, and the file stays open as long as the view."""
        file = self._home[name]
        if file != self._file:
            self._file, self._open = file, _opened(file)
        return self._open.get_tensor(name)

    def in_order(self, rows: Iterable[Row]) -> list[Row]:
        """Rows sorted by the file that their first tensor is in."""
        return sorted(rows, key=lambda row: self.files.index(self._home[row.theirs[0]]))


def _opened(file: Path) -> Any:
    try:
        return safe_open(file, framework="pt")
    except FileNotFoundError as error:
        raise ValueError(f"{file}: found no such file, which the folder's index names") from error
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{file}: found no readable safetensors file ({error})") from error


def sha256(file: Path) -> str:
    """Of the whole file, in hexadecimal digits."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _known_sha256(file: Path) -> str | None:
    """From our index, or from the hub's cache, where a large file's name is its SHA-256."""
    name = file.resolve().name
    if len(name) == 64 and set(name) <= set("0123456789abcdef"):
        return name
    index = file.with_name(INDEX)
    if not index.is_file():
        return None
    return json.loads(index.read_text("utf-8")).get("metadata", {}).get("sha256", {}).get(file.name)


def write_shards(tensors: Iterator[tuple[str, Tensor]], folder: Path, max_bytes: int = MAX_SHARD_BYTES) -> None:
    """Write tensors as they come into files of at most `max_bytes`, and an index with the SHA-256 of each."""
    parts: list[dict[str, None]] = []
    shard: dict[str, Tensor] = {}
    total = 0

    def flush() -> None:
        save_file(shard, folder / _part(len(parts)), {"format": "pt"})
        parts.append(dict.fromkeys(shard))
        shard.clear()

    for name, tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        if shard and size + sum(t.numel() * t.element_size() for t in shard.values()) > max_bytes:
            flush()
        shard[name] = tensor.contiguous()
        total += size
    flush()
    weight_map, sums = {}, {}
    for number, names in enumerate(parts):
        final = f"model-{number + 1:05d}-of-{len(parts):05d}.safetensors"
        (folder / _part(number)).rename(folder / final)
        sums[final] = sha256(folder / final)
        weight_map |= dict.fromkeys(names, final)
    index = {"metadata": {"total_size": total, "sha256": sums}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", "utf-8")


def _part(number: int) -> str:
    return f"part-{number:05d}.safetensors"
