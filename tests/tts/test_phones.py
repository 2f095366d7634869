import threading
from itertools import pairwise

import pytest

from tts import espeak
from tts.phones import (
    MAX_CHARACTERS,
    PAUSE,
    PHONES,
    UNKNOWN,
    Phone,
    events,
    phone_id,
    places_and_endings,
    timed,
    tokens_of,
)

VOICES = """ar bn cmn cs nl en-us fi fr de el gu hi hu id it ja kn ko ml mr fa pl pt-br ro ru es sw sv ta te th tr ur
vi""".split()
HELLO = {"ar": "مرحبا", "bn": "ঢাকা", "cmn": "你好", "el": "γεια", "gu": "ભારત", "hi": "भारत", "ja": "こんにちは"}
HELLO |= {"kn": "ಭಾರತ", "ko": "안녕", "ml": "ഭാരതം", "mr": "भारत", "fa": "سلام", "ru": "привет", "ta": "இந்தியா"}
HELLO |= {"te": "భారత్", "th": "ไทย", "ur": "سلام"}


def said(text, voice="en-us"):
    return "".join(phone.ipa for phone in events(text, voice))


def test_a_sentence_in_english():
    assert said("the red circle, please") == "ðəɹˈɛdsˈɜːkəl|plˈiːz|"


@pytest.mark.parametrize("voice", VOICES)
def test_every_language_has_phones_that_the_table_knows(voice):
    phones = events(HELLO.get(voice, "banana radio"), voice)
    assert len(phones) >= 3
    assert all(phone_id(phone.ipa) != PHONES.index(UNKNOWN) for phone in phones)


def test_times_follow_each_other_and_words_stand_where_the_text_has_them():
    text = "a small red circle, on the left"
    phones = events(text, "en-us")
    for before, after in pairwise(phones):
        assert after.start_s == pytest.approx(before.start_s + before.duration_s, abs=2e-3)
        assert after.place >= before.place
    assert {text[phone.place :].split()[0] for phone in phones} >= {"small", "red", "circle,", "left"}
    assert sum(phone.duration_s for phone in events(text, "en-us", 260)) < 0.8 * sum(p.duration_s for p in phones)


def test_stress_is_told():
    vowel = next(phone for phone in events("circle", "en-us") if "ɜː" in phone.ipa)
    assert vowel.stress == 1 and events("the", "en-us")[0].stress == 0


def test_an_unknown_phone_loses_its_marks_one_by_one():
    assert PHONES[phone_id("ˈt")] == "t" and PHONES[phone_id("ˌaː7")] in ("aː", "ˌaː")
    assert PHONES[phone_id("ʘ")] == UNKNOWN and PHONES[phone_id(PAUSE)] == PAUSE
    assert len(set(PHONES)) == len(PHONES)


def test_places_and_endings():
    text = "red, blue star. Is it?"
    phones = events(text, "en-us")
    places, endings = places_and_endings(phones, text)
    of_word = {text[phone.place :].split()[0]: ending for phone, ending in zip(phones, endings, strict=True)}
    assert of_word["red,"] == 1 and of_word["blue"] == 0 and of_word["star."] == 2 and of_word["it?"] == 3
    assert places[0] == 0 and [p for p, q in zip(places, phones, strict=True) if q.place == 0] == list(range(4))
    assert places_and_endings(events("red", "en-us"), "red")[1][0] == 2


def test_tokens_of_phones():
    phones = [Phone("a", 0, place, 0.0, 0.1) for place in (0, 4, 8)]
    assert tokens_of(phones, [3, 6, 8, 12]) == [0, 1, 3]


def test_names_without_times_are_the_same():
    text = "twelve green stars"
    reading = espeak.read(text, "en-us", 175)
    assert espeak.names(text, "en-us") == reading.names
    assert [phone.ipa for phone in timed(reading)] == [phone.ipa for phone in events(text, "en-us")]


@pytest.mark.parametrize(
    ("text", "voice", "told"),
    [
        ("", "en-us", "nothing to say in ''"),
        (" \n\t", "en-us", "nothing to say"),
        ("...", "en-us", "nothing to say"),
        ("a" * (MAX_CHARACTERS + 1), "en-us", "found a text of 20001 characters; accepted are at most 20000"),
        ("hello", "xx", "no voice 'xx'"),
        ("hello", "en-us+nobody", "no variant 'nobody'; it has .*Andy"),
    ],
)
def test_what_cannot_be_read_is_refused(text, voice, told):
    with pytest.raises(ValueError, match=told):
        events(text, voice)


def test_a_voice_that_is_refused_leaves_no_other_in_its_place():
    before = said("bonjour", "fr")
    with pytest.raises(ValueError):
        events("hello", "fr-fr")
    assert said("bonjour", "fr") == before != said("bonjour", "de")


def test_control_characters_count_as_spaces():
    phones = events("red\x00\x07blue", "en-us")
    assert [phone.place for phone in phones][-2] == 5


def test_threads_do_not_disturb_each_other():
    wanted = {voice: said("radio banana", voice) for voice in ("en-us", "de", "fr", "ru")}
    wrong = []

    def read_often(voice):
        wrong.extend(voice for _ in range(20) if said("radio banana", voice) != wanted[voice])

    threads = [threading.Thread(target=read_often, args=[voice]) for voice in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
