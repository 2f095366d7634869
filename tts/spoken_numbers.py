"""Numbers, dates, money and units as words, in every language that num2words and Babel cover.

What each of the 34 languages gets is in `LANGUAGES`. Where num2words knows no numbers (Chinese, Greek,
Gujarati, Hindi, Malayalam, Marathi, Swahili, Tamil, Urdu) they stay digits, which espeak-ng reads in
that language. Its decimals are wrong in some languages (3.05 becomes "three and a half" in Persian), so
only whole numbers are asked of it: a decimal is a whole number, the word for the point, and digits.
Neither library inflects a number for what follows it: Slavic dates and units are understood, not perfect.
"""

import datetime
import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from threading import Thread

LONGEST_NUMBER = 15  # digits; a longer one is said digit by digit


@dataclass(frozen=True)
class Numbers:
    """How one language says numbers.

    num2words: its name there, or "" where numbers stay digits. point, minus: words. ordinals: whether num2words
    has them; else ordinals are said as cardinals. hour: how hour and minutes are joined; else they follow each other.
    """

    num2words: str
    point: str
    minus: str
    ordinals: bool
    hour: str


_ROWS = """
ar ar فاصلة سالب - -
bn bn দশমিক মাইনাস - -
zh - 点 负 - {h}点{m}分
cs cs celá minus - -
nl nl komma min ordinals {h}_uur_{m}
en en point minus ordinals {h}_{m}
fi fi pilkku miinus ordinals -
fr fr virgule moins ordinals {h}_heures_{m}
de de Komma minus ordinals {h}_Uhr_{m}
el - κόμμα μείον - -
gu - દશાંશ માઇનસ - -
hi - दशमलव माइनस - -
hu hu egész mínusz ordinals -
id id koma minus ordinals -
it it virgola meno ordinals {h}_e_{m}
ja ja てん マイナス ordinals {h}じ{m}ふん
kn kn ಬಿಂದು ಮೈನಸ್ - -
ko ko 점 마이너스 ordinals -
ml - ദശാംശം മൈനസ് - -
mr - दशांश उणे - -
fa fa ممیز منفی ordinals -
pl pl przecinek minus ordinals -
pt pt_BR vírgula menos ordinals {h}_e_{m}
ro ro virgulă minus ordinals -
ru ru запятая минус ordinals -
es es coma menos ordinals {h}_y_{m}
sw - nukta hasi - -
sv sv komma minus ordinals -
ta - புள்ளி மைனஸ் - -
te te బిందువు మైనస్ - -
th th จุด ลบ - -
tr tr virgül eksi ordinals -
ur - اعشاریہ منفی - -
vi vi phẩy âm - -
"""
_SAYS_YEARS = ("en", "de", "nl")  # elsewhere a year is said as any number is


def _read_rows() -> dict[str, Numbers]:
    table = {}
    for row in _ROWS.strip().splitlines():
        code, *cells = ("" if cell == "-" else cell.replace("_", " ") for cell in row.split(" "))
        name, point, minus, ordinals, hour = cells
        table[code] = Numbers(name.replace(" ", "_"), point, minus, ordinals == "ordinals", hour or "{h} {m}")
    return table


LANGUAGES: dict[str, Numbers] = _read_rows()


def numbers_of(language: str) -> Numbers:
    """How the language says numbers; ValueError for one that is not among the 34, or if a library is missing."""
    _need_libraries()
    if language not in LANGUAGES:
        raise ValueError(f"found language {language!r}; accepted are the codes {', '.join(LANGUAGES)}")
    return LANGUAGES[language]


@cache
def _need_libraries() -> None:
    if missing := _missing():
        raise ValueError(f"spoken forms need {' and '.join(missing)}: pip install 'multimodal-llama[voice]'")


def _missing() -> list[str]:
    return [name for name in ("babel", "num2words") if find_spec(name) is None]


def import_ahead() -> Thread:
    """Import the libraries in the background, with English's tables, so that the first number has not to wait.

    Where one is missing nothing happens: who needs it is told then.
    """

    def read_some() -> None:
        if not _missing():
            unit("kilometer", "5", cardinal("5", "en"), "en")
            date(3, 5, "2024", "en")
            currency("USD", "5", "en")

    thread = Thread(target=read_some, name="numbers", daemon=True)
    thread.start()
    return thread


def cardinal(digits: str, language: str) -> str:
    """How many: "21" is twenty one. A number that starts with 0 or is too long is said digit by digit."""
    if not digits or len(digits) > LONGEST_NUMBER or (digits[0] == "0" and len(digits) > 1):
        return in_digits(digits, language)
    return _by_num2words(int(digits), language, "cardinal")


