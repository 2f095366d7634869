"""Every item is answered once, in the same batches, whatever happens to the processes."""

import json
import re
import threading
from itertools import chain

import pytest

from multimodal.evaluation.items import Item
from multimodal.evaluation.processes import Processes
from multimodal.evaluation.runner import ask_all, batches_of, checked, read_answers

from .plain_models import Forgetful, Loading, sentences


def run(model, items, logs, processes=Processes(), batch_size=4, workers=0):  # noqa: B008
    ask_all(model, items, logs, "asr", batch_size=batch_size, workers=workers, processes=processes)
    return read_answers(items, logs, "asr")


def flat(lists) -> list:
    return list(chain.from_iterable(lists))


def texts(model, items, logs, **how) -> list[str]:
    return [reply.text for reply in run(model, items, logs, **how)[0]]


def test_batches_are_of_like_length_and_hold_every_item():
    items = sentences(23)
    batches = batches_of(items, 5)
    lengths = [[item.extra["duration_s"] for item in batch] for batch in batches]
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
    assert flat(lengths) == sorted(flat(lengths), reverse=True)
    assert batches_of(items[::-1], 5) == batches  # the order of the data decides nothing
    with pytest.raises(ValueError, match="batch size is 0"):
        batches_of(items, 0)


@pytest.mark.parametrize("workers", [0, 3])
def test_answers_come_in_the_order_of_the_items(tmp_path, workers):
    items = sentences(23)
    replies, seconds = run(Loading(), items, tmp_path, workers=workers)
    assert [reply.text for reply in replies] == [Forgetful()._said(item) for item in items]
    assert {reply.first_token_s for reply in replies} == {0.25} and seconds > 0


def test_media_are_opened_ahead_in_threads(tmp_path):
    """While a batch is answered, the next ones are being opened."""
    opened, begun = threading.Event(), []

    class Slow(Loading):
        def load(self, item):
            begun.append(item.id)
            if len(begun) > 4:
                opened.set()
            return super().load(item)

        def answer(self, batch, loaded):
            assert opened.wait(10)  # nothing after the first batch would be opened before it is answered
            return super().answer(batch, loaded)

    run(Slow(), sentences(8), tmp_path, workers=1)


@pytest.mark.parametrize("stops", [[0], [1, 1, 1], [5], [3, 2]])
def test_a_stopped_run_goes_on_and_asks_nothing_twice(tmp_path, stops):
    items, asked = sentences(22), []
    for stop in stops:
        model = Forgetful(stop_after=stop)
        with pytest.raises(KeyboardInterrupt):
            run(model, items, tmp_path)
        asked += model.asked
    model = Forgetful()
    found = texts(model, items, tmp_path)
    asked += model.asked
    assert sorted(flat(asked)) == sorted(item.id for item in items)
    assert found == texts(Forgetful(), items, tmp_path / "whole")


def test_a_line_that_a_kill_cut_off_is_asked_again_whole(tmp_path):
    items = sentences(20)
    whole = texts(Forgetful(), items, tmp_path / "whole")
    path = tmp_path / "whole" / "asr.0.jsonl"
    content = path.read_bytes()
    ends = [at for at in range(len(content)) if content[at : at + 1] == b"\n"]
    for cut in (0, 1, ends[1] - 1, ends[1], ends[1] + 1, ends[2] + 40, len(content) - 1):
        logs = tmp_path / str(cut)
        logs.mkdir()
        (logs / path.name).write_bytes(content[:cut])
        model = Forgetful()
        assert texts(model, items, logs) == whole
        assert len(model.asked) == 5 - content[:cut].count(b"\n")


def test_a_damaged_line_is_named(tmp_path):
    items = sentences(8)
    run(Forgetful(), items, tmp_path)
    path = tmp_path / "asr.0.jsonl"
    path.write_bytes(b"{]\n" + path.read_bytes())
    with pytest.raises(ValueError, match=re.escape(f"{path}: line 1 is damaged")):
        run(Forgetful(), items, tmp_path)


class _Alone(Processes):
    """One of several processes whose others are never waited for."""

    def wait(self):
        pass


def test_processes_share_the_batches_and_another_number_of_them_may_go_on(tmp_path):
    items = sentences(40)
    models = [Forgetful(), Forgetful(stop_after=1)]
    ask = dict(batch_size=4, workers=0)
    ask_all(models[0], items, tmp_path, "asr", processes=_Alone(0, 2), **ask)
    with pytest.raises(KeyboardInterrupt):
        ask_all(models[1], items, tmp_path, "asr", processes=_Alone(1, 2), **ask)
    assert [len(model.asked) for model in models] == [5, 1]
    with pytest.raises(ValueError, match="found no answer to 16 items"):
        read_answers(items, tmp_path, "asr")
    last = Forgetful()
    assert texts(last, items, tmp_path) == texts(Forgetful(), items, tmp_path / "one")
    asked = flat(models[0].asked + models[1].asked + last.asked)
    assert sorted(asked) == sorted(item.id for item in items)


def test_two_answers_to_one_item_are_refused(tmp_path):
    items = sentences(8)
    run(Forgetful(), items, tmp_path)
    record = json.loads((tmp_path / "asr.0.jsonl").read_text().splitlines()[0])
    (tmp_path / "asr.1.jsonl").write_text(json.dumps(record) + "\n")
    with pytest.raises(ValueError, match="found two answers to"):
        read_answers(items, tmp_path, "asr")


def test_a_model_that_answers_too_little_is_refused(tmp_path):
    class Short(Forgetful):
        def answer(self, batch):
            return super().answer(batch)[1:]

    with pytest.raises(ValueError, match="gave 3 answers to a batch of 4"):
        run(Short(), sentences(4), tmp_path)


def test_items_are_checked_before_anything_is_asked():
    with pytest.raises(ValueError, match=r"no item for asr"):
        checked([], "asr")
    with pytest.raises(ValueError, match=r"the id 'English-000' twice"):
        checked(sentences(1) * 2, "asr")
    asked = Item("q", "video-qa", "English", "why?", ("so",), extra={"metric": "wups"})
    with pytest.raises(ValueError, match="WordNet"):
        checked([asked], "video-qa")
