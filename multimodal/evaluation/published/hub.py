"""Tables of the hub, and parquet files as they lie there, through the `datasets` library."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..files import write_whole
from ..items import Item
from .sets import Asked, HubRow, Published
from .tables import require

_ENDINGS = (
    (b"fLaC", ".flac"),
    (b"OggS", ".ogg"),
    (b"RIFF", ".wav"),
    (b"\x89PNG", ".png"),
    (b"\xff\xd8", ".jpg"),
    (b"GIF8", ".gif"),
)


def is_table(folder: Path, published: Published) -> bool:
    """Whether the folder holds parquet files, and the data set can be read from such."""
    return published.hub_item is not None and next(folder.rglob("*.parquet"), None) is not None


def has_table(published: Published, asked: Asked) -> bool:
    """Whether the folder has a parquet file of the configuration for what is asked."""
    config = published.hub_config(asked)
    return any(config in _words(file.relative_to(asked.folder)) for file in asked.folder.rglob("*.parquet"))


def read_hub(published: Published, place: str, asked: Asked, cache: Path) -> Iterator[Item]:
    """The items of a language; media go to files in the cache, named after what is in them."""
    split = published.hub_splits.get(asked.split, asked.split)
    needed = published.hub_columns(asked)
    for config in _configs(place, published.hub_config(asked), published):
        rows = _open(place, config, split)
        for number, values in enumerate(rows):
            require(tuple(values), needed, f"{place} {config or ''}".strip())
            row = HubRow(values, number, lambda column, values=values: _save(values[column], cache, column))
            item = published.hub_item(row, asked)
            if item is not None:
                yield item


def _configs(place: str, config: str | None, published: Published) -> list[str | None]:
    """The configuration, or every one of a data set that is cut into subjects."""
    if config != "*":
        return [config]
    folder = Path(place).expanduser()
    if folder.is_dir():
        return sorted({path.parent.name for path in folder.glob("*/*.parquet")})
    from datasets import get_dataset_config_names

    return sorted(get_dataset_config_names(place.partition("@")[0]))


def _open(place: str, config: str | None, split: str) -> Iterator[dict[str, Any]]:
    from datasets import load_dataset

    folder = Path(place).expanduser()
    if folder.is_dir():
        files = _parquet_files(folder, config, split)
        table = load_dataset("parquet", data_files={split: files}, split=split, streaming=True)
    else:
        name, _, revision = place.partition("@")
        table = load_dataset(name, config, split=split, streaming=True, revision=revision or None)
    return iter(table.decode(False))


def _parquet_files(folder: Path, config: str | None, split: str) -> list[str]:
    """Those of a configuration and a split: CONFIG/SPLIT-*.parquet, CONFIG/SPLIT/*.parquet and the like."""
    files = sorted(folder.rglob("*.parquet"))
    for word in (config, split):
        if word is None:
            continue
        kept = [file for file in files if word in _words(file.relative_to(folder))]
        if not kept:
            found = sorted({word for file in files for word in _words(file.relative_to(folder))})
            raise ValueError(f"found no parquet file of {word!r} in {folder}; its files are of {', '.join(found)}")
        files = kept
    return [str(file) for file in files]


def _words(path: Path) -> set[str]:
    """Folders, and the beginning of the name: of Art/validation-00000-of-00001.parquet, Art and validation."""
    return {*path.parts[:-1], path.stem.split("-0")[0]}


def _save(value: Any, cache: Path, column: str) -> Path:
    if not isinstance(value, dict) or not value.get("bytes"):
        raise ValueError(f"column {column} holds no sound or picture but {type(value).__name__}")
    data: bytes = value["bytes"]
    ending = next((ending for start, ending in _ENDINGS if data.startswith(start)), ".mp3")
    path = cache / f"{sha256(data).hexdigest()[:24]}{ending}"
    return path if path.exists() else write_whole(path, lambda part: part.write_bytes(data))
