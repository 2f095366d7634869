"""Texts as the units that error rates count: words, or characters where a language writes no spaces.

The rules are Whisper's, as published with it and packaged as `whisper-normalizer`: the paper's tables use them (8.3).
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache

from ..languages import find_language

# Scripts that write vowels as combining marks. Whisper's rule puts a space in the place of every mark.
MARKED_SCRIPTS = {"ARABIC", "BENGALI", "DEVANAGARI", "GUJARATI", "KANNADA", "MALAYALAM", "TAMIL", "TELUGU", "THAI"}
_LATIN_WORD_OR_CHARACTER = r"[A-Za-z0-9\u00c0-\u024f]+|\S"


def units(text: str, language: str) -> list[str]:
    """What an error rate counts, normalised as published: words, or for Chinese, Japanese, Korean, Thai characters.

    English has Whisper's own rules (numbers as digits, American spelling, no contractions), other languages its
    basic ones; a character is a grapheme, and spaces between characters count nothing.
    """
    return _whisper(find_language(language).name)(text).split()


def units_with_marks(text: str, language: str) -> list[str]:
    """As `units`, but vowel signs stay in their words; Arabic vowel points, which are optional, are dropped.

    Whisper's rule cuts Indic and Thai words at each vowel sign and forgets it. It is the published rule all the
    same; this one tells more about the languages in `MARKED_SCRIPTS`.
    """
    found = find_language(language)
    if found.script == "ARABIC":
        text = "".join(letter for letter in text if unicodedata.category(letter) != "Mn" and letter != "\u0640")
    return _with_marks(found.uses_character_error)(text).split()


def mixed_units(text: str, language: str) -> list[str]:
    """Units of a sentence with foreign words: as `units`, but a Latin word in a language of characters is one unit.

    This is the mixed error rate that code-switching is scored by.
    """
    if not find_language(language).uses_character_error:
        return units(text, language)
    return re.findall(_LATIN_WORD_OR_CHARACTER, _basic()(text))


def error_name(language: str) -> str:
    """How the error rate of a language is called: WER or CER."""
    return "CER" if find_language(language).uses_character_error else "WER"


@cache
def _whisper(language: str) -> Callable[[str], str]:
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer

    if language == "English":
        return EnglishTextNormalizer()
    return BasicTextNormalizer(split_letters=find_language(language).uses_character_error)


@cache
def _basic() -> Callable[[str], str]:
    from whisper_normalizer.basic import BasicTextNormalizer

    return BasicTextNormalizer()


@cache
def _with_marks(split_letters: bool) -> Callable[[str], str]:
    from whisper_normalizer.basic import BasicTextNormalizer

    return BasicTextNormalizer(split_letters=split_letters, preserve_marks=True)


def plain(text: str) -> str:
    """An answer without what no answer means: case, width of letters, spaces around, full stops at the end."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).casefold()).strip().rstrip(".。।").strip()
