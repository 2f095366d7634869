"""decord (https://github.com/dmlc/decord): x86-64 alone, with an FFmpeg of 2018."""

import decord
import numpy as np

from .index import Index

ERRORS = (decord.DECORDError, IndexError)


def read_frames(path: str, index: Index, chosen: np.ndarray, size: tuple[int, int], memory_bytes: int) -> np.ndarray:
    """As `with_pyav.read_frames`; the frames may be somewhat larger than asked for.

    decord's threads lose packets of some VP9 files with hidden frames; a single thread reads these.
    """
    try:
        return _read(path, index, chosen, size, num_threads=0)
    except decord.DECORDError as error:
        if "Error sending packet" not in str(error):
            raise
        return _read(path, index, chosen, size, num_threads=1)


def _read(path: str, index: Index, chosen: np.ndarray, size: tuple[int, int], num_threads: int) -> np.ndarray:
    reader = decord.VideoReader(path, num_threads=num_threads)
    if len(reader) != len(index.shown):
        raise KeyError(f"{len(reader)} frames")
    stored = reader[0].shape[:2]
    upright = size if stored == index.size else size[::-1]
    decoded = decodable(*upright)
    if decoded != stored:
        reader = decord.VideoReader(path, num_threads=num_threads, height=decoded[0], width=decoded[1])
    return reader.get_batch(chosen).asnumpy()


def decodable(height: int, width: int) -> tuple[int, int]:
    """The least size from this one on, sides in proportion, that decord gives whole.

    It takes the padding of rows to 32 pixels for a fourth channel where that is a third of the width.
    """
    padded = -(-width // 32) * 32
    return (height, width) if 3 * padded < 4 * width else (max(1, round(height * padded / width)), padded)
