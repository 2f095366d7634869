"""Opens one untrusted sound as mono float32 of one rate, within limits, or raises one MediaError.

Why a sound cannot hang or exhaust us. Memory: libsndfile decodes block by block, so a header that lies costs nothing,
and what is kept never exceeds max_seconds. Time: libsndfile reads through a view of the file that ends at the deadline
(speech/decoding.py). What libsndfile would pass over in silence is found before it starts (speech/containers.py).
"""

import io
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from adapters.media import MediaError, Source, read_source

from .containers import NotSound
from .decoding import BLOCK_NUMBERS, Decoder
from .resampling import Resampler


@dataclass(frozen=True)
class SoundLimits:
    """What a sound may be (all numbers our choice). A second of it takes 64 kB of memory at 16 kHz."""

    max_bytes: int = 4 * 2**30  # of a file on disk, which is read piece by piece; 4 GiB is the most a WAV can hold
    max_memory_bytes: int = 512 * 2**20  # of bytes and streams, which are in memory as a whole
    max_seconds: float = 4 * 3600.0
    max_channels: int = 32
    min_rate_hz: int = 4_000
    max_rate_hz: int = 384_000
    max_amplitude: float = 100.0  # full scale is 1; more than this was never meant so. What lies between is clipped
    deadline_s: float = 600.0  # for decoding a file, without what the caller does between blocks; 4 h of Opus take 120

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"SoundLimits.{name} is {value}; it must be greater than 0")

    @property
    def accepted(self) -> str:
        return (
            "a WAV, FLAC, OGG (Vorbis or Opus) or MP3 file, or (array, rate), or {'array': ..., 'sampling_rate': ...}; "
            f"{self.max_seconds / 3600:.3g} hours, {self.max_channels} channels, "
            f"{self.min_rate_hz} to {self.max_rate_hz} Hz, {self.max_bytes / 2**20:.3g} MiB on disk "
            f"or {self.max_memory_bytes / 2**20:.3g} MiB in memory"
        )

    @property
    def accepted_arrays(self) -> str:
        return (
            "[T], [channels, T] or [T, channels] of int16, int32, uint8 or of float in -1..1, with its rate in Hz; "
            f"sizes as of {self.accepted}"
        )


DEFAULT_LIMITS = SoundLimits()


@dataclass(frozen=True)
class Sound:
    """samples: [T] float32 in -1..1, one channel; sample_rate in Hz."""

    samples: Tensor
    sample_rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


SoundSource = Source | tuple[np.ndarray | Tensor, int] | Mapping[str, Any] | Sound


def open_sound(source: SoundSource, sample_rate: int = 16_000, limits: SoundLimits = DEFAULT_LIMITS) -> Sound:
    """The sound as the ear should get it: the mean of its channels at sample_rate Hz, clipped to -1..1.

    source: a path (read piece by piece), bytes, a binary stream, `(array, rate)`, the mapping of the datasets library
    with "array" and "sampling_rate", or an opened Sound. An array or tensor is [T], [channels, T] or [T, channels]: the
    shorter side is the channels, the first of two equal ones. Its numbers are int16, int32 or uint8 (128 is silence),
    which are scaled, or float with full scale 1.
    Resampling is torchaudio's windowed sinc. The loudness is left as it is.
    Raises MediaError naming the source, what was found and what is accepted. Damage that a format cannot show (a wrong
    bit inside the samples of a WAV or MP3) passes, as in every player.
    """
    return Sound(torch.cat(list(stream_sound(source, sample_rate, limits))), sample_rate)


def stream_sound(
    source: SoundSource, sample_rate: int = 16_000, limits: SoundLimits = DEFAULT_LIMITS
) -> Iterator[Tensor]:
    """open_sound's samples in blocks [T'] of some seconds, to the bit, each decoded when it is asked for.

    Raises MediaError as open_sound does, but what is wrong far into a file only after the blocks before it.
    """
    if not limits.min_rate_hz <= sample_rate <= limits.max_rate_hz:
        raise ValueError(f"sample_rate is {sample_rate}; it must be {limits.min_rate_hz} to {limits.max_rate_hz} Hz")
    with _opened(source, limits) as opened:
        resampler, num_frames = Resampler(opened.rate, sample_rate), 0
        for block in opened.blocks:  # [T, C]
            num_frames += len(block)
            _check_sizes(opened.name, opened.what, opened.rate, block.shape[1], num_frames, limits)
            _check_amplitude(opened, block, limits)
            samples = resampler.push(block.mean(1))
            if len(samples):
                yield samples.clamp(-1, 1)
        if not num_frames:
            raise MediaError(opened.name, f"{opened.what}, without a sample", limits.accepted)
        if len(samples := resampler.finish()):
            yield samples.clamp(-1, 1)


def seconds_of(source: SoundSource, limits: SoundLimits = DEFAULT_LIMITS) -> float | None:
    """How long a sound is by its shape or its header, none of it decoded.

    None where no header tells, for a stream, which can be read only once, and for what is no sound.
    """
    if hasattr(source, "read"):
        return None
    try:
        with _opened(source, limits) as opened:
            return None if opened.num_frames is None else opened.num_frames / opened.rate
    except MediaError:
        return None


@dataclass(frozen=True)
class _Opened:
    name: str
    what: str  # in words, for messages
    rate: int  # Hz
    blocks: Iterator[Tensor]  # [T, C] float32
    num_frames: int | None  # samples of a channel; None if no header tells


