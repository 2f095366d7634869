"""Written spans that can be said in more than one way, and the ways: what is left for a tagger to decide.

`guess` finds the spans of an English text and a rule for each. For most no other rule comes into question, and
they need no tagger. A tagger picks among the rest, so that what it does not know it cannot spoil.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from .guesses import guess
from .lexicon import ABBREVIATIONS, AFTER_INCHES, AFTER_THE_WORD_IN
from .rules import CONTINUE, RULES, spans, written
from .written_tokens import DIGITS, LETTERS, WrittenToken

_MONTHS = "January February March April May June July August September October November December".split()
_FORMS = tuple(
    (re.compile(form), rules.split("|"))
    for form, rules in (
        (r"\d{4}", "year|cardinal|digits"),
        (r"\d{3}", "cardinal|digits"),
        (r"\d{1,2}/\d{1,2}", "fraction|date|out of"),
        (r"\d{3}-\d{4}", "phone|range"),
        (r"\d+-\d+", "range|score|minus"),
        (r"\d{1,2}:\d\d", "time|ratio|duration"),
        (r"\d+\.\d+", "decimal|version|time"),
        (r"\d{1,2} in", "measure|cardinal"),
        (r"\d+[KMB]", "measure|cardinal"),
        (r"(?:No|Sun|Sat)\.", "abbreviation|verbatim"),
        (r"[IVXLCDM]{2,}|[VXLCDM]", "verbatim|letters|roman|roman ordinal"),
        (r"[B-DF-HJ-NP-TV-XZ]{2,}", "verbatim|letters"),
    )
)


class Span(NamedTuple):
    """Tokens first to last - 1, the rule that is guessed, and all rules that may say them; one alone is sure."""

    first: int
    last: int
    rule: str
    choices: tuple[str, ...]


def found_spans(tokens: Sequence[WrittenToken], before: WrittenToken | None) -> list[Span]:
    """The spans of a stretch of English text; before: the token in front of it."""
    behind = [] if before is None else [before]
    labels = guess([*behind, *tokens], "en")[len(behind) :]
    found: list[Span] = []
    for first, last in spans(labels):
        if found and found[-1].last > first:
            continue
        last += _is_before_in(tokens, first, last)  # "23 in", whichever of its readings is guessed
        following = tokens[last] if last < len(tokens) else None
        preceding = tokens[first - 1] if first else before
        choices = _choices(tokens[first:last], labels[first], preceding, following)
        found.append(Span(first, last, labels[first], choices))
    return found


def labels_of_span(tokens: Sequence[WrittenToken], rule: str) -> list[str]:
    """The labels of a span's tokens under a rule. Number and letter, read apart, have one each."""
    apart = len(tokens) > 1 and ((rule == "cardinal" and tokens[1].kind == LETTERS) or rule == "verbatim")
    if not apart:
        return [rule] + [CONTINUE] * (len(tokens) - 1)
    return [rule] + ["verbatim" if one.spaced or one.kind != LETTERS else "letters" for one in tokens[1:]]


def _is_before_in(tokens: Sequence[WrittenToken], first: int, last: int) -> bool:
    number = last == first + 1 and tokens[first].kind == DIGITS and len(tokens[first].text) < 3
    return number and last < len(tokens) and tokens[last].text == "in" and tokens[last].spaced


def _choices(
    tokens: Sequence[WrittenToken], rule: str, before: WrittenToken | None, following: WrittenToken | None
) -> tuple[str, ...]:
    """The rules that may say a span, that which is guessed first."""
    text = written(tokens)
    rules = [rule]
    if text.endswith(" in") and following is not None and following.kind == LETTERS:
        if following.text in AFTER_INCHES:
            return ("measure",)
        if following.text in AFTER_THE_WORD_IN or following.text[0].isupper():
            return ("cardinal",)
    if re.fullmatch(r"\d{1,2}", text):
        rules += ["ordinal"] * _is_month(before) + ["day"] * _is_month(following)
    elif len(ABBREVIATIONS.get(text.rstrip(".").lower(), ())) > 1 and rule != "verbatim":
        rules += ["abbreviation", "other abbreviation"]
    else:
        rules += next((more for form, more in _FORMS if form.fullmatch(text) and rule in (*more, "verbatim")), [])
    if rule == "verbatim" and len(tokens) == 1 and tokens[0].kind != LETTERS:
        return (rule,)
    return tuple(one for one in dict.fromkeys(rules) if one == "cardinal" or RULES[one](text, "en") is not None)


def _is_month(token: WrittenToken | None) -> bool:
    return token is not None and token.text in _MONTHS
