"""From answers to figures with intervals, by language and overall."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .answering import Reply
from .bootstrap import interval, macro, resampled_values
from .items import Item
from .measures import Measure, measures


@dataclass(frozen=True)
class Scored:
    """One figure of one language: its measure, the rows of its items, and its resampled values."""

    measure: Measure
    rows: np.ndarray
    resampled: np.ndarray

    def told(self) -> dict[str, Any]:
        return {"name": self.measure.name, **_told(self.measure.value(self.rows.sum(0)), self.resampled)}


def score(task: str, items: Sequence[Item], texts: Sequence[str], seed: int) -> dict[str, Any]:
    """The figures of a task: "languages" each with its "figures", and "overall".

    Overall, `macro` is the mean of the languages' first figures, which published tables tell, and `corpus` the
    figure of all items as one text.
    """
    by_language = scored(task, items, texts, seed)
    first = {language: figures[0] for language, figures in by_language.items()}
    measure = next(iter(first.values())).measure
    values = [one.measure.value(one.rows.sum(0)) for one in first.values()]
    told = [value for value in values if not math.isnan(value)]
    mean = sum(told) / len(told) if told else math.nan
    pooled = np.concatenate([one.rows for one in first.values()])
    signatures = {one.measure.signature for figures in by_language.values() for one in figures} - {None}
    return {
        "measure": _one_name(sorted({one.measure.name for one in first.values()})),
        "better": measure.better,
        "percent": measure.percent,
        "signatures": sorted(signatures),
        "languages": {
            language: {"items": len(figures[0].rows), "figures": [one.told() for one in figures]}
            for language, figures in by_language.items()
        },
        "overall": {
            "items": len(items),
            "macro": _told(mean, macro({language: one.resampled for language, one in first.items()})),
            "corpus": _told(measure.value(pooled.sum(0)), resampled_values(measure, pooled, seed, f"{task} corpus")),
        },
    }


def scored(task: str, items: Sequence[Item], texts: Sequence[str], seed: int) -> dict[str, list[Scored]]:
    """The figures of each language, in the order of their names."""
    found = {}
    for language in sorted({item.language for item in items}):
        at = [number for number, item in enumerate(items) if item.language == language]
        own, said = [items[number] for number in at], [texts[number] for number in at]
        found[language] = []
        for measure in measures(task, language):
            rows = measure.rows(own, said)
            values = resampled_values(measure, rows, seed, f"{task} {language}")
            found[language].append(Scored(measure, rows, values))
    return found


def _one_name(names: list[str]) -> str:
    return " or ".join(reversed(names))  # "WER or CER"


def _told(value: float, resampled: np.ndarray) -> dict[str, Any]:
    low, high = interval(resampled) or (None, None)
    return {"value": None if math.isnan(value) else value, "low": low, "high": high}


def speed(items: Sequence[Item], replies: Sequence[Reply], seconds: float, batch_size: int) -> dict[str, Any]:
    """How fast the answers came: of one process, media opened ahead; times of a batch count for each of its items."""
    heard = sum(float(item.extra.get("duration_s") or 0) for item in items)
    made = sum(reply.made_audio_s or 0 for reply in replies)
    return {
        "items": len(items),
        "seconds": seconds,
        "items_a_second": len(items) / seconds if seconds else None,
        "batch_size": batch_size,
        "rtfx": heard / seconds if heard and seconds else None,
        "rtfx_of_made_sound": made / seconds if made and seconds else None,
        "first_token_s": _percentiles([reply.first_token_s for reply in replies]),
        "first_audio_s": _percentiles([reply.first_audio_s for reply in replies]),
    }


def _percentiles(times: Sequence[float | None]) -> dict[str, float] | None:
    told = [one for one in times if one is not None]
    return {f"p{at}": float(np.percentile(told, at)) for at in (50, 95)} if told else None
