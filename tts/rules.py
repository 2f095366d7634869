"""The rules that turn a written span into words, and the fallback that picks them without a tagger.

A rule is a small function: the text of a span and a language -> words, or None where it does not fit.
`RULES` names them all; the tagger of `tts/normalizer.py` predicts these names. `spoken_form` picks them
by `tts/guesses.py`, with no network of either kind: it serves every language that has no tagger. What
num2words and Babel give each language is told in `tts/spoken_numbers.py`; English has more: fractions,
durations, scores and abbreviations are said in English only and stay as they are written elsewhere.
"""

import re
from collections.abc import Callable, Sequence

from . import spoken_numbers as numbers
from .guesses import guess
from .lexicon import ABBREVIATIONS, ADDRESS_SIGNS, CURRENCIES, MINOR_COINS, SCALES, SIGNS, UNITS
from .written_tokens import SIGN, WrittenToken, in_ascii_digits, split

CONTINUE = "continue"
MAX_CHARACTERS = 20_000

Rule = Callable[[str, str], str | None]


def _verbatim(text: str, language: str) -> str:
    return text


def _silent(text: str, language: str) -> str:
    return ""


def _cardinal(text: str, language: str) -> str | None:
    found = re.fullmatch(r"([-−+]?)(.+)", text)
    whole, fraction = _amount(found[2], language) if found else ("", "")
    if not whole or fraction:
        return None
    sign = {"": "", "+": "plus "}.get(found[1], numbers.numbers_of(language).minus + " ")
    return sign + numbers.cardinal(whole, language)


def _ordinal(text: str, language: str) -> str | None:
    found = re.fullmatch(r"(\d+)(?:\.|st|nd|rd|th|º|ª|er|e|ème)?", text, re.IGNORECASE)
    return numbers.ordinal(found[1], language) if found else None


def _day(text: str, language: str) -> str | None:
    """The day before the name of a month: "5 May" is the fifth of May."""
    if language != "en" or not text.isdecimal():
        return _ordinal(text, language)
    return f"the {numbers.ordinal(text, language)} of"


def _digits(text: str, language: str) -> str | None:
    digits = re.sub(r"[ -]", "", text)
    return numbers.in_digits(digits, language) if digits.isdecimal() else None


def _year(text: str, language: str) -> str | None:
    return numbers.year(text, language) if text.isdecimal() else None


def _decade(text: str, language: str) -> str | None:
    found = re.fullmatch(r"(\d\d)?(\d0)['’]?s", text)
    if language != "en" or not found or not found[1]:
        return None
    if found[2] == "00":
        return f"{numbers.cardinal(found[1], 'en')} hundreds"
    last = numbers.cardinal(found[2], "en")
    return f"{numbers.cardinal(found[1], 'en')} {last[:-1] + 'ies' if last.endswith('y') else last + 's'}"


def _date(text: str, language: str) -> str | None:
    if found := re.fullmatch(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})", text):
        year, month, day = found[1], found[3], found[4]
    elif found := re.fullmatch(r"(\d{1,2})([-/.])(\d{1,2})(?:\2(\d{4}|\d\d))?", text):
        first, second, year = found[1], found[3], found[4] or ""
        day, month = (first, second) if numbers.day_comes_first(language) else (second, first)
        if int(month) > 12:
            day, month = month, day
        if len(year) == 2:
            year = ("20" if int(year) < 50 else "19") + year
    else:
        return None
    try:
        return numbers.date(int(day), int(month), year, language)
    except ValueError:
        return None  # the 31st of February is no date


