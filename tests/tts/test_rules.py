"""What is said for what is written: by table, in many languages, and for text that nobody would write."""

import random
import subprocess
import sys
import time

import pytest

from tts import rules, spoken_numbers
from tts.rule_stream import RuleStream
from tts.rules import LABELS, RULES, say, spoken_form
from tts.spoken_numbers import LANGUAGES
from tts.spoken_text import joined
from tts.written_tokens import Splitter, split

ENGLISH = [
    ("There are 1,234 dogs.", "There are one thousand two hundred thirty four dogs."),
    ("In 1984 it rained.", "In nineteen eighty four it rained."),
    ("the 21st and the 3rd", "the twenty first and the third"),
    ("-5 and +3.25", "minus five and plus three point two five"),
    ("the 1990s and the 1800s", "the nineteen nineties and the eighteen hundreds"),
    ("on 2/3/2024 or 2024-02-03", "on February third twenty twenty four or February third twenty twenty four"),
    ("at 10:30, 7:05 pm or 9:00", "at ten thirty, seven oh five P M or nine o'clock"),
    (
        "$1, $5.50, £2.01 and $5M",
        "one dollar, five dollars and fifty cents, two pounds and one penny and five million dollars",
    ),
    ("€3 million for 12B", "three million euros for twelve billion"),
    ("5 km, 1 kg, 5% and 3.5 mph", "five kilometers, one kilogram, five percent and three point five miles per hour"),
    ("1/2 or 3/4 or 2 1/3", "one half or three quarters or two and one third"),
    ("3-5 days", "three to five days"),
    ("call 555-0142", "call five five five, zero one four two"),
    ("Dr. King, 5 Main St., near St. Mary", "Doctor King, five Main Street, near Saint Mary"),
    ("Prof. Lee vs. Mr. Hill, etc.", "professor Lee versus mister Hill, et cetera"),
    ("23 in a box, 23 in long, 5 in.", "twenty three in a box, twenty three inches long, five inches."),
    ("a & b = c", "a and b equals c"),
    ("see www.nano.org or a.b@c.com", "see W W W dot nano dot org or a dot b at c dot com"),
    ("version 3.10.2", "version three point ten point two"),
    ('Don\'t "stop" (now)!', 'Don\'t "stop" (now)!'),
]
OTHERS = [
    (
        "de",
        "Es kostet 3,50 € und 1.234 Leute",
        "Es kostet drei Komma fünf null Euro und eintausendzweihundertvierunddreißig Leute",
    ),
    ("de", "um 10:30, 5 km", "um zehn Uhr dreißig, fünf Kilometer"),
    ("fr", "3,5 km à 10:30", "trois virgule cinq kilomètres à dix heures trente"),
    ("es", "el 3/2/2024", "el tres de febrero de dos mil veinticuatro"),
    ("pt", "21 casas", "vinte e um casas"),
    ("nl", "5 kg", "vijf kilogram"),
    ("it", "1984", "millenovecentottantaquattro"),
    ("sv", "3 %", "tre procent"),
    ("fi", "7 km", "seitsemän kilometriä"),
    ("pl", "2 km", "dwa kilometry"),
    ("cs", "5 km", "pět kilometrů"),
    ("ru", "21 год", "двадцать один год"),
    ("tr", "5 km", "beş kilometre"),
    ("hu", "3 km", "három kilométer"),
    ("ro", "12 km", "doisprezece kilometri"),
    ("id", "15 km", "lima belas kilometer"),
    ("vi", "15 km", "mười lăm kilômét"),
    ("ja", "21", "にじゅういち"),
    ("ko", "21", "이십일"),
    ("th", "21", "ยี่สิบเอ็ด"),
    ("ar", "٢١", "واحد و عشرون"),
    ("fa", "3.05", "سه ممیز صفر پنج"),
    ("bn", "২১", "একুশ"),
    ("te", "21", "ఇరవై ఒకటి"),
    ("kn", "5", "ಐದು"),
]
ONLY_DIGITS = ("zh", "el", "gu", "hi", "ml", "mr", "sw", "ta", "ur")


@pytest.mark.parametrize(("written", "spoken"), ENGLISH)
def test_english(written, spoken):
    assert spoken_form(written, "en") == spoken


@pytest.mark.parametrize(("language", "written", "spoken"), OTHERS)
def test_other_languages(language, written, spoken):
    assert spoken_form(written, language) == spoken


def test_the_table_knows_the_34_languages_and_what_each_falls_back_to():
    assert len(LANGUAGES) == 34
    assert tuple(code for code, row in LANGUAGES.items() if not row.num2words) == ONLY_DIGITS
    for code in ONLY_DIGITS:  # espeak-ng reads them
        assert spoken_form("21", code) == "21"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_rule_answers_in_every_language(language):
    for form in (
        "5",
        "1984",
        "2/3/2024",
        "10:30",
        "3.5",
        "3-5",
        "$5",
        "5 km",
        "1/2",
        "IV",
        "No.",
        "555-0142",
        "a@b.c",
        "&",
    ):
        tokens = split(form)
        for rule in RULES:
            assert say(tokens, [rule] + ["continue"] * (len(tokens) - 1), language)[:1] != " "


