"""Decodes an untrusted sound file block by block, forwards only, with a deadline. Knows no other limits."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

import soundfile
import torch
from torch import Tensor

from .containers import Container, NotSound, inspect

BLOCK_NUMBERS = 2**18  # samples times channels decoded at once: 16 s at 16 kHz, mono (our choice)
_CODINGS = {  # what a container may hold, by libsndfile's names
    "WAV": "PCM_U8 PCM_16 PCM_24 PCM_32 FLOAT DOUBLE ULAW ALAW IMA_ADPCM MS_ADPCM GSM610".split(),
    "FLAC": "PCM_S8 PCM_16 PCM_24".split(),
    "OGG": "VORBIS OPUS".split(),
    "MP3": ["MPEG_LAYER_III"],
}
_LENGTH_UNKNOWN = 2**62  # libsndfile gives 2**63 - 1 frames where no header tells of a number


class Decoder:
    """A sound file, open: rate_hz, channels, num_frames (samples of a channel; None if no header tells), and `what` it
    is, in words.

    Raises NotSound, on opening or at a block, for what is no sound, not whole, or takes longer than deadline_s in here.
    """

    def __init__(self, file: BinaryIO, deadline_s: float):
        self.view = _View(file, deadline_s)
        with self.view.running():
            container = inspect(self.view.read_at, file.seek(0, io.SEEK_END))
        self.view.container = container
        self.what = f"a file of {container.kind} sound"
        with self._codec():
            self.sound = _Forwards(self.view)
        if self.sound.subtype not in _CODINGS[container.kind]:
            raise NotSound(f"{self.what}, coded as {self.sound.subtype}")
        self.rate_hz, self.channels = self.sound.samplerate, self.sound.channels
        self.num_frames = self.sound.frames if self.sound.frames < _LENGTH_UNKNOWN else container.num_frames

    def blocks(self) -> Iterator[Tensor]:
        """The samples, [T, C] float32, each block decoded when it is asked for."""
        num_read = 0
        while True:
            with self._codec():
                block = self.sound.read(max(1, BLOCK_NUMBERS // self.channels), "float32", always_2d=True)
            if not len(block):
                break
            num_read += len(block)
            yield torch.from_numpy(block)
        if self.num_frames not in (None, num_read):
            raise NotSound(f"{self.what} that tells of {self.num_frames} samples a channel and has {num_read}")

    @contextmanager
    def _codec(self) -> Iterator[None]:
        """Turns what goes wrong in libsndfile, or in the reads that it asks for, into NotSound."""
        try:
            with self.view.running():
                yield
        except soundfile.LibsndfileError as error:
            reason = error.error_string.strip(" .") or f"libsndfile's error {error.code}"
            raise NotSound(f"{self.what} that cannot be decoded ({reason})") from None


class _Forwards(soundfile.SoundFile):
    """Never seeks: soundfile would after each block, which takes twice the time and changes the last bits of an MP3."""

    def seekable(self) -> bool:
        return False


@dataclass
class _View:
    """The part of a file that the codec shall see, as libsndfile's virtual file; it ends at the deadline.

    libsndfile calls seek, tell and readinto through C, where an exception is printed and lost: failure keeps it.
    """

    file: BinaryIO
    deadline_s: float
    left_s: float = field(init=False)
    stop: float = field(init=False, default=0.0)
    container: Container = field(init=False)
    position: int = field(init=False, default=0)
    failure: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self.left_s = self.deadline_s

    @contextmanager
    def running(self) -> Iterator[None]:
        """The clock runs in here only. Raises NotSound if a read failed meanwhile, or the time is over."""
        started = time.monotonic()
        self.stop = started + self.left_s
        try:
            yield
        finally:
            self.left_s -= time.monotonic() - started
            self._check_time()
            if self.failure:
                raise NotSound(self.failure)

    def _check_time(self) -> None:
        if time.monotonic() > self.stop:
            self.failure = f"sound that takes longer than {self.deadline_s:g} s to decode"

    def read_at(self, position: int, size: int) -> bytes:
        """size bytes of the whole file, fewer at its end."""
        self._check_time()
        if self.failure:
            raise NotSound(self.failure)
        self.file.seek(position)
        return self.file.read(size)

    def readinto(self, buffer) -> int:
        """The next bytes; fewer than the buffer takes at the end only, because libsndfile asks once."""
        self._check_time()
        if self.failure:
            return 0
        seen, prefix = self.container, self.container.prefix
        start = prefix[self.position : self.position + len(buffer)]
        buffer[: len(start)] = start
        place = seen.start + max(0, self.position - len(prefix))
        rest = memoryview(buffer)[len(start) : len(start) + max(0, seen.end - place)]
        try:
            self.file.seek(place)
            count = len(start) + self.file.readinto(rest)
        except OSError as error:
            self.failure = f"a file that cannot be read ({error.strerror})"
            return 0
        self.position += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> None:
        size = len(self.container.prefix) + self.container.end - self.container.start
        self.position = max(0, offset + (0, self.position, size)[whence])

    def tell(self) -> int:
        return self.position
