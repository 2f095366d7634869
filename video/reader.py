"""Reads untrusted clips: a few frames of any length of video as pixels, or the sound track as samples.

Why a clip cannot hang, crash or exhaust us: decoding runs in a process of its own (`decoding.py`) with a
deadline and a limit on its memory; frames are resized before they are kept; and only files that begin as a
container of video does are handed to the codec at all, since FFmpeg would also open a playlist and follow it.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from adapters.media import MediaError, Source, read_source

SOUND_HZ = 16_000  # what `speech` works with
DECODERS = ("pyav", "decord", "torchcodec")
# python -I imports nothing from the caller's folder or environment: it is told where our folders are
_DECODE = f"import sys; sys.path.append({str(Path(__file__).parents[1])!r}); from video.decoding import main; main()"
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # that an MP4 or QuickTime file may begin with
_MATROSKA = b"\x1a\x45\xdf\xa3"  # and WebM


@dataclass(frozen=True)
class ClipLimits:
    """What a clip may be. `longer_side_px`: larger frames are shrunk to it; `deadline_s`: for all of the decoding."""

    max_bytes: int = 16 * 2**30
    max_memory_bytes: int = 512 * 2**20  # of a clip that is not a file on disk
    max_duration_s: float = 6 * 3600.0
    longer_side_px: int = 1120
    decoder_memory_bytes: int = 6 * 2**30
    deadline_s: float = 120.0

    @property
    def accepted(self) -> str:
        """In words, for errors."""
        return (
            "MP4, MOV, MKV, WebM or AVI with a video stream, as a path, bytes or a binary stream, of at most "
            f"{self.max_duration_s / 3600:g} hours and {self.max_bytes / 2**30:g} GiB, decoded within "
            f"{self.deadline_s:g} s"
        )


DEFAULT_LIMITS = ClipLimits()


@dataclass(frozen=True, eq=False)
class Clip:
    """Some frames of a clip, upright, in their order."""

    frames: Tensor  # uint8 [F, 3, H, W]
    times_s: Tensor  # float [F], from the beginning of the clip
    duration_s: float  # of the whole clip


def read_clip(
    source: Source,
    *,
    max_frames: int = 64,
    start_s: float | None = None,
    end_s: float | None = None,
    rate_hz: float | None = None,
    decoder: str = "pyav",
    limits: ClipLimits = DEFAULT_LIMITS,
) -> Clip:
    """At most `max_frames` frames, evenly spread from the first to the last one of the part asked for (paper 7.2).

    start_s, end_s: the part, in seconds; rate_hz: of the part, the frames shown at that many ticks a second;
    decoder: one of `DECODERS`, which give the same frames; all but the first are extras.

    Raises MediaError for whatever cannot be read so within the limits, ValueError for arguments that make no sense
    and a decoder that is not installed.
    """
    if decoder not in DECODERS:
        raise ValueError(f"found decoder={decoder!r}; accepted: {', '.join(DECODERS)}")
    if max_frames < 1:
        raise ValueError(f"found max_frames={max_frames}; accepted: 1 or more")
    for name, value, least in (("start_s", start_s, 0.0), ("end_s", end_s, 0.0), ("rate_hz", rate_hz, 1e-6)):
        if value is not None and not least <= value < math.inf:
            raise ValueError(f"found {name}={value}; accepted: a number from {least:g} on")
    asked = dict(decoder=decoder, max_frames=max_frames, start_s=start_s, end_s=end_s, rate_hz=rate_hz)
    with _file_of(source, limits) as (name, path):
        facts, data = _decode(name, path, "frames", limits, longer_side_px=limits.longer_side_px, **asked)
    channels_last = np.frombuffer(data, np.uint8).reshape(facts["shape"])
    frames = torch.from_numpy(np.moveaxis(channels_last, -1, 1).copy())
    if frames.shape[2:] != tuple(facts["size"]):
        frames = functional.interpolate(frames, facts["size"], mode="bilinear", antialias=True)
    return Clip(frames, torch.tensor(facts["times_s"]), facts["duration_s"])


def read_sound_track(source: Source, *, limits: ClipLimits = DEFAULT_LIMITS) -> tuple[Tensor, int]:
    """The sound of a clip, channels mixed: samples [N] in about -1 to 1, and their rate in hertz.

    Raises MediaError for a clip without sound, and as `read_clip` does.
    """
    with _file_of(source, limits) as (name, path):
        _, data = _decode(name, path, "sound", limits, decoder="pyav", sample_rate=SOUND_HZ)
    return torch.from_numpy(np.frombuffer(data, np.float32).copy()), SOUND_HZ


@contextmanager
def _file_of(source: Source, limits: ClipLimits) -> Iterator[tuple[str, str]]:
    """A name for messages and the path of a file: what is not one is written to a temporary file."""
    if isinstance(source, str | os.PathLike) and os.path.isfile(source):
        path = os.path.abspath(os.fsdecode(source))
        size = os.stat(path).st_size
        if size > limits.max_bytes:
            raise MediaError(os.fsdecode(source), f"a file of {size} bytes", limits.accepted)
        if size:
            try:
                with open(path, "rb") as file:
                    head = file.read(4096)
            except OSError as error:
                found = f"a file that cannot be read ({error.strerror})"
                raise MediaError(os.fsdecode(source), found, limits.accepted) from None
            _require_container(os.fsdecode(source), head, limits)
            yield os.fsdecode(source), path
            return
    name, data = read_source(source, limits.max_memory_bytes, limits.accepted)  # or its words on what is wrong
    _require_container(name, data[:4096], limits)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "clip")
        Path(path).write_bytes(data)
        yield name, path


def _require_container(name: str, head: bytes, limits: ClipLimits) -> None:
    is_avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    if not (head.startswith(_MATROSKA) or head[4:8] in _BOXES or is_avi):
        raise MediaError(name, "a file that begins like no clip", limits.accepted)


def _decode(name: str, path: str, what: str, limits: ClipLimits, **request: Any) -> tuple[dict[str, Any], bytes]:
    """What the process answers: its facts, and the bytes behind them."""
    request |= dict(path=path, what=what, max_duration_s=limits.max_duration_s)
    request |= dict(memory_bytes=limits.decoder_memory_bytes)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _DECODE, json.dumps(request)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # codecs talk
            timeout=limits.deadline_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        found = f"a clip that takes longer than {limits.deadline_s:g} s to decode"
        raise MediaError(name, found, limits.accepted) from None
    line, _, data = done.stdout.partition(b"\n")
    if done.returncode or not line:
        raise MediaError(name, f"a clip that its codec crashed on (exit {done.returncode})", limits.accepted)
    facts = json.loads(line)
    if "unusable" in facts:
        raise ValueError(
            f"found decoder={request['decoder']!r}, which cannot be loaded ({facts['unusable']}); accepted: pyav, "
            "decord on x86-64, or torchcodec with the extra of that name and FFmpeg's shared libraries"
        )
    if "found" in facts:
        raise MediaError(name, facts["found"], limits.accepted)
    return facts, data
