"""Asks a model every item of a data set: in batches of like length, shared by processes, going on after a kill.

The batches depend on the items alone. Whatever the number of processes, and however often a run was killed, each
batch is answered once and whole, so the answers are the same.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .answer_log import AnswerLog, read_records
from .answering import Answers, Reply, as_reply
from .items import Item
from .processes import Processes
from .question_answers import refuse_unscorable

QUESTION_TASKS = ("spoken-qa", "image-qa", "video-qa")
_BATCHES_AHEAD = 2


def checked(items: Iterable[Item], task: str) -> list[Item]:
    """The items as a list. Raises ValueError for none, for an id that comes twice and for one that cannot be scored."""
    found: dict[str, Item] = {}
    for item in items:
        if item.id in found:
            raise ValueError(f"the items of {task} have the id {item.id!r} twice; each is needed once")
        if task in QUESTION_TASKS:
            refuse_unscorable(item)
        found[item.id] = item
    if not found:
        raise ValueError(f"the data has no item for {task} in the languages asked for")
    return list(found.values())


def batches_of(items: Sequence[Item], size: int) -> list[list[Item]]:
    """Items of like length together, the longest first, so that memory and the time left are known early."""
    if size < 1:
        raise ValueError(f"the batch size is {size}; accepted: 1 or more")
    ordered = sorted(items, key=lambda item: (-_length(item), item.id))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _length(item: Item) -> float:
    return float(item.extra.get("duration_s") or len(item.prompt or ""))


def ask_all(
    model: Answers,
    items: Sequence[Item],
    logs: Path,
    name: str,
    *,
    batch_size: int,
    workers: int,
    processes: Processes,
) -> None:
    """Answer what the logs `logs/NAME.RANK.jsonl` do not hold yet; returns when every process has done its share."""
    batches = batches_of(items, batch_size)
    done = {record["batch"] for record in _records(logs, name)}
    processes.wait()  # nobody writes before all have read
    mine = [at for at in range(processes.rank, len(batches), processes.count) if at not in done]
    total = sum(len(batches[at]) for at in range(processes.rank, len(batches), processes.count))
    first = total - sum(len(batches[at]) for at in mine)
    if mine and hasattr(model, "prepare"):
        model.prepare(items)
    bar = tqdm(total=total, initial=first, desc=name, unit="item", disable=None if processes.leads else True)
    loaded_batches = _loaded(model, [batches[at] for at in mine], workers)
    with AnswerLog(logs / f"{name}.{processes.rank}.jsonl") as log, bar, closing(loaded_batches):
        begun = time.perf_counter()
        for at, loaded in zip(mine, loaded_batches, strict=True):
            replies = _answer(model, batches[at], loaded)
            seconds, begun = time.perf_counter() - begun, time.perf_counter()
            answers = [
                {"id": item.id} | {key: value for key, value in asdict(reply).items() if value is not None}
                for item, reply in zip(batches[at], replies, strict=True)
            ]
            log.append({"batch": at, "seconds": seconds, "answers": answers})
            bar.update(len(answers))
    processes.wait()


def _answer(model: Answers, batch: Sequence[Item], loaded: list[Any] | None) -> list[Reply]:
    answers = model.answer(batch) if loaded is None else model.answer(batch, loaded)
    if len(answers) != len(batch):
        raise ValueError(f"the model gave {len(answers)} answers to a batch of {len(batch)} items")
    return [as_reply(answer) for answer in answers]


def _loaded(model: Answers, batches: Sequence[list[Item]], workers: int) -> Iterator[list[Any] | None]:
    """What `model.load` gives for each batch, some batches ahead; None for a model without it."""
    if not hasattr(model, "load"):
        yield from (None for _ in batches)
        return
    if not workers:
        yield from ([model.load(item) for item in batch] for batch in batches)
        return
    waiting: deque[list[Future]] = deque()
    left = iter(batches)
    pool = ThreadPoolExecutor(workers)
    try:
        while True:
            while len(waiting) <= _BATCHES_AHEAD and (batch := next(left, None)) is not None:
                waiting.append([pool.submit(model.load, item) for item in batch])
            if not waiting:
                return
            yield [future.result() for future in waiting.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)


def _records(logs: Path, name: str) -> Iterator[dict[str, Any]]:
    for path in sorted(logs.glob(f"{name}.*.jsonl")):
        yield from read_records(path)


def read_answers(items: Sequence[Item], logs: Path, name: str) -> tuple[list[Reply], float]:
    """The reply to each item, in their order, and the seconds that all batches took.

    Raises ValueError for an item that was not answered, or answered twice.
    """
    replies: dict[str, Reply] = {}
    seconds = 0.0
    for record in _records(logs, name):
        seconds += record["seconds"]
        for answer in record["answers"]:
            fields = dict(answer)
            identity = fields.pop("id")
            if identity in replies:
                raise ValueError(f"{logs}: found two answers to {identity}; remove the folder and run again")
            replies[identity] = Reply(**fields)
    if missing := [item.id for item in items if item.id not in replies]:
        raise ValueError(f"{logs}: found no answer to {len(missing)} items, the first {missing[0]}; run again")
    return [replies[item.id] for item in items], seconds