def ordinal(digits: str, language: str) -> str:
    """Which one: "21" is twenty first."""
    if len(digits) > LONGEST_NUMBER or not numbers_of(language).ordinals or int(digits) == 0:
        return cardinal(digits, language)
    return _by_num2words(int(digits), language, "ordinal")


def year(digits: str, language: str) -> str:
    """A year: "1984" is nineteen eighty four."""
    if language not in _SAYS_YEARS or not 3 <= len(digits) <= 4 or digits[0] == "0":
        return cardinal(digits, language)
    return _by_num2words(int(digits), language, "year")


def in_digits(digits: str, language: str) -> str:
    """One digit after the other."""
    return " ".join(_by_num2words(int(digit), language, "cardinal") for digit in digits)


def decimal(whole: str, fraction: str, language: str) -> str:
    """ "3", "05" is three point zero five."""
    point = numbers_of(language).point
    return f"{cardinal(whole, language)} {point} {in_digits(fraction, language)}"


def date(day: int, month: int, year_digits: str, language: str) -> str:
    """A date as CLDR's long format has it; the year may be "". ValueError for a day that does not exist.

    The day is an ordinal where the format writes a full stop behind it, and in English.
    """
    from babel.dates import format_date, format_skeleton

    there = datetime.date(int(year_digits) if year_digits and int(year_digits) else 2000, month, day)
    if language == "en":
        name = format_date(there, "MMMM", locale="en")
        return f"{name} {ordinal(str(day), 'en')} {year(year_digits, 'en') if year_digits else ''}".strip()
    locale = _locale(language)
    written = format_date(there, "long", locale) if year_digits else format_skeleton("MMMMd", there, locale=locale)
    return _numbers_as_words(written, language)


def currency(code: str, amount: str, language: str) -> str:
    """The name of a currency after this amount, such as dollars."""
    from babel.numbers import get_currency_name

    return get_currency_name(code, _count(amount), locale=_locale(language))


def unit(name: str, amount: str, spoken: str, language: str) -> str:
    """An amount with its unit: "kilometer", "5", "five" is five kilometers. name as CLDR has it."""
    from babel.numbers import format_decimal
    from babel.units import format_unit

    locale, count = _locale(language), _count(amount)
    written = format_unit(count, name, length="long", locale=locale)
    return " ".join(written.replace(format_decimal(count, locale=locale), spoken, 1).split())


def separators(language: str) -> tuple[str, str]:
    """The signs that part whole from fraction, and thousands; the last is " " where it is any space."""
    from babel.numbers import get_decimal_symbol, get_group_symbol

    locale = _locale(language)
    return get_decimal_symbol(locale, numbering_system="latn"), get_group_symbol(locale, numbering_system="latn")


def day_comes_first(language: str) -> bool:
    """Whether 2/3 is the second of March."""
    from babel.dates import get_date_format

    pattern = get_date_format("short", locale=_locale(language)).pattern
    return pattern.find("d") < pattern.find("M")


def _numbers_as_words(written: str, language: str) -> str:
    """Every number of a formatted date as words: followed by a full stop it is an ordinal."""

    def spoken(found: re.Match) -> str:
        digits = "".join(str(int(digit)) for digit in found[1])
        if len(digits) > 2:
            return year(digits, language)
        return ordinal(digits, language) if found[2] else cardinal(digits, language)

    return re.sub(r"(\d+)(\.?)", spoken, written)


@lru_cache(maxsize=65_536)
def _by_num2words(number: int, language: str, to: str) -> str:
    name = numbers_of(language).num2words
    if not name:
        return str(number)
    from num2words import num2words

    options = {"reading": True} if language == "ja" and to == "cardinal" else {}
    try:
        spoken = num2words(number, lang=name, to=to, **options)
    except OverflowError:  # Kannada and Telugu end early
        return in_digits(str(number), language)
    if language == "en":
        spoken = re.sub(r",| and(?= )", "", spoken).replace("-", " ")
    return unicodedata.normalize("NFC", " ".join(spoken.replace(",", "").split()))


def _count(amount: str) -> float:
    """The amount as a number that picks singular or plural: one of many digits is as good as any large one."""
    return float(amount) if "." in amount else int(amount[-LONGEST_NUMBER:] or 0)


def _locale(language: str) -> str:
    numbers_of(language)
    return {"pt": "pt_BR", "zh": "zh_Hans"}.get(language, language)
