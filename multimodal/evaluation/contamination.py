"""How much of a test set a training set has seen, by the paper's rule (section 5.1.4).

An item is contaminated at a threshold if at least that share of its tokens lies in 8-grams that occur anywhere in the
training data. A token is what stands between spaces after lower case and without punctuation; in scripts that write
none between words, a character (our choice: the paper does not say). What an item says are its prompt and references.

The training data are read once, line by line. Kept are the 8-byte hashes of only those of the test set's 8-grams
that were found, so that memory grows with the test set and not with the training set; two different 8-grams have
one hash once in 10^19.
"""

import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from .items import Item

NGRAM = 8
THRESHOLDS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
_TEXT_KEYS = ("text", "prompt", "references")  # of a JSONL manifest
_WITHOUT_SPACES = ("CJK", "HIRAGANA", "KATAKANA", "THAI")


@dataclass(frozen=True)
class Contamination:
    """By the id of each item the share of its tokens that lies in seen 8-grams; None where no 8-gram fits."""

    shares: dict[str, float | None]

    def contaminated(self, threshold: float) -> float:
        """The share of all items that are contaminated at the threshold; those too short to tell are not."""
        return sum(share is not None and share >= threshold for share in self.shares.values()) / len(self.shares)

    @property
    def too_short(self) -> int:
        """How many items no 8-gram fits into."""
        return sum(share is None for share in self.shares.values())

    def figures(self, thresholds: Sequence[float] = THRESHOLDS) -> dict[str, float]:
        """What the report shows: the share by threshold."""
        return {f"{threshold:g}": self.contaminated(threshold) for threshold in thresholds}


def contamination(items: Iterable[Item], training: Iterable[str]) -> Contamination:
    """Of items against the texts of a training set, which are read once; ValueError if there is no item."""
    texts = {item.id: [tokens(text) for text in _said(item)] for item in items}
    if not texts:
        raise ValueError("found no item to check for contamination")
    wanted = {gram for item in texts.values() for one in item for gram in _ngrams(one)}
    seen: set[bytes] = set()
    for text in training:
        seen.update(wanted.intersection(_ngrams(tokens(text))))
        if len(seen) == len(wanted):
            break
    return Contamination({name: _share(item, seen) for name, item in texts.items()})


def training_texts(path: Path) -> Iterator[str]:
    """The texts of a training manifest, one line in memory at a time: JSONL (text, prompt, references), TSV or plain.

    A text is whole in one line: an 8-gram does not run from one into the next. ValueError names a line of JSONL
    without any text.
    """
    if not path.is_file():
        raise ValueError(f"found no training manifest {path}")
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if path.suffix == ".jsonl":
                yield from _of_json(line, path, number)
            elif path.suffix == ".tsv":
                yield from line.rstrip("\r\n").split("\t")
            else:
                yield line


def _of_json(line: str, path: Path, number: int) -> Iterator[str]:
    if not line.strip():
        return
    row = json.loads(line)
    texts = [row[key] for key in _TEXT_KEYS if key in row] if isinstance(row, dict) else []
    if not texts:
        raise ValueError(f"line {number} of {path} has none of {', '.join(_TEXT_KEYS)}")
    for text in texts:
        yield from text if isinstance(text, list) else [text]


def tokens(text: str) -> list[str]:
    """Small letters without punctuation, cut at spaces, and at every character of scripts without them."""
    kept = []
    for letter in unicodedata.normalize("NFKC", text).lower():
        if unicodedata.category(letter)[0] in "PSZC":
            kept.append(" ")
        elif unicodedata.name(letter, "").startswith(_WITHOUT_SPACES):
            kept.append(f" {letter} ")
        else:
            kept.append(letter)
    return "".join(kept).split()


def _said(item: Item) -> tuple[str, ...]:
    return (*([item.prompt] if item.prompt else []), *dict.fromkeys(item.references))


def _ngrams(words: Sequence[str]) -> list[bytes]:
    """The hashes of all 8-grams, in order."""
    starts = range(len(words) - NGRAM + 1)
    return [blake2b(" ".join(words[at : at + NGRAM]).encode(), digest_size=8).digest() for at in starts]


def _share(texts: list[list[str]], seen: set[bytes]) -> float | None:
    """Of the tokens of the texts that an 8-gram fits into, the share that lies in one that was seen."""
    covered = total = 0
    for words in texts:
        inside = [False] * len(words)
        grams = _ngrams(words)
        for at, gram in enumerate(grams):
            if gram in seen:
                inside[at : at + NGRAM] = [True] * NGRAM
        if grams:
            covered, total = covered + sum(inside), total + len(words)
    return covered / total if total else None
