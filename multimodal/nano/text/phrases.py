"""The same months, weekdays, countries, languages, numbers and dates in 34 languages, from CLDR.

`phrases.json` holds the table, so that nothing at run time needs Babel; `build_phrase_table` makes
it. The source is Unicode CLDR through Babel, with the corrections below (our choice): Japanese in
kana and Vietnamese countries as Vietnamese spells them, both as a speech synthesiser can read them.
"""

import json
import random
import re
import subprocess
import sys
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from multimodal.languages import LANGUAGES

COUNTRIES = tuple(
    """US CA MX BR AR PE CU EG MA NG KE ET ZA FR DE IT ES PT NL AT CH PL CZ HU RO GR SE NO FI DK GB UA RU TR IR IQ IN
    PK CN JP KR VN TH ID AU""".split()
)
CODES = tuple(language.code for language in LANGUAGES)
KINDS = ("month", "weekday", "country", "language")
TABLE_PATH = Path(__file__).with_name("phrases.json")

_COMMAS = {"zh": "、", "ja": "、", "ar": "، ", "fa": "، ", "ur": "، ", "th": " "}
_CORRECTIONS = {
    ("en", "country"): {"TR": "Turkey"},
    ("en", "language"): {"bn": "Bengali"},
    ("ja", "month"): dict(
        enumerate("いち に さん し ご ろく しち はち く じゅう じゅういち じゅうに".split())
    ),  # the suffix for month follows below
    ("ja", "weekday"): dict(enumerate("げつ か すい もく きん ど にち".split())),
    ("ja", "country"): {
        **{"US": "アメリカ", "CN": "ちゅうごく", "JP": "にほん", "KR": "かんこく", "ZA": "みなみアフリカ"}
    },
    ("ja", "language"): {"zh": "ちゅうごくご", "en": "えいご", "ja": "にほんご", "ko": "かんこくご"},
    ("vi", "country"): dict(
        pair.replace("_", " ").split("=")
        for pair in """CA=Ca-na-đa MX=Mê-hi-cô BR=Bra-xin AR=Ác-hen-ti-na PE=Pê-ru CU=Cu-ba NG=Ni-giê-ri-a KE=Kê-ni-a
        ET=Ê-ti-ô-pi-a IT=Ý HU=Hung-ga-ri RO=Ru-ma-ni UA=U-crai-na IR=I-ran IQ=I-rắc PK=Pa-ki-xtan
        ID=In-đô-nê-xi-a AU=Ô-xtrây-li-a""".split()
    ),
    ("vi", "language"): {
        **{"hu": "Tiếng Hung-ga-ri", "it": "Tiếng Ý", "ro": "Tiếng Ru-ma-ni", "id": "Tiếng In-đô-nê-xi-a"}
    },
}
_DATES = {
    "ja": "{year}ねん{month_number}がつ{day}にち",
    "ru": "{day} {month} {year} года",
    "th": "{day} {month} {year}",
}

_READ_LOCALE = """
import json, sys
from babel import Locale
locale, countries, codes = Locale.parse(sys.argv[1]), sys.argv[2].split(), sys.argv[3].split()
print(json.dumps({
    "month": [locale.months["stand-alone"]["wide"][i] for i in range(1, 13)],
    "month_in_date": [locale.months["format"]["wide"][i] for i in range(1, 13)],
    "weekday": [locale.days["stand-alone"]["wide"][i] for i in range(7)],
    "country": [locale.territories[c] for c in countries],
    "language": [locale.languages[c] for c in codes],
    "date": locale.date_formats["long"].pattern,
}))
"""


def build_phrase_table() -> dict[str, dict]:
    """The table of all languages, by code; needs Babel.

    Each locale is read in a process of its own: Babel's stand-alone names leak between the locales
    that one process reads.
    """
    return {code: _correct(code, _read_locale(code)) for code in CODES}


