"""Which rule a span takes when no tagger tells: fixed patterns, tried in order, left to right.

A guess looks at the span, the token before it and what is written in the span itself, so a text that comes
piece by piece is guessed as the whole is, once the words that follow it have begun.
"""

import re
import unicodedata
from collections.abc import Sequence

from .lexicon import ABBREVIATIONS, AFTER_INCHES, CURRENCIES, SCALES, SIGNS, UNITS
from .written_tokens import DIGITS, LETTERS, WrittenToken, in_ascii_digits

LONGEST_SPAN = 12  # tokens
_MARKS, _SCALES, _UNITS = (
    "|".join(map(re.escape, sorted(t, key=len, reverse=True))) for t in (CURRENCIES, SCALES, UNITS)
)
_N = r"\d+(?:[.,]\d+)*"
_END = r"(?![^\W_])"
_INCHES = rf"(?!(?<= in) (?!(?:{'|'.join(AFTER_INCHES)})\b)[^\W\d_])"  # not "23 in a box"
_AS_NUMBER = rf"(?:{_MARKS}) ?{_N}(?: ?(?:{_SCALES}){_END})?|{_N}(?: ?(?:{_SCALES}))? ?(?:{_MARKS}){_END}"
_PATTERNS = tuple(
    (rule, re.compile(pattern))
    for rule, pattern in (
        ("address", r"(?:https?://|www\.)[^\s]+[^\s.,!?;:)]|[\w.]+@\w+(?:\.\w+)+"),
        ("date", r"\d{4}-\d\d-\d\d\b|\d{1,2}([/.])\d{1,2}\1(?:\d{4}|\d\d)\b"),
        ("phone", r"\+\d{1,3}(?: \d+)+|(?:\(?\d{3}\)?[ -])?\d{3}-\d{4}\b"),
        ("money", _AS_NUMBER),
        ("time", r"\d{1,2}(?::\d\d)? ?[ap]\.?m\b\.?|\d{1,2}:[0-5]\d\b"),
        ("ratio", r"\d+:\d+\b"),
        ("decade", r"\d{3}0s\b"),
        ("ordinal", r"\d+(?:st|nd|rd|th)\b"),
        ("measure", rf"{_N} ?(?:{_UNITS}|{_SCALES}){_END}{_INCHES}"),
        ("version", r"\d+(?:\.\d+){2,}"),
        ("fraction", r"(?:\d+ )?\d{1,2}/\d{1,3}\b|\d+⁄\d+"),
        ("range", rf"{_N}[-–]{_N}"),
    )
)
_SIGNED = re.compile(r"[-−+]\d+(?:[.,]\d+)?(?![\d\w/:-])")
_CENTURIES = re.compile(r"(?:1[1-9]|20)\d\d")


def guess(tokens: Sequence[WrittenToken], language: str) -> list[str]:
    """A label of `tts.rules.LABELS` for each token."""
    labels: list[str] = []
    while len(labels) < len(tokens):
        rule, length = _at(tokens, len(labels), language)
        labels += [rule] + ["continue"] * (length - 1)
    return labels


def _at(tokens: Sequence[WrittenToken], at: int, language: str) -> tuple[str, int]:
    token = tokens[at]
    if token.kind == LETTERS and not (language == "en" or _is_address(tokens, at)):
        return "verbatim", 1
    text, ends = _window(tokens, at)
    for rule, pattern in _PATTERNS if token.kind != LETTERS or _is_address(tokens, at) else ():
        if (found := pattern.match(text)) and found.end() in ends:
            return rule, ends[found.end()]
    if token.kind == DIGITS:
        return _number(tokens, at, text, ends, language)
    if token.kind == LETTERS:
        return _word(tokens, at)
    if (token.spaced or at == 0) and (found := _SIGNED.match(text)) and found.end() in ends:
        return "decimal" if "." in found[0] or "," in found[0] else "cardinal", ends[found.end()]
    if token.text in SIGNS:
        return "symbol", 1
    return ("silent" if unicodedata.category(token.text[0]) in ("So", "Sk", "Cn", "Me") else "verbatim"), 1


def _number(tokens: Sequence[WrittenToken], at: int, text: str, ends: dict[int, int], language: str) -> tuple[str, int]:
    signs = "," if language == "en" else ". ,\u202f"  # between thousands; elsewhere the rule tells which is meant
    grouped = re.match(rf"\d{{1,3}}(?:[{signs}]\d{{3}})+(?!\d)(?:[.,]\d+)?|\d+[.,]\d+", text)
    if grouped and ends.get(grouped.end(), 1) > 1:
        whole = re.fullmatch(rf"\d{{1,3}}(?:[{signs}]\d{{3}})+", grouped[0])
        return ("cardinal" if whole else "decimal"), ends[grouped.end()]
    alone = len(tokens[at].text) == 4 and _CENTURIES.fullmatch(in_ascii_digits(tokens[at].text))
    return ("year" if alone else "cardinal"), 1


def _word(tokens: Sequence[WrittenToken], at: int) -> tuple[str, int]:
    """English abbreviations with their full stop; a second reading where the word before starts large."""
    word, dotted = tokens[at].text, at + 1 < len(tokens) and tokens[at + 1].text == "." and not tokens[at + 1].spaced
    readings = ABBREVIATIONS.get(word.lower())
    if not readings or not dotted or (word.lower() in ("no", "in", "sun", "sat") and word[0].islower()):
        return "verbatim", 1
    before = tokens[at - 1] if at else None
    behind = before is not None and (before.kind == DIGITS or (before.kind == LETTERS and before.text[0].isupper()))
    return ("other abbreviation" if behind and len(readings) > 1 else "abbreviation"), 2


def _is_address(tokens: Sequence[WrittenToken], at: int) -> bool:
    if tokens[at].text.lower() in ("http", "https", "www"):
        return True
    return any(t.text == "@" and not t.spaced for t in tokens[at + 1 : at + 5])


def _window(tokens: Sequence[WrittenToken], at: int) -> tuple[str, dict[int, int]]:
    """The text of the next tokens, and for each place where a token ends how many there are up to it."""
    text, ends = "", {}
    for count, token in enumerate(tokens[at : at + LONGEST_SPAN], 1):
        text += " " * (token.spaced and count > 1) + token.text
        ends[len(text)] = count
    return in_ascii_digits(text), ends
