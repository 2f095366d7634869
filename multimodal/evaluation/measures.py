"""A task's figures as functions of sums: each answer gives a row of numbers, and a figure is computed from their sum.

So a corpus figure, its bootstrap interval and a paired test all come from the same rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..languages import find_language
from .items import Item
from .normalizers import MARKED_SCRIPTS, error_name, mixed_units, plain, units, units_with_marks
from .question_answers import score_answer
from .text_errors import count_edits


@dataclass(frozen=True)
class Measure:
    """A figure of a task.

    name: as published tables call it; percent: whether it is a share, told in percent; better: "lower" or "higher".
    rows: items and answers -> [N, K]; value: sums [K] of rows -> the figure, NaN where there is nothing to divide by.
    signature: of sacrebleu, which tells how it was computed.
    """

    name: str
    better: str
    rows: Callable[[Sequence[Item], Sequence[str]], np.ndarray]
    value: Callable[[np.ndarray], float]
    percent: bool = True
    signature: str | None = None


def measures(task: str, language: str) -> tuple[Measure, ...]:
    """The figures of a task in a language; the first one is the figure that the task is judged by."""
    if task in ("asr", "code-switch", "tts-intelligibility"):
        count, name = (mixed_units, "MER") if task == "code-switch" else (units, error_name(language))
        found = [_error(name, count), _utterance_mean("mean of utterances", count)]
        if task != "code-switch" and find_language(language).script in MARKED_SCRIPTS:
            found.append(_error("vowel signs kept", units_with_marks))
        return tuple(found)
    if task in ("ast-into-english", "ast-from-english"):
        return _translation(language if task == "ast-from-english" else "English")
    if task == "text-normalization":
        return (_mean("sentences right", _same_words), _error(error_name(language), units))
    return (_mean("accuracy", score_answer),)


def _ratio(sums: np.ndarray) -> float:
    return float(sums[0] / sums[1]) if sums[1] else float("nan")


def _error(name: str, count: Callable[[str, str], list[str]]) -> Measure:
    """Edits of all utterances over units of all references."""

    def rows(items: Sequence[Item], answers: Sequence[str]) -> np.ndarray:
        found = [
            count_edits(answer, item.references, item.language, count)
            for item, answer in zip(items, answers, strict=True)
        ]
        return np.array([[one.edits, one.length] for one in found], dtype=float)

    return Measure(name, "lower", rows, _ratio)


def _utterance_mean(name: str, count: Callable[[str, str], list[str]]) -> Measure:
    def rate(item: Item, answer: str) -> float:
        return count_edits(answer, item.references, item.language, count).rate

    return _mean(name, rate, "lower")


def _mean(name: str, score: Callable[[Item, str], float], better: str = "higher") -> Measure:
    def rows(items: Sequence[Item], answers: Sequence[str]) -> np.ndarray:
        return np.array([[score(item, answer), 1] for item, answer in zip(items, answers, strict=True)], dtype=float)

    return Measure(name, better, rows, _ratio)


def _same_words(item: Item, answer: str) -> float:
    """1 if every word is as a reference has it (paper, table 34: accuracy by sample)."""
    return float(plain(answer) in {plain(one) for one in item.references})


# What sacrebleu cuts a language's text with: as SeamlessM4T scores FLEURS, but by words where a segmenter is there.
_TOKENIZERS = {"Chinese": "zh", "Japanese": "ja-mecab", "Korean": "ko-mecab", "Thai": "char"}


@cache
def _translation(language: str) -> tuple[Measure, ...]:
    """BLEU and chrF of text in a language, from sacrebleu's own sums of n-grams (as its paired test takes them)."""
    from sacrebleu.metrics import BLEU, CHRF

    return tuple(
        _of_sacrebleu(name, metric)
        for name, metric in (("BLEU", BLEU(tokenize=_TOKENIZERS.get(language, "13a"))), ("chrF", CHRF()))
    )


def _of_sacrebleu(name: str, metric) -> Measure:
    def rows(items: Sequence[Item], answers: Sequence[str]) -> np.ndarray:
        most = max(len(item.references) for item in items)
        # references as columns, as sacrebleu takes them; where an item has fewer, its first stands in again
        columns = [[item.references[at if at < len(item.references) else 0] for item in items] for at in range(most)]
        return np.array(metric._extract_corpus_statistics(list(answers), columns), dtype=float)

    def value(sums: np.ndarray) -> float:
        return metric._aggregate_and_compute([sums.round().astype(int).tolist()]).score

    metric.corpus_score(["a"], [["a"]])  # the signature is known once something was scored
    signature = str(metric.get_signature()).replace("nrefs:1|", "")
    return Measure(name, "higher", rows, value, percent=False, signature=signature)