def _time(text: str, language: str) -> str | None:
    found = re.fullmatch(r"(\d{1,2})(?:[:.](\d\d))?(?: ?([ap])\.?m\.?)?", text, re.IGNORECASE)
    if not found or int(found[1]) > 24 or int(found[2] or 0) > 59:
        return None
    hour, minutes = numbers.cardinal(str(int(found[1])), language), found[2] or ""
    half = f" {found[3].upper()} M" if found[3] else ""
    if language == "en":
        told = "" if half else " o'clock"
        if minutes not in ("", "00"):
            told = f" oh {numbers.cardinal(minutes[1], 'en')}" if minutes[0] == "0" else f" {_two(minutes)}"
        return hour + told + half
    minute = numbers.cardinal(str(int(minutes)), language) if int(minutes or 0) else ""
    return numbers.numbers_of(language).hour.format(h=hour, m=minute).strip() + half


def _two(digits: str) -> str:
    return numbers.cardinal(str(int(digits)), "en")


def _duration(text: str, language: str) -> str | None:
    found = re.fullmatch(r"(\d{1,3}):(\d\d)", text)
    if language != "en" or not found:
        return None
    minutes, seconds = str(int(found[1])), str(int(found[2]))
    told = [f"{_two(n)} {name}{'' if n == '1' else 's'}" for n, name in ((minutes, "minute"), (seconds, "second"))]
    return " and ".join(told if seconds != "0" else told[:1])


def _between(word: str, signs: str) -> Rule:
    """A rule for two numbers with a word between them; as written, with the sign, outside English."""

    def rule(text: str, language: str) -> str | None:
        found = re.fullmatch(rf"(\d+(?:\.\d+)?) ?([{signs}]) ?(\d+(?:\.\d+)?)", text)
        if not found:
            return None
        left, right = (_decimal(n, language) or _cardinal(n, language) for n in (found[1], found[3]))
        if left is None or right is None:
            return None
        return f"{left} {word if language == 'en' else found[2]} {right}".replace("  ", " ")

    return rule


def _money(text: str, language: str) -> str | None:
    """$5, 5 €, $5.50, $5M, $5 million."""
    marks, scales = "|".join(map(re.escape, CURRENCIES)), "|".join(SCALES)
    amount = rf"(?P<amount>\d[\d.,]*?)(?: ?(?P<scale>{scales})\b)?"
    found = re.fullmatch(rf"(?P<mark>{marks}) ?{amount}", text) or re.fullmatch(rf"{amount} ?(?P<mark>{marks})", text)
    if not found:
        return None
    whole, fraction = _amount(found["amount"], language)
    if not whole:
        return None
    code = CURRENCIES[found["mark"]]
    scale = SCALES[found["scale"]] if found["scale"] else ""
    if language != "en":
        spoken = numbers.decimal(whole, fraction, language) if fraction else numbers.cardinal(whole, language)
        return f"{spoken} {found['scale'] or ''} {numbers.currency(code, whole, language)}".replace("  ", " ")
    one, many, coin, coins = MINOR_COINS[code]
    if scale:
        spoken = numbers.decimal(whole, fraction, "en") if fraction else numbers.cardinal(whole, "en")
        return f"{spoken} {scale} {many}"
    told = f"{numbers.cardinal(whole, 'en')} {one if whole == '1' else many}"
    if len(fraction) == 2 and int(fraction):
        cents = str(int(fraction))
        told += f" and {numbers.cardinal(cents, 'en')} {coin if cents == '1' else coins}"
    return told


def _measure(text: str, language: str) -> str | None:
    """5 km, 5%, 12B: a number and its unit, or million and the like."""
    found = re.fullmatch(r"([-−]?)(\d[\d.,]*?) ?([^\d\s.,][^\d]*)", text)
    if not found:
        return None
    whole, fraction = _amount(found[2], language)
    name = found[3].rstrip(".")
    if not whole or (name not in UNITS and (name not in SCALES or language != "en")):
        return None
    spoken = numbers.decimal(whole, fraction, language) if fraction else numbers.cardinal(whole, language)
    spoken = f"{numbers.numbers_of(language).minus} {spoken}" if found[1] else spoken
    if name in SCALES:
        return f"{spoken} {SCALES[name]}"
    return numbers.unit(UNITS[name], f"{whole}.{fraction}" if fraction else whole, spoken, language)


