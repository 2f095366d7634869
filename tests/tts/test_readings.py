"""Which spans of a text have several readings."""

import pytest

from tts.readings import found_spans, labels_of_span
from tts.rules import say
from tts.written_tokens import split


def readings(text):
    tokens = split(text)
    return {
        " ".join(token.text for token in tokens[span.first : span.last]): set(span.choices)
        for span in found_spans(tokens, None)
        if len(span.choices) > 1
    }


@pytest.mark.parametrize(
    "text",
    [
        "There are 3 red circles, I can't see a 4th.",
        "What is 0 plus 14? 14, or 2 + 12 = 14.",
        "$5.50, 5 km, 50%, 2.0.1, 2024-02-03, the 1990s, 1,234 and www.nano.org",
        "at 7:05 pm, NASA and UNICEF, Mr. King, no. The sun",
        "May is warm; in Paris",
        "23 in a box, 23 in Paris, 23 in long",
    ],
)
def test_most_spans_have_one_reading(text):
    assert not readings(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("in 1984", {"1984": {"year", "cardinal", "digits"}}),
        ("room 101", {"101": {"cardinal", "digits"}}),
        ("2/3 or 13/40", {"2 / 3": {"fraction", "date", "out of"}, "13 / 40": {"fraction", "out of"}}),
        ("3-5", {"3 - 5": {"range", "score", "minus"}}),
        ("555-0142", {"555 - 0142": {"phone", "range"}}),
        ("10:30", {"10 : 30": {"time", "ratio", "duration"}}),
        ("10.30", {"10 . 30": {"decimal", "version", "time"}}),
        ("23 in", {"23 in": {"measure", "cardinal"}}),
        ("23 in off", {"23 in": {"measure", "cardinal"}}),
        ("12B", {"12 B": {"measure", "cardinal"}}),
        ("May 5", {"5": {"cardinal", "ordinal"}}),
        ("5 May", {"5": {"cardinal", "day"}}),
        ("near St. Ives", {"St .": {"abbreviation", "other abbreviation"}}),
        ("No. 5", {"No .": {"abbreviation", "verbatim"}}),
        ("Henry IV", {"IV": {"verbatim", "letters", "roman", "roman ordinal"}}),
        ("BBC", {"BBC": {"verbatim", "letters"}}),
    ],
)
def test_what_can_be_said_in_more_than_one_way(text, found):
    assert readings(text) == found


@pytest.mark.parametrize(("text", "said"), [("23 in", "twenty three in"), ("12B", "twelve B")])
def test_a_number_that_is_no_amount_is_read_apart(text, said):
    tokens = split(text)
    assert say(tokens, labels_of_span(tokens, "cardinal"), "en") == said
