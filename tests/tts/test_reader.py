import re
from itertools import chain

import pytest

from tts import espeak
from tts.phones import PHONES
from tts.reader import Reader
from tts.rule_stream import RuleStream
from tts.spoken_text import Piece

TEXT = "The red circle is left of the apple, and 23 things are near water. Is it one?"


def read(pieces, voice="en-us", language="en"):
    """Phones that came with each piece of text, and with the end."""
    stream, reader = RuleStream(language), Reader(voice)
    phones = [list(chain.from_iterable(reader.push(stream.push(piece)))) for piece in pieces]
    return [*phones, [*chain.from_iterable(reader.push(stream.flush())), *reader.flush()]]


def all_of(came):
    return list(chain.from_iterable(came))


def ipa(phones):
    return "".join(PHONES[phone.id] for phone in phones)


def test_phones_of_a_word_come_when_the_next_begins():
    came = [ipa(phones) for phones in read(re.findall(r"\s*\S+", TEXT))]
    assert came[:5] == ["", "ðə", "ɹˈɛd", "sˈɜːkəl", "ɪz"]
    assert [ipa(phones) for phones in read(["Yes", ",", " t", "here", " is"])][:5] == ["", "", "jˈɛs|", "", "ðɛɹ"]


@pytest.mark.parametrize("cut", [r"\s*\S+", r"(?s).", r"(?s).{7}|.+"])
def test_any_way_to_cut_gives_the_same_phones(cut):
    whole = ipa(all_of(read([TEXT])))
    assert whole.startswith("ðəɹˈɛdsˈɜːkəlɪzlˈɛftʌvðɪ|ˈæpəl|") and whole.endswith("wˌʌn|")
    assert "twˈɛntiθɹˈiː" in whole
    assert ipa(all_of(read(re.findall(cut, TEXT)))) == whole


@pytest.mark.parametrize(("text", "said"), [("the apple", "ðɪ"), ("the pear", "ðə"), ("the moon", "ðə")])
def test_a_word_is_said_as_what_follows_it_begins(text, said):
    assert ipa(read(list(text))[4]) == said  # with the first letter of the next word


def test_what_is_read_as_one_word_with_the_next_is_not_lost():
    assert ipa(all_of(read(list("There are three rings.")))) == "ðɛɹˌɑːɹθɹˈiːɹˈɪŋz|"


def test_a_word_before_a_number_waits_for_it():
    came = [ipa(phones) for phones in read(["there", " are", " 23", " red", " rings", " here"])]
    assert came == ["", "ðɛɹ", "", "", "ˌɑːɹtwˈɛntiθɹˈiːɹˈɛd", "ɹˈɪŋz", "hˈɪɹ|"]


def test_phones_know_where_their_words_end_in_what_was_written():
    phones = all_of(read(["two red", " circles", " at the top"]))
    ends = [phone.end for phone in phones]
    assert ends == sorted(ends) and ends[0] == 3 and ends[-1] == 26


def test_endings_reach_the_phones():
    phones = all_of(read(re.findall(r"\s*\S+", "red, blue. Is it?")))
    assert {phone.ending for phone in phones} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("voice", "language", "text"), [("cmn", "zh", "你好，世界"), ("ja", "ja", "こんにちは"), ("th", "th", "ไทย")]
)
def test_scripts_without_spaces_are_read(voice, language, text):
    assert len(all_of(read(list(text), voice, language))) > 5


def test_a_clause_that_does_not_end_is_cut():
    reader = Reader("en-us")
    groups = [group for at in range(300) for group in reader.push([Piece(" word", 5 * at + 5, "w")])]
    assert sum(map(len, groups)) > 3 * 290 and len(reader._text) < 450


@pytest.mark.parametrize("text", ["", "...", "\x00", "😀"])
def test_nothing_to_say_is_one_pause(text):
    assert ipa(all_of(read([text]))) == "|"


def _not_found(name):
    raise ModuleNotFoundError(name)


def test_without_the_voice_or_the_library_it_does_not_start(monkeypatch):
    with pytest.raises(ValueError, match="no voice 'xx'"):
        Reader("xx")
    monkeypatch.setattr(espeak.importlib, "import_module", _not_found)
    espeak._library.cache_clear()
    espeak._newest.clear()
    try:
        with pytest.raises(ValueError, match=r"multimodal-llama\[espeak\]"):
            Reader("en-us")
    finally:
        espeak._library.cache_clear()
