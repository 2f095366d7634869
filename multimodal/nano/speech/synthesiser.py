"""espeak-ng in this process: text and a voice in, sound out, with the times of its phonemes and words.

espeak-ng is GPL-3 and not part of a default install: the extra `espeak` brings its shared library.

The library keeps state in global variables that no call of it resets: the phase of the pitch's flutter, the
noise generator (seeded by the clock), the previous voice. `say` therefore loads the library, speaks and
unloads it, so that equal arguments give equal bits in every process and whatever was said before; that takes
about a millisecond, and nothing of it lives across a fork. One leak of the library's is left: when a voice
meets a sign that it lacks, it opens a second language (180 KB) and never gives it back. `utterances.as_read`
sees to it that no phrase has one.
"""

import ctypes
import importlib.util
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import torchaudio
from torch import Tensor

from tts.espeak import (
    OPTIONS,
    PITCH,
    PITCH_RANGE,
    RATE,
    SYNCHRONOUS,
    SYNTHESIS_RATE_HZ,
    UTF8,
    VOLUME,
    Callback,
    Events,
    variants,
)

SAMPLE_RATE_HZ = 16_000  # what ears hear

_ACCEPTED = {"rate_wpm": (80, 450), "pitch": (0, 99), "pitch_range": (0, 99), "volume": (0, 200)}
_ONE_AT_A_TIME = threading.Lock()  # two threads would share the library's state


@dataclass(frozen=True)
class Voice:
    """Who speaks: espeak-ng's voice for a language, one of its variants ("" for none), and how.

    rate_wpm in words a minute; pitch and its range 0 to 99, with 50 the variant's own; volume in per cent:
    at 100 some variants clip. ValueError for a number that the library would bend without a word.
    """

    language: str
    variant: str = ""
    rate_wpm: int = 175
    pitch: int = 50
    pitch_range: int = 50
    volume: int = 70

    def __post_init__(self) -> None:
        for name, (least, most) in _ACCEPTED.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} of a voice is {getattr(self, name)}; accepted are {least} to {most}")

    @property
    def name(self) -> str:
        """As the library spells it."""
        return _joined(self.language, self.variant)


@dataclass(frozen=True)
class Phoneme:
    """A phoneme and when it starts: its name in IPA with marks of stress or tone, "" where there is a pause."""

    time_s: float
    name: str


@dataclass(frozen=True)
class Word:
    """A word of the text and when it starts; text[start : start + length] as the library cuts it."""

    time_s: float
    start: int
    length: int


@dataclass(frozen=True)
class Speech:
    """What was said: samples [T] float32 in -1 to 1 at 22,050 Hz, and what starts when."""

    samples: Tensor
    phonemes: tuple[Phoneme, ...]
    words: tuple[Word, ...]


def say(text: str, voice: Voice) -> Speech:
    """The text as the voice reads it.

    Raises ValueError for an unknown voice or variant (the library would go on with the previous voice, or
    with no variant), and for a text that is empty, holds a null character or makes no sound.
    """
    if not text.strip() or "\0" in text:
        raise ValueError(f"a text to say needs words and no null character: got {text!r}")
    # A plus sign in the language would be a second variant, and past our check.
    if "+" in voice.language or (voice.variant and voice.variant not in variants()):
        raise ValueError(f"espeak-ng has no voice {voice.name!r}; its variants are {', '.join(sorted(variants()))}")
    sound, events = bytearray(), Events()

    def take(samples: int | None, count: int, event: "ctypes.Array") -> int:
        if samples:
            sound.extend(ctypes.string_at(samples, 2 * count))
        events.take(event)
        return 0

    with _fresh_library() as library:
        callback = Callback(take)
        library.espeak_SetSynthCallback(callback)
        _set_voice(library, voice)
        settings = {RATE: voice.rate_wpm, PITCH: voice.pitch, PITCH_RANGE: voice.pitch_range, VOLUME: voice.volume}
        for parameter, value in settings.items():
            _check(library.espeak_SetParameter(parameter, value, 0), f"parameter {parameter} to {value}", voice)
        encoded = text.encode() + b"\0"
        _check(library.espeak_Synth(encoded, len(encoded), 0, 1, 0, UTF8, None, None), f"text {text!r}", voice)
    if not any(sound):
        raise ValueError(f"espeak-ng's voice {voice.name!r} makes no sound of {text!r}")
    samples = torch.frombuffer(sound, dtype=torch.int16).float() / 2**15
    phonemes = tuple(Phoneme(second, name.decode()) for second, name in events.phonemes)
    return Speech(samples, phonemes, tuple(Word(*word) for word in events.words))