def _decimal(text: str, language: str) -> str | None:
    found = re.fullmatch(r"([-−+]?)(\d.*)", text)
    whole, fraction = _amount(found[2], language) if found else ("", "")
    if not fraction:
        return None
    sign = {"": "", "+": "plus "}.get(found[1], numbers.numbers_of(language).minus + " ")
    return sign + numbers.decimal(whole, fraction, language)


def _version(text: str, language: str) -> str | None:
    """Section 3.10 is three point ten, however many points follow."""
    parts = text.split(".")
    if len(parts) < 2 or not all(part.isdecimal() for part in parts):
        return None
    point = numbers.numbers_of(language).point
    return f" {point} ".join(numbers.cardinal(part, language) for part in parts)


def _fraction(text: str, language: str) -> str | None:
    found = re.fullmatch(r"(?:(\d+) )?(\d+) ?[/⁄] ?(\d+)", text)
    if not found or int(found[3]) == 0:
        return None
    top, bottom = found[2], found[3]
    if language != "en":
        return f"{numbers.cardinal(top, language)} / {numbers.cardinal(bottom, language)}"
    many = top != "1"
    if bottom in ("2", "4"):
        part = {"2": ("half", "halves"), "4": ("quarter", "quarters")}[bottom][many]
    else:
        part = numbers.ordinal(bottom, "en") + "s" * many
    spoken = f"{numbers.cardinal(top, 'en')} {part}"
    return f"{numbers.cardinal(found[1], 'en')} and {spoken}" if found[1] else spoken


def _phone(text: str, language: str) -> str | None:
    """Digit by digit, with a comma where the groups part."""
    groups = re.findall(r"\d+", text)
    if not groups or re.search(r"[^\d\s()+./-]", text):
        return None
    plus = "plus " if text.startswith("+") else ""
    return plus + ", ".join(numbers.in_digits(group, language) for group in groups)


def _abbreviation(reading: int) -> Rule:
    def rule(text: str, language: str) -> str | None:
        found = ABBREVIATIONS.get(text.rstrip(".").replace(" ", "").lower()) if language == "en" else None
        return found[reading] if found and len(found) > reading else None

    return rule


def _letters(text: str, language: str) -> str:
    """One letter after the other: IBM is I B M. Digits among them are said as digits."""
    signs = [sign for sign in text if sign.isalnum()]
    return " ".join(numbers.in_digits(s, language) if s.isdecimal() else s.upper() for s in signs)


def _roman_number(text: str) -> str:
    values = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
    if not re.fullmatch(r"M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})", text) or not text:
        return ""
    signs = [values[sign] for sign in text]
    return str(sum(-a if a < b else a for a, b in zip(signs, [*signs[1:], 0], strict=True)))


def _roman(text: str, language: str) -> str | None:
    number = _roman_number(text.upper())
    return numbers.cardinal(number, language) if number else None


def _roman_ordinal(text: str, language: str) -> str | None:
    number = _roman_number(text.upper())
    return ("the " if language == "en" else "") + numbers.ordinal(number, language) if number else None


def _symbol(text: str, language: str) -> str | None:
    return SIGNS.get(text, text) if language == "en" else text


def _address(text: str, language: str) -> str:
    """An address on the net or of mail: its words, and names for the signs between them."""
    parts = re.findall(r"[^\W\d_]+|\d+|[^\s]", text)
    said = [_letters(p, language) if p.lower() in ("www", "http", "https", "uk", "de", "us") else p for p in parts]
    return " ".join(ADDRESS_SIGNS.get(p, p) if language == "en" else p for p in said if p != " ")