def _read_locale(code: str) -> dict:
    command = [sys.executable, "-c", _READ_LOCALE, code, " ".join(COUNTRIES), " ".join(CODES)]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def _correct(code: str, read: dict) -> dict:
    for kind, keys in (("month", range(12)), ("weekday", range(7)), ("country", COUNTRIES), ("language", CODES)):
        corrections = _CORRECTIONS.get((code, kind), {})
        read[kind] = [corrections.get(key, name) for key, name in zip(keys, read[kind], strict=True)]
    if code == "ja":
        read["month"] = [name + "がつ" for name in read["month"]]
        read["weekday"] = [name + "ようび" for name in read["weekday"]]
        read["language"] = [name.replace("語", "ご") for name in read["language"]]
    read["date"] = _DATES.get(code) or _format_of(read["date"])
    read["comma"] = _COMMAS.get(code, ", ")
    return {key: _normalise(value) for key, value in read.items()}


def _normalise(value: str | list[str]) -> str | list[str]:
    """NFC, and plain spaces: a no-break space looks the same and would be another token."""
    if isinstance(value, list):
        return [_normalise(one) for one in value]
    return unicodedata.normalize("NFC", value).replace("\N{NO-BREAK SPACE}", " ")


def _format_of(pattern: str) -> str:
    """A CLDR date pattern such as `d 'de' MMMM y` as a format string."""
    fields = {"MMMM": "{month}", "M": "{month_number}", "d": "{day}", "y": "{year}"}
    return re.sub("'([^']*)'|MMMM|M|d|y", lambda found: fields.get(found[0], found[1]), pattern)


@dataclass(frozen=True)
class Item:
    """One thing that every language can say: a row of the table, a number, or a date."""

    kind: str  # one of KINDS, "number" or "date"
    index: int = 0  # which month, weekday, country, language; or the number
    date: tuple[int, int, int] = (0, 0, 0)  # day, month (1 to 12), year


@cache
def phrase_table() -> dict[str, dict]:
    """The shipped table: code -> month, month_in_date, weekday, country, language, date, comma."""
    return json.loads(TABLE_PATH.read_text("utf-8"))


def say(item: Item, code: str) -> str:
    """The item in the language."""
    row = phrase_table()[code]
    if item.kind == "number":
        return str(item.index)
    if item.kind == "date":
        day, month, year = item.date
        return row["date"].format(day=day, month=row["month_in_date"][month - 1], month_number=month, year=year)
    return row[item.kind][item.index]


def say_all(items: tuple[Item, ...], code: str) -> str:
    """The items as a list in the language."""
    return phrase_table()[code]["comma"].join(say(item, code) for item in items)


ITEM_SHARES = {"country": 0.36, "language": 0.27, "month": 0.11, "weekday": 0.09, "date": 0.12, "number": 0.05}
_COUNTS = {"country": len(COUNTRIES), "language": len(CODES), "month": 12, "weekday": 7, "number": 1000}
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def sample_item(rng: random.Random, shares: dict[str, float] = ITEM_SHARES) -> Item:
    """One random item; by default kinds with more names come more often."""
    kind = rng.choices(list(shares), list(shares.values()))[0]
    if kind == "date":
        month = rng.randint(1, 12)
        return Item("date", date=(rng.randint(1, _DAYS[month - 1]), month, rng.randint(1900, 2029)))
    return Item(kind, rng.randrange(_COUNTS[kind]))


def sample_items(
    rng: random.Random, held_out: bool = False, most: int = 3, shares: dict[str, float] = ITEM_SHARES
) -> tuple[Item, ...]:
    """One to `most` different items; every combination is either for training or held out, never both.

    A single item is always for training, since the names are a closed list; a list or a date is
    held out one time in twenty.
    """
    while True:
        items = tuple(dict.fromkeys(sample_item(rng, shares) for _ in range(rng.randint(1, most))))
        if is_held_out(items) == held_out:
            return items


def is_held_out(items: tuple[Item, ...]) -> bool:
    """Whether this combination belongs to the held-out set; a pure function of the items."""
    if len(items) == 1 and items[0].kind != "date":
        return False
    return random.Random(repr(items)).random() < 0.05


if __name__ == "__main__":
    TABLE_PATH.write_text(json.dumps(build_phrase_table(), ensure_ascii=False, indent=1) + "\n", "utf-8")