def resampled(samples: Tensor, from_hz: int = SYNTHESIS_RATE_HZ, to_hz: int = SAMPLE_RATE_HZ) -> Tensor:
    """The sound at another rate: samples [T] -> [about T * to_hz / from_hz]."""
    return _resampler(from_hz, to_hz)(samples)


@cache
def _resampler(from_hz: int, to_hz: int) -> torchaudio.transforms.Resample:
    """Kept, because making its filter takes longer than using it."""
    return torchaudio.transforms.Resample(from_hz, to_hz)


@cache
def _voice_files() -> dict[str, str]:
    """Languages whose voice the library can open by its file, and that file under its folder `lang`.

    That is three times as quick as by name, for which it reads the files of all voices. It looks for the
    file in small letters, so that en-US and pt-BR are not among them.
    """
    folder = _folder() / "espeak-ng-data/lang"
    files = {file.name: file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    return {name: path for name, path in files.items() if path == path.lower()}


def _joined(voice: str, variant: str) -> str:
    return f"{voice}+{variant}" if variant else voice


def _set_voice(library: ctypes.CDLL, voice: Voice) -> None:
    file, listed = _voice_files().get(voice.language), None
    if file is None:  # then the library lists all voices first, in an array that it never frees
        library.espeak_ListVoices.restype = ctypes.c_void_p
        listed = library.espeak_ListVoices(None)
    code = library.espeak_SetVoiceByName(_joined(file or voice.language, voice.variant).encode())
    _this_process().free(listed)
    if code != 0:
        raise ValueError(f"espeak-ng has no voice {voice.name!r}")


@cache
def _folder() -> Path:
    """Where the library and its data lie; ValueError if they are not installed."""
    found = importlib.util.find_spec("espeakng_loader")
    if found is None or found.origin is None:
        raise ValueError(
            "synthetic speech needs espeak-ng, which is GPL-3 and so in an extra of its own: "
            "pip install 'multimodal-llama[espeak]'"
        )
    return Path(found.origin).parent


@contextmanager
def _fresh_library() -> Iterator[ctypes.CDLL]:
    """The library as it is when just loaded, ready to speak; unloaded afterwards."""
    path = str(_folder() / "libespeak-ng.so")
    with _ONE_AT_A_TIME:
        if _is_loaded(path):
            raise RuntimeError(f"{path} is in use elsewhere in this process, and its state would colour what is said")
        library = ctypes.CDLL(path)
        try:
            rate = library.espeak_Initialize(SYNCHRONOUS, 0, str(_folder() / "espeak-ng-data").encode(), OPTIONS)
            if rate != SYNTHESIS_RATE_HZ:
                raise RuntimeError(
                    f"espeak-ng did not start: it answered {rate} where {SYNTHESIS_RATE_HZ} was expected"
                )
            if library.espeak_ng_SetRandSeed(ctypes.c_long(1)) != 0:
                raise RuntimeError("espeak-ng did not take a seed")
            yield library
        finally:
            library.espeak_Terminate()
            _this_process().dlclose(library._handle)


@cache
def _this_process() -> ctypes.CDLL:
    """What every process is linked with: C's own library and the loader."""
    own = ctypes.CDLL(None)
    own.dlclose.argtypes = own.free.argtypes = [ctypes.c_void_p]
    return own


def _is_loaded(path: str) -> bool:
    try:
        library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
    except OSError:
        return False
    _this_process().dlclose(library._handle)
    return True


def _check(code: int, what: str, voice: Voice) -> None:
    if code != 0:
        raise RuntimeError(f"espeak-ng refused {what} for the voice {voice.name!r}: code {code}")
