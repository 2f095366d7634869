"""Two runs on the same items, side by side: differences, their intervals, and a paired bootstrap test."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from .bootstrap import interval, macro, p_value
from .items import Item
from .results import read_items, read_results
from .scoring import Scored, scored


@dataclass(frozen=True)
class Difference:
    """The first figure of a task in two runs. low, high: of b - a; p: of no difference, two-sided."""

    task: str
    language: str
    measure: str
    percent: bool
    items: int
    a: float
    b: float
    low: float | None
    high: float | None
    p: float


def compare(a: Path, b: Path) -> list[Difference]:
    """The differences of run b from run a, by task and language and for the mean of languages.

    Both are resampled alike, so a difference is that of the same draws of items.

    Raises ValueError if they share no task, or differ in the items or references of one that they share.
    """
    first, second = read_results(a), read_results(b)
    by_task = {section["task"]: section for section in second["tasks"]}
    shared = [(section, by_task[section["task"]]) for section in first["tasks"] if section["task"] in by_task]
    if not shared:
        raise ValueError(
            f"found {', '.join(one['task'] for one in first['tasks'])} in {a} and {', '.join(by_task)} in {b}; "
            "two runs need a task in common"
        )
    seed = first["settings"]["seed"]
    return [difference for pair in shared for difference in _of_task(*pair, seed, (a, b))]


def _of_task(one: dict[str, Any], other: dict[str, Any], seed: int, paths: tuple[Path, Path]) -> Iterator[Difference]:
    items, said = read_items(one)
    answers = _answers_to(items, other, paths)
    task = one["task"]
    ours, theirs = scored(task, items, said, seed), scored(task, items, answers, seed)
    pairs = {language: (ours[language][0], theirs[language][0]) for language in ours}
    for language, (mine, its) in pairs.items():
        label = mine.measure.name
        draws = its.resampled - mine.resampled
        yield _difference(task, language, label, mine, len(mine.rows), _value(mine), _value(its), draws)
    if len(pairs) > 1:
        draws = macro({key: pair[1].resampled for key, pair in pairs.items()}) - macro(
            {key: pair[0].resampled for key, pair in pairs.items()}
        )
        means = [float(np.nanmean([_value(pair[at]) for pair in pairs.values()])) for at in (0, 1)]
        like = next(iter(pairs.values()))[0]
        yield _difference(task, "mean of languages", one["measure"], like, len(items), *means, draws)


def _answers_to(items: list[Item], other: dict[str, Any], paths: tuple[Path, Path]) -> list[str]:
    """The other run's answers in the order of these items. Raises ValueError unless it has just these."""
    theirs, answers = read_items(other)
    by_id = {item.id: (item, answer) for item, answer in zip(theirs, answers, strict=True)}
    task = other["task"]
    if different := sorted({item.id for item in items} ^ set(by_id)):
        raise ValueError(
            f"{task}: {len(different)} items are in one of {paths[0]} and {paths[1]} only, the first {different[0]}; "
            "a paired test needs the same items: evaluate both on the same data, languages, limit and seed"
        )
    changed = [item.id for item in items if by_id[item.id][0].references != item.references]
    if changed:
        raise ValueError(f"{task}: {len(changed)} items have other references in {paths[1]}, the first {changed[0]}")
    return [by_id[item.id][1] for item in items]


def _value(one: Scored) -> float:
    return one.measure.value(one.rows.sum(0))


def _difference(
    task: str, language: str, name: str, like: Scored, items: int, a: float, b: float, draws: np.ndarray
) -> Difference:
    low, high = interval(draws) or (None, None)
    return Difference(task, language, name, like.measure.percent, items, a, b, low, high, p_value(draws))


def table(differences: list[Difference]) -> Table:
    """The differences for a terminal."""
    found = Table("task", "language", "figure", "items", "A", "B", "B - A (95%)", "p")
    for one in differences:
        scale, unit = (100, ", %") if one.percent else (1, "")
        change = f"{scale * (one.b - one.a):+.1f}"
        if one.low is not None:
            change += f" ({scale * one.low:+.1f} to {scale * one.high:+.1f})"
        cells = (f"{scale * one.a:.1f}", f"{scale * one.b:.1f}", change, f"{one.p:.3f}")
        found.add_row(one.task, one.language, one.measure + unit, str(one.items), *cells)
    return found