@pytest.mark.parametrize(
    ("rule", "written", "spoken"),
    [
        ("year", "1984", "nineteen eighty four"),
        ("cardinal", "1984", "one thousand nine hundred eighty four"),
        ("digits", "1984", "one nine eight four"),
        ("date", "2/3", "February third"),
        ("fraction", "2/3", "two thirds"),
        ("out of", "2/3", "two out of three"),
        ("range", "3-5", "three to five"),
        ("score", "3-5", "three five"),
        ("minus", "3-5", "three minus five"),
        ("phone", "3-5", "three, five"),
        ("time", "4:30", "four thirty"),
        ("ratio", "4:30", "four to thirty"),
        ("duration", "4:30", "four minutes and thirty seconds"),
        ("decimal", "3.10", "three point one zero"),
        ("version", "3.10", "three point ten"),
        ("abbreviation", "St.", "Saint"),
        ("other abbreviation", "St.", "Street"),
        ("roman", "IV", "four"),
        ("roman ordinal", "IV", "the fourth"),
        ("letters", "IV", "I V"),
        ("measure", "5M", "five million"),
        ("measure", "5 in", "five inches"),
        ("ordinal", "5", "fifth"),
        ("day", "5", "the fifth of"),
        ("silent", "5", ""),
    ],
)
def test_one_form_has_many_readings(rule, written, spoken):
    tokens = split(written)
    assert say(tokens, [rule] + ["continue"] * (len(tokens) - 1), "en") == spoken


@pytest.mark.parametrize(
    ("rule", "text"), [("date", "13/32"), ("fraction", "1/0"), ("roman", "IIX"), ("money", "hello")]
)
def test_a_rule_that_does_not_fit_says_so(rule, text):
    assert RULES[rule](text, "en") is None


@pytest.mark.parametrize("language", ["en", "de", "hi", "zh"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\n",
        "\x00\x07\ud800 \udfff",
        "😀🎉👩‍👩‍👧",
        "9" * 400,
        "0" * 400 + ".5",
        "１２３ ٤٥٦ १२३",
        "Привет мир 5 مرحبا 你好 hello",
        "$$$ %%% --- ///",
        "1/2/3/4/5:6:7.8.9-10",
        "a\u0301\u200d\u200c\ufe0f",
    ],
)
def test_hostile_text_is_said_or_left_out(text, language):
    said = spoken_form(text, language)
    assert "\ud800" not in said
    assert "\x00" not in said
    said.encode("utf-8")


def test_emoji_and_control_characters_are_not_said():
    assert spoken_form("yes 😀\x07 or no", "en") == "yes or no"


def test_digits_of_other_scripts_are_digits():
    assert spoken_form("１２ ٤٥ १२", "en") == "twelve forty five twelve"


def test_a_number_of_400_digits_is_said_digit_by_digit():
    assert spoken_form("7" * 400, "en") == " ".join(["seven"] * 400)


@pytest.mark.parametrize("text", ["12:3/4$ ", "9.9.", "aB1-", "1 ", "(", "a@", "é\u0301"])
def test_long_text_takes_bounded_time(text):
    began = time.process_time()
    spoken_form((text * 10_000)[:10_000], "en")
    assert time.process_time() - began < 5


def test_what_cannot_be_said_is_refused():
    with pytest.raises(ValueError, match=r"'klingon'.*ar, bn, zh"):
        spoken_form("hello", "klingon")
    with pytest.raises(ValueError, match="30000 characters"):
        spoken_form("a" * 30_000, "en")


def test_tokens_hang_on_no_cut():
    text = "Dr. O'Neil's ２３ 12.5km—naïve कि १२ 👍\x00ok"
    for size in (1, 2, 5):
        splitter = Splitter()
        pieces = [token for at in range(0, len(text), size) for token in splitter.push(text[at : at + size])]
        assert pieces + splitter.flush() == split(text)
    assert [token.text for token in split("12.5km")] == ["12", ".", "5", "km"]
    assert all(text[token.start : token.stop] == token.text for token in split(text))


@pytest.mark.parametrize(
    ("language", "text"), [("en", " ".join(written for written, _ in ENGLISH)), *((a, b) for a, b, _ in OTHERS)]
)
def test_pieces_are_said_as_the_whole(language, text):
    rng = random.Random(0)
    for _ in range(5):
        stream, said, place = RuleStream(language), "", 0
        while place < len(text):
            step = rng.randint(1, 6)
            said += joined(stream.push(text[place : place + step]))
            place += step
        assert said + joined(stream.flush()) == spoken_form(text, language)


def test_a_word_is_said_before_the_text_has_ended():
    stream = RuleStream("en")
    assert (
        joined(stream.push("Hello there my ") + stream.push("friend of 5"))
        == "Hello there my friend"[: len("Hello there my")] + " friend"
    )


def test_pieces_know_their_ends_and_what_follows():
    stream = RuleStream("en")
    pieces = stream.push("Of 5% it's Dr. King, éh") + stream.flush()
    assert pieces == [
        ("Of", 2, ""),
        (" five percent", 5, "i"),
        (" it", 8, ""),
        ("'", 9, ""),
        ("s", 10, "D"),
        (" Doctor", 14, "K"),
        (" King", 19, ""),
        (",", 20, "é"),
        (" éh", 23, ""),
    ]


def test_a_rule_lost_is_missed(monkeypatch):
    monkeypatch.setitem(rules.RULES, "year", lambda text, language: None)
    assert spoken_form("In 1984 it rained.", "en") != "In nineteen eighty four it rained."


def test_labels_are_what_shipped_weights_were_trained_with():
    assert LABELS[0] == "continue"
    assert len(set(LABELS)) == len(LABELS) == 30


def test_libraries_are_there_before_the_first_number():
    code = """
import sys
from tts.spoken_numbers import import_ahead
assert not {"babel", "num2words"} & set(sys.modules)
import_ahead().join()
assert {"babel.dates", "babel.units", "num2words"} <= set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr(spoken_numbers, "find_spec", lambda name: None)
    spoken_numbers.import_ahead().join()
    spoken_numbers._need_libraries.cache_clear()
    with pytest.raises(ValueError, match=r"babel and num2words.*\[voice\]"):
        spoken_form("5", "en")