RULES: dict[str, Rule] = {
    "verbatim": _verbatim,
    "silent": _silent,
    "cardinal": _cardinal,
    "ordinal": _ordinal,
    "day": _day,
    "digits": _digits,
    "year": _year,
    "decade": _decade,
    "date": _date,
    "time": _time,
    "duration": _duration,
    "ratio": _between("to", ":"),
    "range": _between("to", "-–"),
    "score": _between("", "-–"),
    "minus": _between("minus", "-–−"),
    "out of": _between("out of", "/"),
    "money": _money,
    "measure": _measure,
    "decimal": _decimal,
    "version": _version,
    "fraction": _fraction,
    "phone": _phone,
    "abbreviation": _abbreviation(0),
    "other abbreviation": _abbreviation(1),
    "letters": _letters,
    "roman": _roman,
    "roman ordinal": _roman_ordinal,
    "symbol": _symbol,
    "address": _address,
}
LABELS: tuple[str, ...] = (CONTINUE, *RULES)  # what a token is tagged with; the order is part of trained weights


def spoken_form(text: str, language: str) -> str:
    """The text as it is said, by rules alone; language is one of the codes of `spoken_numbers.LANGUAGES`.

    Deterministic, and linear in the length. Emoji, control characters and lone surrogates are not said: a text of
    nothing else gives "". Raises ValueError for an unknown language or more than MAX_CHARACTERS.
    """
    numbers.numbers_of(language)
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"found a text of {len(text)} characters; accepted are at most {MAX_CHARACTERS}: cut it")
    tokens = split(text)
    return say(tokens, guess(tokens, language), language)


class Sayer:
    """Says spans one after the other, with spaces between them where one was written or words would touch."""

    def __init__(self, language: str):
        self._language = language
        self._last, self._was_verbatim = "", True

    def say(self, tokens: Sequence[WrittenToken], rule: str) -> str:
        """The words of one span, with the space before them.

        A rule that does not fit its span leaves it to `guess`, and where that does not fit either it stays as written.
        """
        text = written(tokens)
        said = RULES[rule](text, self._language) if rule in RULES else None
        if said is not None:
            return self._joined(said, tokens[0], rule in ("verbatim", "silent"))
        told = ""
        for first, last in spans(labels := guess(tokens, self._language)):
            text = written(tokens[first:last])
            said = RULES[labels[first]](text, self._language)
            verbatim = labels[first] in ("verbatim", "silent") or said is None
            told += self._joined(text if said is None else said, tokens[first], verbatim)
        return told

    def _joined(self, said: str, first: WrittenToken, verbatim: bool) -> str:
        if not said:
            return ""
        touching = self._last.isalnum() and said[0].isalnum() and not (verbatim and self._was_verbatim)
        spaced = self._last != "" and (first.spaced or touching or (not verbatim and first.kind == SIGN))
        self._last, self._was_verbatim = said[-1], verbatim
        return " " * spaced + said


def say(tokens: Sequence[WrittenToken], labels: Sequence[str], language: str) -> str:
    """The words of tokens under their labels; a label "continue" joins a token to the span before it."""
    sayer = Sayer(language)
    return "".join(sayer.say(tokens[first:last], labels[first]) for first, last in spans(labels))


def spans(labels: Sequence[str]) -> list[tuple[int, int]]:
    """The places [first, last) of the spans that labels tell."""
    starts = [at for at, label in enumerate(labels) if label != CONTINUE or at == 0]
    return list(zip(starts, [*starts[1:], len(labels)], strict=True)) if starts else []


def written(tokens: Sequence[WrittenToken]) -> str:
    """The text of a span, with single spaces and digits as 0 to 9."""
    text = "".join(" " * (token.spaced and at > 0) + token.text for at, token in enumerate(tokens))
    return in_ascii_digits(text)


def _amount(text: str, language: str) -> tuple[str, str]:
    """Whole digits and the digits behind the point; ("", "") where the text is no number of this language."""
    point, thousands = numbers.separators(language)
    group = r"[  \u202f]" if thousands.isspace() else re.escape(thousands)
    found = re.fullmatch(rf"(\d+|\d{{1,3}}(?:{group}\d{{2,3}})+)(?:{re.escape(point)}(\d+))?", text)
    return (re.sub(r"\D", "", found[1]), found[2] or "") if found else ("", "")
