import random
import unicodedata

import pytest

from multimodal.languages import LANGUAGES, find_language
from multimodal.nano.text.phrases import (
    KINDS,
    Item,
    build_phrase_table,
    is_held_out,
    phrase_table,
    sample_items,
    say,
    say_all,
)


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_every_name_is_in_its_own_script(language):
    row = phrase_table()[language.code]
    scripts = {"KANA": ("HIRAGANA", "KATAKANA")}.get(language.script, (language.script,))
    letters = {
        letter for kind in (*KINDS, "month_in_date") for name in row[kind] for letter in name if letter.isalpha()
    }
    if language.code == "ja":  # dates write the month as a number, so this list is not used
        letters = {letter for kind in KINDS for name in row[kind] for letter in name if letter.isalpha()}
    assert not [letter for letter in letters if not unicodedata.name(letter).startswith(scripts)]


def test_all_languages_say_the_same_things_and_no_two_alike():
    for language in LANGUAGES:
        row = phrase_table()[language.code]
        assert [len(row[kind]) for kind in KINDS] == [12, 7, 45, 34]
        for kind in KINDS:
            assert len(set(row[kind])) == len(row[kind])
            for name in row[kind]:
                assert name == name.strip() == unicodedata.normalize("NFC", name) and "\n" not in name


def test_table_is_what_babel_gives():
    pytest.importorskip("babel")
    assert build_phrase_table() == phrase_table()


def test_known_phrases():
    date = Item("date", date=(5, 3, 1985))
    assert say(date, "en") == "March 5, 1985"
    assert say(date, "de") == "5. März 1985"
    assert say(date, "pt") == "5 de março de 1985"
    assert say(date, "ja") == "1985ねん3がつ5にち"
    assert say(date, "ru") == "5 марта 1985 года"
    assert say_all((Item("weekday", 0), Item("number", 12)), "zh") == "星期一、12"
    assert say(Item("month", 0), "de") == "Januar"  # a locale that leaks would say it in Chinese


def test_training_and_held_out_combinations_are_disjoint():
    rng = random.Random(0)
    training = {sample_items(rng) for _ in range(3000)}
    held_out = {sample_items(rng, held_out=True) for _ in range(300)}
    assert not training & held_out
    assert not any(map(is_held_out, training)) and all(map(is_held_out, held_out))
    assert all(len(items) > 1 or items[0].kind == "date" for items in held_out)


def test_languages_are_found_by_name_and_code():
    assert len(LANGUAGES) == 34
    assert find_language("hindi") is find_language("HI") is find_language(" Hindi ")
    assert find_language("hi").fleurs == "hi_in"
    assert {one.code for one in LANGUAGES if one.uses_character_error} == {"zh", "ja", "ko", "th"}
    with pytest.raises(ValueError, match=r"'Klingon'.*Arabic \(ar\).*Vietnamese \(vi\)"):
        find_language("Klingon")
