"""Tables and files as others publish them; what is missing is named, with what is there instead."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_SHOWN = 12  # names in a message
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))


def find(folder: Path, *places: str) -> Path:
    """The first of the places (patterns) that exists under the folder; ValueError names them all."""
    if not folder.is_dir():
        raise ValueError(f"found no folder {folder}")
    for place in places:
        found = sorted(folder.glob(place))
        if found:
            return found[0]
    there = sorted(path.name for path in folder.iterdir())[:_SHOWN]
    raise ValueError(f"found no {' or '.join(places)} in {folder}, which holds {', '.join(there) or 'nothing'}")


def media(path: Path, row_of: Path) -> Path:
    """The path of a medium, which must be there."""
    if not path.is_file():
        raise ValueError(f"found no file {path}, which a row of {row_of} names")
    return path


def rows_of(
    path: Path, needed: Sequence[str], columns: Sequence[str] | None = None, escape: str | None = None
) -> Iterator[dict[str, str]]:
    """The rows of a TSV (without quotes) or CSV file by its header, or by the columns where it has none.

    escape: the sign that a TSV file has before a tab or a quote in a text.
    """
    tabbed = path.suffix == ".tsv"
    with path.open(encoding="utf-8", newline="") as file:
        options = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "escapechar": escape} if tabbed else {}
        reader = csv.DictReader(file, columns, **options)
        require(reader.fieldnames or (), needed, path)
        for number, row in enumerate(reader, start=1):
            if any(row[column] is None for column in needed):
                raise ValueError(f"row {number} of {path} has fewer columns than {', '.join(reader.fieldnames or ())}")
            yield row


def json_of(path: Path) -> Any:
    """What a JSON file holds."""
    try:
        return json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error


def require(found: Sequence[str], needed: Sequence[str], where: Path | str) -> None:
    """ValueError that names the columns, keys or fields that are not there."""
    if missing := [name for name in needed if name not in found]:
        raise ValueError(f"{where} has no {', '.join(missing)}; found {', '.join(found) or 'nothing'}")
