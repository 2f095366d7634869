"""Intervals and paired tests by resampling utterances (Koehn 2004; Bisani and Ney 2004)."""

from collections.abc import Mapping
from zlib import crc32

import numpy as np

from .measures import Measure

RESAMPLES = 1000
_AT_ONCE = 100  # resamples in memory


def resampled_sums(rows: np.ndarray, seed: int, label: str, resamples: int = RESAMPLES) -> np.ndarray:
    """Sums of rows [N, K] drawn with replacement -> [resamples, K].

    The draws depend on the seed, the label and N alone, so that two systems that answered the same items are
    resampled alike, and a language's interval is the same whatever else was measured.
    """
    rng = np.random.default_rng([seed, crc32(label.encode())])
    size = len(rows)
    sums = []
    for start in range(0, resamples, _AT_ONCE):
        count = min(_AT_ONCE, resamples - start)
        sums.append(rng.multinomial(size, np.full(size, 1 / size), size=count) @ rows)
    return np.concatenate(sums)


def resampled_values(measure: Measure, rows: np.ndarray, seed: int, label: str) -> np.ndarray:
    """The figure of each resample [RESAMPLES]; NaN where a resample has nothing to divide by."""
    return np.array([measure.value(sums) for sums in resampled_sums(rows, seed, label)])


def interval(values: np.ndarray) -> tuple[float, float] | None:
    """The middle 95% of resampled figures; None if no resample has a figure."""
    told = values[~np.isnan(values)]
    if not len(told):
        return None
    low, high = np.percentile(told, [2.5, 97.5])
    return float(low), float(high)


def macro(values: Mapping[str, np.ndarray]) -> np.ndarray:
    """The mean over languages of each resample; a language without a figure there is left out of that mean."""
    stacked = np.stack(list(values.values()))
    told = ~np.isnan(stacked)
    sums = np.where(told, stacked, 0.0).sum(0)
    return np.divide(sums, told.sum(0), out=np.full(stacked.shape[1], np.nan), where=told.any(0))


def p_value(differences: np.ndarray) -> float:
    """Two-sided: how often the sign of a resampled difference is not the common one, doubled, at most 1."""
    told = differences[~np.isnan(differences)]
    if not len(told):
        return float("nan")
    return float(min(1.0, 2 * min((told <= 0).mean(), (told >= 0).mean())))
