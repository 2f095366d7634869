"""Two runs side by side: the difference, its interval, and whether chance explains it."""

import json
import random

import pytest

from multimodal.evaluation.answering import Reply
from multimodal.evaluation.compare import compare, table
from multimodal.evaluation.items import Item
from multimodal.evaluation.results import FORMAT, task_results, versions


def write(folder, right: dict[str, list[bool]], seed: int = 0, task: str = "image-qa", question: str = "?"):
    """A run whose answers are right or wrong as told, by language."""
    items = [
        Item(f"{language}-{at}", task, language, question, ("yes",))
        for language, told in right.items()
        for at in range(len(told))
    ]
    replies = [Reply("yes" if one else "no") for told in right.values() for one in told]
    section = task_results(task, "made up", items, replies, seed)
    folder.mkdir()
    told = {"format": FORMAT, "settings": {"seed": seed}, "versions": versions(), "tasks": [section]}
    (folder / "results.json").write_text(json.dumps(told))
    return folder


def drawn(share: float, seed: int, count: int = 200) -> list[bool]:
    rng = random.Random(seed)
    return [rng.random() < share for _ in range(count)]


def test_a_run_does_not_differ_from_itself(tmp_path):
    run = write(tmp_path / "a", {"English": drawn(0.7, 1), "Hindi": drawn(0.5, 2)})
    found = compare(run, run / "results.json")
    assert [one.language for one in found] == ["English", "Hindi", "mean of languages"]
    assert all((one.a, one.low, one.high, one.p) == (one.b, 0, 0, 1) for one in found)


def test_a_clear_difference_is_told_from_chance(tmp_path):
    first, much = drawn(0.5, 1), drawn(0.75, 2)
    a = write(tmp_path / "a", {"English": first, "Hindi": first})
    b = write(tmp_path / "b", {"English": much, "Hindi": first[::-1]})
    english, hindi, mean = compare(a, b)
    assert english.p < 0.01 and 0 < english.low < english.b - english.a < english.high
    assert hindi.p > 0.05 and hindi.low < 0 < hindi.high
    assert mean.b - mean.a == pytest.approx((english.b - english.a + hindi.b - hindi.a) / 2)
    assert english.high - english.low > mean.high - mean.low
    assert table([english]).row_count == 1


def test_pairing_sees_what_two_intervals_do_not(tmp_path):
    """One run is right wherever the other is, and in six items more: by pairs that is no chance."""
    base = drawn(0.5, 3)
    wrong = [at for at, one in enumerate(base) if not one][:6]
    better = [one or at in wrong for at, one in enumerate(base)]
    a, b = write(tmp_path / "a", {"English": base}), write(tmp_path / "b", {"English": better})
    [found] = compare(a, b)
    assert found.b - found.a == pytest.approx(6 / 200) and found.low > 0 and found.p < 0.02
    [back] = compare(b, a)
    assert (back.low, back.high, back.p) == (-found.high, -found.low, found.p)


def test_runs_on_other_items_are_refused(tmp_path):
    a = write(tmp_path / "a", {"English": drawn(0.5, 1)})
    with pytest.raises(ValueError, match="10 items are in one of"):
        compare(a, write(tmp_path / "b", {"English": drawn(0.5, 1, 190)}))
    with pytest.raises(ValueError, match="a task in common"):
        compare(a, write(tmp_path / "c", {"English": drawn(0.5, 1)}, task="spoken-qa"))


@pytest.mark.parametrize("content", [None, "{", "[]", '{"format": 99}'])
def test_what_is_no_run_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=r"accepted: .*results.json"):
        compare(tmp_path, tmp_path)
