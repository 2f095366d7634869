"""Contamination by the paper's rule, against the rule written out, and in bounded memory."""

import random
import tracemalloc

import pytest

from multimodal.evaluation.contamination import Contamination, contamination, tokens, training_texts
from multimodal.evaluation.items import Item


def item(name, text, prompt=None):
    return Item(name, "asr", "English", prompt, (text,))


def words(rng, number):
    return [f"w{rng.randrange(12)}" for _ in range(number)]


def share_written_out(test, training):
    """Of the tokens, those that lie in an 8-gram that stands anywhere in a training text."""
    inside = set()
    for at in range(len(test) - 7):
        if any(test[at : at + 8] == text[there : there + 8] for text in training for there in range(len(text) - 7)):
            inside |= set(range(at, at + 8))
    return len(inside) / len(test)


def test_the_share_is_that_of_the_rule_written_out():
    rng = random.Random(0)
    training = [words(rng, 60) for _ in range(8)]
    tests = []
    for _ in range(60):
        start, length = rng.randrange(40), rng.randrange(6, 20)
        tests.append([*words(rng, rng.randrange(6)), *rng.choice(training)[start : start + length], *words(rng, 9)])
    found = contamination(
        [item(str(at), " ".join(test)) for at, test in enumerate(tests)], (" ".join(text) for text in training)
    )
    assert found.shares == {str(at): share_written_out(test, training) for at, test in enumerate(tests)}
    assert len(set(found.shares.values())) > 5


def test_seven_words_in_common_are_not_enough_and_eight_are():
    text = "one two three four five six seven eight nine ten"
    assert contamination([item("a", text)], ["two three four five six seven eight"]).shares == {"a": 0.0}
    assert contamination([item("a", text)], ["two three four five six seven eight nine"]).shares == {"a": 0.8}


def test_an_ngram_does_not_run_from_one_text_into_the_next():
    text = "one two three four five six seven eight"
    assert contamination([item("a", text)], ["one two three four", "five six seven eight"]).shares == {"a": 0.0}


def test_case_punctuation_and_width_do_not_hide_a_copy():
    found = contamination(
        [item("a", "One, two; THREE four - five six: seven (eight) ９!")], ["one two three four five six seven eight 9"]
    )
    assert found.shares == {"a": 1.0}


def test_a_script_without_spaces_is_cut_at_its_characters():
    assert tokens("東京は雨、 Tokyo 2020") == ["東", "京", "は", "雨", "tokyo", "2020"]
    assert contamination([item("a", "今日はとても良い天気")], ["ああ今日はとても良い天気ですね"]).shares == {"a": 1.0}


def test_prompt_and_references_are_both_checked():
    asked = item("a", "four", "how many red things are there in the picture")
    found = contamination([asked], ["how many red things are there in the picture"])
    assert found.shares == {"a": 1.0}


def test_figures_are_shares_of_items_by_threshold_and_short_items_are_told():
    found = Contamination({"a": 0.0, "b": 0.5, "c": 1.0, "d": None})
    assert found.figures((0.1, 0.5, 0.6, 1.0)) == {"0.1": 0.5, "0.5": 0.5, "0.6": 0.25, "1": 0.25}
    assert found.too_short == 1
    with pytest.raises(ValueError, match="no item"):
        contamination([], ["a"])


def test_memory_does_not_grow_with_the_training_set():
    rng = random.Random(1)
    lines, text_bytes = 4000, 0

    def training():
        nonlocal text_bytes
        for _ in range(lines):
            line = " ".join(str(rng.randrange(10**9)) for _ in range(20))
            text_bytes += len(line)
            yield line

    tracemalloc.start()
    contamination([item("a", "one two three four five six seven eight nine")], training())
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert text_bytes > 750_000  # and the hashes of its 8-grams would be several times that
    assert peak_bytes < 150_000  # one line at a time takes about 15,000


def test_manifests_are_read_in_three_formats(tmp_path):
    lines = tmp_path / "train.jsonl"
    lines.write_text('{"text": "one"}\n\n{"prompt": "two", "references": ["three", "four"]}\n')
    assert list(training_texts(lines)) == ["one", "two", "three", "four"]
    table = tmp_path / "train.tsv"
    table.write_text("path\ttext\na.wav\thello there\n")
    assert "hello there" in list(training_texts(table))
    plain = tmp_path / "train.txt"
    plain.write_text("one\ntwo\n")
    assert [text.strip() for text in training_texts(plain)] == ["one", "two"]


def test_a_line_without_text_and_a_missing_file_are_named(tmp_path):
    lines = tmp_path / "train.jsonl"
    lines.write_text('{"text": "one"}\n{"path": "a.wav"}\n')
    with pytest.raises(ValueError, match=r"line 2 of .*train.jsonl has none of text, prompt, references"):
        list(training_texts(lines))
    with pytest.raises(ValueError, match=r"found no training manifest .*other.jsonl"):
        list(training_texts(tmp_path / "other.jsonl"))
