"""espeak-ng's shared library, as a reader of text: the phonemes of a text, with their times and words.

espeak-ng is GPL-3 and not part of a default install: the extra `espeak` brings its library. A private copy
of it is loaded, because the library keeps its state in global variables: whoever else uses it in this
process keeps theirs. Phonemes and their times hang on no state but the voice, and that is set each time.
"""

import ctypes
import importlib
import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

SYNTHESIS_RATE_HZ = 22_050  # espeak-ng's own
RATES_WPM = (80, 450)  # what the library takes as it is

# Values of the library's header, speak_lib.h.
SYNCHRONOUS = 2
OPTIONS = 1 | 2 | 0x8000  # phoneme events, their names in IPA, no exit of the process on an error
UTF8 = 1
RATE, VOLUME, PITCH, PITCH_RANGE = 1, 2, 3, 4
_NAMES_AS_IPA = 2
_WORD, _PHONEME = 1, 7
_SEPARATOR = "_"
_ONE_AT_A_TIME = threading.Lock()  # two threads would share the library's state


class _Value(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # in characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Value),
    ]


# Called with each piece of sound: where its samples lie (None at the end), how many, and what happens in it.
Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


@dataclass
class Events:
    """What the library tells while it speaks: (second, name) of phonemes, (second, place, length) of words."""

    phonemes: list[tuple[float, bytes]] = field(default_factory=list)
    words: list[tuple[float, int, int]] = field(default_factory=list)

    def take(self, event: "ctypes.Array[_Event]") -> None:
        """The events that come with a piece of sound; the last of them has type 0."""
        at = 0
        while event[at].type:
            one = event[at]
            if one.type == _PHONEME:
                self.phonemes.append((one.sample / SYNTHESIS_RATE_HZ, one.id.string))
            elif one.type == _WORD:
                self.words.append((one.sample / SYNTHESIS_RATE_HZ, one.text_position - 1, one.length))
            at += 1


@dataclass
class Reading:
    """What the library makes of a text.

    names: phonemes clause by clause, as IPA with marks of stress, length and tone. phonemes: (second,
    short name; "" where there is a pause), in the same order. words: (second, place in the text where
    the word starts). duration_s: of the whole.
    """

    names: list[list[str]]
    phonemes: list[tuple[float, str]] = field(default_factory=list)
    words: list[tuple[float, int]] = field(default_factory=list)
    duration_s: float = 0.0


def read(text: str, voice: str, rate_wpm: int) -> Reading:
    """A text as the voice reads it; voice is espeak-ng's name of a language, with +variant or without.

    Raises ValueError for a voice, variant or rate that the library does not have: it would go on with
    another one without a word.
    """
    if not RATES_WPM[0] <= rate_wpm <= RATES_WPM[1]:
        raise ValueError(f"rate_wpm is {rate_wpm}; accepted are {RATES_WPM[0]} to {RATES_WPM[1]}")
    variant = voice.partition("+")[2]
    if variant and variant not in variants():
        raise ValueError(f"espeak-ng has no variant {variant!r}; it has {', '.join(sorted(variants()))}")
    assert "\0" not in text
    samples, events = 0, Events()

    def take(_: int | None, count: int, event: "ctypes.Array[_Event]") -> int:
        nonlocal samples
        samples += count
        events.take(event)
        return 0

    with _ONE_AT_A_TIME:
        library = _speaking(voice)
        names = _names(library, text)
        callback = Callback(take)
        library.espeak_SetSynthCallback(callback)
        encoded = text.encode() + b"\0"
        codes = (
            library.espeak_SetParameter(RATE, rate_wpm, 0),
            library.espeak_Synth(encoded, len(encoded), 0, 1, 0, UTF8, None, None),
        )
    if any(codes):
        raise RuntimeError(f"espeak-ng refused a text of {len(text)} characters for the voice {voice!r}: {codes}")
    phonemes = [(second, name.decode("utf-8", "ignore")) for second, name in events.phonemes]
    words = [(second, place) for second, place, _ in events.words]
    return Reading(names, phonemes, words, samples / SYNTHESIS_RATE_HZ)


def names(text: str, voice: str) -> list[list[str]]:
    """The names of a text's phonemes alone, clause by clause: as in `Reading`. Raises as `read` does."""
    with _ONE_AT_A_TIME:
        return _names(_speaking(voice), text)


_newest: list[str] = []  # the voice that was set last, at most one


def _speaking(voice: str) -> ctypes.CDLL:
    """The library, set to the voice. It looks for one by reading the files of all, which takes 10 ms."""
    library = _library()
    if _newest != [voice]:
        _newest.clear()  # one that is not found leaves the library with the one before
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}")
        _newest.append(voice)
    return library


@cache
def variants() -> frozenset[str]:
    """Every voice variant that the installed library has."""
    return frozenset(file.name for file in (_data_folder() / "voices/!v").iterdir())


def _names(library: ctypes.CDLL, text: str) -> list[list[str]]:
    """Names of phonemes, clause by clause; the language that a word is borrowed from, "(en)", is left out."""
    buffer = ctypes.create_string_buffer(text.encode())
    place, clauses = ctypes.c_void_p(ctypes.addressof(buffer)), []
    while place.value:  # the library moves it on by a clause, and to null at the end
        told = library.espeak_TextToPhonemes(ctypes.byref(place), UTF8, _NAMES_AS_IPA | ord(_SEPARATOR) << 8)
        parts = told.decode("utf-8", "ignore").replace(" ", _SEPARATOR).replace("\n", _SEPARATOR).split(_SEPARATOR)
        clauses.append([part for part in parts if part and not part.startswith("(")])
    return clauses


@cache
def _data_folder() -> Path:
    return Path(_loader().get_data_path())


def _loader():
    """The package that brings the library; ValueError if it is not installed."""
    try:
        return importlib.import_module("espeakng_loader")
    except ModuleNotFoundError:
        raise ValueError(
            "phones need espeak-ng, which is GPL-3 and in an extra of its own: pip install 'multimodal-llama[espeak]'"
        ) from None


@cache
def _library() -> ctypes.CDLL:
    """A copy of the library under a name of its own, and so with state of its own, ready to read."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        library = ctypes.CDLL(shutil.copy(_loader().get_library_path(), folder))
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, str(_data_folder()).encode(), OPTIONS)
    if rate != SYNTHESIS_RATE_HZ:
        raise RuntimeError(f"espeak-ng did not start: it answered {rate} where {SYNTHESIS_RATE_HZ} was expected")
    return library
