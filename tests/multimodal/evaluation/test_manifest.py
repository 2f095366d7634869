"""Data of one's own: what a line may hold, and what is said of a line that is wrong."""

import json

import pytest

from multimodal.evaluation.data import open_dataset


@pytest.fixture
def folder(tmp_path):
    for name in ("one.wav", "two.wav", "one.png", "two.png"):
        (tmp_path / name).write_bytes(b"-")
    return tmp_path


def jsonl(folder, *rows):
    path = folder / "mine.jsonl"
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), "utf-8")
    return str(path)


def tsv(folder, *rows):
    path = folder / "mine.tsv"
    path.write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")
    return str(path)


def test_jsonl_and_tsv_say_the_same(folder):
    lines = jsonl(
        folder,
        {"id": "a", "audio": "one.wav", "language": "Hindi", "text": "एक"},
        {"id": "b", "audio": "two.wav", "language": "fr", "text": 'dit "un"'},
    )
    table = tsv(
        folder,
        ("id", "audio", "language", "text"),
        ("a", "one.wav", "Hindi", "एक"),
        ("b", "two.wav", "fr", 'dit "un"'),
    )
    first, second = open_dataset("asr", lines), open_dataset("asr", table)
    assert first.items == second.items
    assert [(one.language, one.references, one.audio) for one in first] == [
        ("Hindi", ("एक",), folder / "one.wav"),
        ("French", ('dit "un"',), folder / "two.wav"),
    ]
    assert first.name == lines


def test_languages_and_limit_choose(folder):
    path = jsonl(
        folder, *({"audio": "one.wav", "language": code, "text": code} for code in ("hi", "fr", "hi", "hi", "en"))
    )
    assert [one.id for one in open_dataset("asr", path, ["Hindi"], 2)] == ["1", "3"]
    assert [one.id for one in open_dataset("asr", path, limit=1)] == ["1", "2", "5"]
    with pytest.raises(ValueError, match="no line in Greek; found English, French, Hindi"):
        open_dataset("asr", path, ["Greek"])


def test_questions_have_a_metric_and_keep_what_else_is_told(folder):
    path = jsonl(
        folder,
        {"image": "one.png", "prompt": "How many?", "references": ["two", "2"], "source": "mine"},
        {"image": "one.png", "prompt": "Which?", "text": "B", "options": ["red", "blue"]},
        {"image": "one.png", "prompt": "What?", "text": "7", "metric": "relaxed"},
        {"image": ["one.png", "two.png"], "prompt": "Is <image 2> larger?", "text": "yes"},
    )
    items = open_dataset("image-qa", path).items
    assert [one.extra for one in items] == [
        {"source": "mine", "metric": "exact"},
        {"options": ["red", "blue"], "metric": "choice"},
        {"metric": "relaxed"},
        {"metric": "exact"},
    ]
    assert items[0].references == ("two", "2")
    assert [one.images for one in items[2:]] == [(folder / "one.png",), (folder / "one.png", folder / "two.png")]
    lacking = jsonl(folder, {"image": ["one.png", "three.png"], "prompt": "?", "text": "x"})
    with pytest.raises(ValueError, match=r"line 1 of .* names .*three.png, which is not there"):
        open_dataset("image-qa", lacking)


def test_a_text_to_say_is_its_own_prompt(folder):
    [one] = open_dataset("tts-intelligibility", jsonl(folder, {"text": "It is Monday."}))
    assert (one.prompt, one.references, one.language) == ("It is Monday.", ("It is Monday.",), "English")


@pytest.mark.parametrize(
    ("task", "rows", "message"),
    [
        ("asr", [{"audio": "one.wav"}], "line 1 of .*mine.jsonl has no text; asr needs audio, text"),
        ("asr", [{"text": "one"}], "line 1 of .* has no audio"),
        ("image-qa", [{"image": "one.png", "text": "x"}], "has no prompt; image-qa needs image, prompt, text"),
        ("asr", [{"audio": "three.wav", "text": "x"}], "line 1 of .* names .*three.wav, which is not there"),
        ("asr", [{"audio": "one.wav", "text": "x", "language": "xx"}], "line 1 of .*: unknown language 'xx'"),
        ("asr", [{"audio": "one.wav", "text": "x", "id": "a"}] * 2, "line 2 of .* has the id 'a' of line 1"),
        ("asr", [{"audio": "one.wav", "references": []}], r"found references \[\]"),
        ("asr", [[1]], "line 1 of .* is list; accepted: a JSON object"),
        ("asr", [], "has no line"),
        (
            "image-qa",
            [{"image": "one.png", "prompt": "?", "text": "x", "metric": "bleu"}],
            "found metric 'bleu'; accepted: exact",
        ),
    ],
)
def test_a_wrong_line_is_named(folder, task, rows, message):
    with pytest.raises(ValueError, match=message):
        open_dataset(task, jsonl(folder, *rows))


def test_broken_files_are_named(folder):
    broken = folder / "broken.jsonl"
    broken.write_text('{"audio": "one.wav", "text": "x"}\n{"audio": \n')
    with pytest.raises(ValueError, match=r"line 2 of .*broken.jsonl is no JSON"):
        open_dataset("asr", str(broken))
    with pytest.raises(ValueError, match=r"line 3 of .*mine.tsv has other columns"):
        open_dataset("asr", tsv(folder, ("audio", "text"), ("one.wav", "x"), ("two.wav",)))
    with pytest.raises(ValueError, match=r"found no manifest .*none.tsv"):
        open_dataset("asr", str(folder / "none.tsv"))
