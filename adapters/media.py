"""The bytes of a file from outside, and the one error for whatever is wrong with it. Knows no modality."""

import os
import stat
from typing import BinaryIO

Source = str | os.PathLike | bytes | bytearray | memoryview | BinaryIO

_NAME_CHARS = 200  # a longer name is cut: it may be a whole file that was passed where a path belongs (our choice)
_FILE_TYPES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class MediaError(ValueError):
    """A file, array or stream that cannot be used: its name, what was found, and what is accepted, on one line."""

    def __init__(self, name: str, found: str, accepted: str):
        super().__init__(name, found, accepted)  # all three in args, so that the error can be pickled
        self.name, self.found, self.accepted = _one_line(name), _one_line(found), accepted

    def __str__(self) -> str:
        return f"{self.name}: found {self.found}; accepted: {self.accepted}"


def read_source(source: Source, limit_bytes: int, accepted: str) -> tuple[str, bytes]:
    """A name for messages, and the bytes of a path, a bytes-like object or a binary stream (read from where it stands).

    accepted: what the caller takes, in words, for the error.
    Raises MediaError for a missing or unreadable file, a folder, a pipe, a device, an address (nothing is fetched),
    no bytes at all, more than limit_bytes, and any other type of source.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        name, data = "bytes", source
    elif isinstance(source, (str, os.PathLike)):
        name = os.fsdecode(source)
        data = _read_path(name, limit_bytes, accepted)
    elif hasattr(source, "read"):
        name = getattr(source, "name", None)
        name = name if isinstance(name, str) else type(source).__name__
        data = _read_stream(source, name, limit_bytes, accepted)
    else:
        raise MediaError(type(source).__name__, f"an object of type {type(source).__name__}", accepted)
    size = data.nbytes if isinstance(data, memoryview) else len(data)
    if size == 0:
        raise MediaError(name, "nothing (0 bytes)", accepted)
    if size > limit_bytes:
        raise MediaError(name, f"more than {limit_bytes} bytes", accepted)
    return name, bytes(data)


def _read_path(path: str, limit_bytes: int, accepted: str) -> bytes:
    """The bytes of a regular file, limit_bytes + 1 of them at most. A pipe or device is refused before it is opened."""
    if "://" in path or path.startswith("data:"):
        raise MediaError(path, "an address, and nothing is fetched: download it first", accepted)
    try:
        _require_regular(path, os.stat(path), accepted)
        # Between the two calls the path may become a pipe: opening without blocking, then asking again, cannot hang.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            _require_regular(path, os.fstat(descriptor), accepted)
            return file.read(limit_bytes + 1)
    except FileNotFoundError:
        raise MediaError(path, "no such file", accepted) from None
    except OSError as error:
        raise MediaError(path, f"a file that cannot be read ({error.strerror})", accepted) from None
    except ValueError as error:
        if isinstance(error, MediaError):
            raise
        raise MediaError(path, f"no valid path ({error})", accepted) from None  # a null byte, a lone surrogate


def _require_regular(path: str, status: os.stat_result, accepted: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        found = next((words for matches, words in _FILE_TYPES if matches(status.st_mode)), "not a regular file")
        raise MediaError(path, found, accepted)


def _read_stream(stream: BinaryIO, name: str, limit_bytes: int, accepted: str) -> bytes:
    """What is left in a stream, in as many reads as it takes, one byte more than limit_bytes at most."""
    data = bytearray()
    while len(data) <= limit_bytes:
        try:
            part = stream.read(limit_bytes + 1 - len(data))
        except (OSError, ValueError) as error:  # ValueError: a closed file
            raise MediaError(name, f"a stream that cannot be read ({error})", accepted) from None
        if not isinstance(part, (bytes, bytearray)):
            raise MediaError(name, f"a stream that gives {type(part).__name__}, not bytes", accepted)
        if not part:
            break
        data += part
    return bytes(data)


def _one_line(text: str) -> str:
    """Text that a terminal and a log can show as it is: cut, and without control characters."""
    text = text if len(text) <= _NAME_CHARS else text[:_NAME_CHARS] + "..."
    return "".join(letter if letter.isprintable() else "?" for letter in text)