@contextmanager
def _opened(source: SoundSource, limits: SoundLimits) -> Iterator[_Opened]:
    if isinstance(source, Sound):
        yield _from_array(source.samples, source.sample_rate, limits)
    elif isinstance(source, Mapping):
        if not {"array", "sampling_rate"} <= source.keys():
            keys = ", ".join(map(str, source)) or "none"
            raise MediaError("mapping", f"the keys {keys}", limits.accepted)
        yield _from_array(source["array"], source["sampling_rate"], limits)
    elif isinstance(source, tuple):
        if len(source) != 2:
            raise MediaError("tuple", f"a tuple of {len(source)}", limits.accepted)
        yield _from_array(*source, limits)
    elif isinstance(source, np.ndarray | Tensor):
        raise MediaError(type(source).__name__, "an array without its rate", limits.accepted)
    else:
        name, file = _open_bytes(source, limits)
        with file, _from_file(name, file, limits) as opened:
            yield opened


def _check_sizes(name: str, what: str, rate: int, channels: int, num_frames: int | None, limits: SoundLimits) -> None:
    if not limits.min_rate_hz <= rate <= limits.max_rate_hz:
        raise MediaError(name, f"{what}, at {rate} Hz", limits.accepted)
    if channels > limits.max_channels:
        raise MediaError(name, f"{what}, of {channels} channels", limits.accepted)
    if num_frames is not None and num_frames > limits.max_seconds * rate:
        raise MediaError(name, f"{what}, of {num_frames / rate:.6g} s or more", limits.accepted)


def _check_amplitude(opened: _Opened, block: Tensor, limits: SoundLimits) -> None:
    peak = float(block.abs().max())  # NaN if any value is
    if not peak < float("inf"):
        raise MediaError(opened.name, f"{opened.what}, with values that are NaN or infinite", limits.accepted)
    if peak > limits.max_amplitude:
        found = f"{opened.what}, with values up to {peak:.6g} where full scale is 1"
        raise MediaError(opened.name, found, limits.accepted)


# Arrays.


def _from_array(array: object, rate: object, limits: SoundLimits) -> _Opened:
    """Frames of an array or tensor; numbers are made float32 block by block."""
    name = type(array).__name__
    if not isinstance(array, np.ndarray | Tensor):
        raise MediaError(name, f"an object of type {name} where an array belongs", limits.accepted_arrays)
    if not isinstance(rate, int | np.integer) or isinstance(rate, bool):
        raise MediaError(name, f"a rate of {rate!r:.50}", limits.accepted_arrays)
    what = f"an array of shape {list(array.shape)}"
    if array.ndim not in (1, 2):
        raise MediaError(name, what, limits.accepted_arrays)
    frames = array[:, None] if array.ndim == 1 else array
    if frames.shape[0] <= frames.shape[1] and array.ndim == 2:
        frames = frames.T
    if 0 in frames.shape:
        raise MediaError(name, f"{what}, without a sample", limits.accepted_arrays)
    _check_sizes(name, what, int(rate), frames.shape[1], len(frames), limits)
    to_float = _to_float(name, frames, limits)
    step = BLOCK_NUMBERS // frames.shape[1]
    blocks = (to_float(frames[first : first + step]) for first in range(0, len(frames), step))
    return _Opened(name, what, int(rate), blocks, len(frames))


def _to_float(name: str, array: np.ndarray | Tensor, limits: SoundLimits) -> Callable[[np.ndarray | Tensor], Tensor]:
    """How blocks of the array become float32 tensors with full scale 1."""
    kind = str(array.dtype).removeprefix("torch.") if isinstance(array, Tensor) else array.dtype.newbyteorder("=").name
    zero, scale = {"int16": (0, 2**15), "int32": (0, 2**31), "uint8": (128, 2**7)}.get(kind, (0, 1))
    if scale == 1 and kind not in ("float16", "bfloat16", "float32", "float64"):
        raise MediaError(name, f"values of type {kind}", limits.accepted_arrays)

    def to_float(block: np.ndarray | Tensor) -> Tensor:
        if isinstance(block, Tensor):
            block = block.detach().cpu().to(torch.float64 if scale == 2**31 else torch.float32)
        else:
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and an error
                block = torch.from_numpy(block.astype(np.float64 if scale == 2**31 else np.float32))
        return ((block - zero) / scale).float()

    return to_float


# Files.


def _open_bytes(source: Source, limits: SoundLimits) -> tuple[str, BinaryIO]:
    """A name for messages and a file that can seek: a path is opened, all else is read into memory."""
    if isinstance(source, str | os.PathLike):
        file = _open_path(os.fsdecode(source), limits)
        if file:
            return file.name, file
    name, data = read_source(source, limits.max_memory_bytes, limits.accepted)  # or its words on what is wrong
    return name, io.BytesIO(data)


def _open_path(path: str, limits: SoundLimits) -> BinaryIO | None:
    """A regular file that is not empty; None for all else."""
    if not os.path.isfile(path):
        return None
    try:
        # Were the path a pipe by now, opening it so would not hang.
        file = open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK))  # noqa: SIM115
    except OSError:
        return None
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= limits.max_bytes:
        return file
    file.close()
    if status.st_size > limits.max_bytes:
        raise MediaError(path, f"a file of {status.st_size} bytes", limits.accepted)
    return None


@contextmanager
def _from_file(name: str, file: BinaryIO, limits: SoundLimits) -> Iterator[_Opened]:
    try:
        decoder = Decoder(file, limits.deadline_s)
        _check_sizes(name, decoder.what, decoder.rate_hz, decoder.channels, decoder.num_frames, limits)
        yield _Opened(name, decoder.what, decoder.rate_hz, decoder.blocks(), decoder.num_frames)
    except NotSound as error:
        raise MediaError(name, str(error), limits.accepted) from None
    except OSError as error:
        raise MediaError(name, f"a file that cannot be read ({error.strerror})", limits.accepted) from None
