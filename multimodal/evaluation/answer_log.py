"""Answers on disk as they come: a line a batch, on the disk before the next batch begins."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class AnswerLog:
    """The log of one process for one task. A line that a kill cut off is dropped when the log is opened again."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "ab+")  # noqa: SIM115
        whole = _whole_lines(path.read_bytes())
        self._file.truncate(len(whole))

    def append(self, record: dict[str, Any]) -> None:
        """Write a record; when this returns it survives a kill and a loss of power."""
        self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> "AnswerLog":
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a log, without a last line that was cut off. Raises ValueError for a line that is damaged."""
    for number, line in enumerate(_whole_lines(path.read_bytes()).splitlines(), 1):
        try:
            yield json.loads(line)
        except ValueError:
            raise ValueError(f"{path}: line {number} is damaged; remove the file to ask its batches again") from None


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file that is whole or not there, whenever the process is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
