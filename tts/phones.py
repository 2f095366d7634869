"""Phones: what a voice says, as IPA symbols with the words they belong to and, for training, their times.

They are espeak-ng's. Names carry marks of stress (ˈ ˌ), length and tone, so that one symbol tells the
acoustic side all that the text tells. `PHONES` covers the 34 languages; see `phone_id` for the rest.
"""

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .espeak import Reading, read
from .symbols import SYMBOLS

PAUSE = "|"  # a pause or the closure before a word
UNKNOWN = "?"
PHONES: tuple[str, ...] = (PAUSE, UNKNOWN, *SYMBOLS)
_IDS = {phone: at for at, phone in enumerate(PHONES)}
_STRESS = {"ˈ": 1, "ˌ": 2}
_TONES = "1234567ɜ"  # as espeak-ng writes them behind a vowel
_LENGTHS = "ː.-"
_PALATAL = "ʲ"
_QUESTIONS, _STOPS, _COMMAS = set("?？؟"), set(".!。！।…\n"), set(",;:、，；：،؛")
MAX_CHARACTERS = 20_000  # of one text: espeak-ng reads 10,000 in about a second


class NothingToSay(ValueError):
    """A text without a letter, digit or sign that is spoken."""


@dataclass(frozen=True)
class Phone:
    """One phone: its symbol, its word (counted from 0), where that word starts in the text, and its time."""

    ipa: str
    word: int
    place: int
    start_s: float
    duration_s: float

    @property
    def stress(self) -> int:
        """1 for primary, 2 for secondary, 0 for none."""
        return _STRESS.get(self.ipa[0], 0)


def events(text: str, voice: str, rate_wpm: int = 175) -> list[Phone]:
    """The phones of a text as espeak-ng's voice reads it, pauses included, with their times at that rate.

    voice is espeak-ng's name ("en-us", "cmn", "fr+f3"). A word is as espeak-ng cuts it: Chinese characters
    are words of their own, and words that it reads as one ("of the") share the place of the first.
    Control characters, which have no sound, count as spaces; other signs are read by their names, emoji too.

    Raises NothingToSay, and ValueError for a text of more than MAX_CHARACTERS or an unknown voice.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"found a text of {len(text)} characters; accepted are at most {MAX_CHARACTERS}: cut it")
    phones = timed(read(speakable(text), voice, rate_wpm))
    if all(phone.ipa == PAUSE for phone in phones):
        raise NothingToSay(f"found nothing to say in {text[:80]!r}: a text needs at least one letter, digit or sign")
    return phones


def phone_id(ipa: str) -> int:
    """The place of a phone in PHONES.

    One that is not there loses its stress, then its tone, then its length, until what is left is there;
    else it is UNKNOWN, which the acoustic side says as a neutral sound.
    """
    forms = [ipa, ipa.lstrip("ˈˌ")]
    forms.append(forms[-1].rstrip(_TONES))
    forms.append(forms[-1].rstrip(_LENGTHS + _PALATAL))
    return next((_IDS[form] for form in forms if form in _IDS), _IDS[UNKNOWN])


def places_and_endings(phones: Sequence[Phone], text: str) -> tuple[list[int], list[int]]:
    """For each phone its place in its word, and what stands behind that word.

    0 nothing, 1 a comma or the like, 2 a full stop or the end of the text, 3 a question mark.
    """
    starts = [*dict.fromkeys(phone.place for phone in phones), len(text)]
    endings = {}
    for start, end in pairwise(starts):
        marks = text[start:end]
        stops = (3, _QUESTIONS), (2, _STOPS), (1, _COMMAS)
        endings[start] = next((kind for kind, signs in stops if signs & set(marks)), 2 if end == len(text) else 0)
    places, at = [], 0
    for number, phone in enumerate(phones):
        at = at + 1 if number and phones[number - 1].place == phone.place else 0
        places.append(at)
    return places, [endings[phone.place] for phone in phones]


def tokens_of(phones: Sequence[Phone], ends: Sequence[int]) -> list[int]:
    """For each phone the token in which its word starts; ends[i]: where in the text token i ends."""
    return [bisect_right(ends, phone.place) for phone in phones]


def speakable(text: str) -> str:
    """Control characters become spaces: the length stays, so that places in the text hold."""
    return "".join(" " if unicodedata.category(sign) in ("Cc", "Cs") else sign for sign in text)


def timed(reading: Reading) -> list[Phone]:
    """Names joined to times and words; pauses that touch become one."""
    events = [(time, name) for time, name in reading.phonemes if name.strip("ˈˌ") != _PALATAL and name[:1] != "("]
    names = iter(_names_for(events, reading))
    starts = [time for time, _ in reading.words]
    phones: list[Phone] = []
    for at, (time, name) in enumerate(events):
        end = events[at + 1][0] if at + 1 < len(events) else reading.duration_s
        ipa = next(names) if name else PAUSE
        word = max(0, bisect_right(starts, time) - 1)
        if ipa == PAUSE and phones and phones[-1].ipa == PAUSE:
            last = phones.pop()
            time, word = last.start_s, last.word
        if end > time:
            place = reading.words[word][1] if reading.words else 0
            phones.append(Phone(ipa, word, place, time, end - time))
    return phones


def _names_for(events: list[tuple[float, str]], reading: Reading) -> list[str]:
    """The full names of the events that are no pauses.

    An event's own name is short: it lacks tone and length. The full ones come without times, and for all
    but a few texts in a thousand there are as many; there the events' own names stand.
    """
    short = [name for _, name in events if name]
    full = [name for clause in reading.names for name in clause if name != _PALATAL]
    return full if len(full) == len(short) else short
