"""Stages of the voice's text side: the tagger of written forms, and the two that it is measured against.

All three see the same sentences in the same order for the same number of steps; only what they may look at
differs. The shipped core's states of the sentences are computed once and kept in the run's folder. Needs
nothing of the run: the core is the shipped one, which never changes.
"""

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

import multimodal
from tts.normalizer import Normalizer, labels_of, owners_of, token_ids
from tts.rules import LABELS, say

from ...core_states import CoreStates
from ...training.loop import Schedule, write_atomically
from ..voice.written_forms import NUM_TRAINED, Sentence, mark, sentence

SENTENCES_A_STEP = 64
STEPS = 1500  # twice through the sentences
CORE_DIM = 192
# Without what is dropped, the taggers know every frame of training by heart after 500 steps.
_DROPPED = {"dropout": 0.3, "word_dropout": 0.3}
VARIANTS = {  # the name of the stage: what its tagger is
    "voice-normalizer": {"core_dim": CORE_DIM, "state_dropout": 0.6, **_DROPPED},
    "voice-normalizer-without-core": {"core_dim": 0, **_DROPPED},
    "voice-normalizer-both-ways": {"core_dim": 0, "both_ways": True, **_DROPPED},
}
_CHUNK = 1000  # sentences a file of states


@dataclass(frozen=True)
class Encoded:
    """A sentence as the tagger takes it: features [T, 5], labels [T], states [S, D] and their owners [S]."""

    ids: Tensor
    labels: Tensor
    states: Tensor
    owners: Tensor


class NormalizerStage:
    """One of the three taggers; see `multimodal.training.loop.Stage`."""

    def __init__(self, name: str, run: Path, steps: int = STEPS, seed: int = 0):
        torch.manual_seed(seed)
        self.name = name
        self.schedule = Schedule(steps=steps, peak_lr=4e-3, warmup_steps=100)
        self.model = Normalizer(**VARIANTS[name])
        self._trained = encoded(run, False, NUM_TRAINED)
        self._held_out = encoded(run, True, 1000)
        by_length = sorted(range(len(self._trained)), key=lambda at: len(self._trained[at].ids))
        self._batches = [by_length[at : at + SENTENCES_A_STEP] for at in range(0, len(by_length), SENTENCES_A_STEP)]

    def batch(self, step: int) -> dict[str, Tensor]:
        epoch, turn = divmod(step, len(self._batches))
        order = random.Random(f"order of epoch {epoch}").sample(range(len(self._batches)), len(self._batches))
        return collated([self._trained[at] for at in self._batches[order[turn]]])

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of the labels; what is not verbatim counts five times, since it is what must be learnt."""
        logits = tagged(self.model, batch)
        there = batch["labels"] >= 0
        nll = F.cross_entropy(logits[there], batch["labels"][there], reduction="none")
        weight = 1.0 + 4.0 * (batch["labels"][there] > LABELS.index("verbatim"))
        return (nll * weight).sum() / weight.sum(), {}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Share of held-out sentences with every label right."""
        right = []
        for at in range(0, len(self._held_out), 200):
            batch = collated(self._held_out[at : at + 200])
            wrong = (tagged(self.model, batch).argmax(-1) != batch["labels"]) & (batch["labels"] >= 0)
            right.append(~wrong.any(1))
        return {"sentences": torch.cat(right).float().mean().item()}


def tagged(model: Normalizer, batch: dict[str, Tensor]) -> Tensor:
    """Logits [B, T, labels] of a batch."""
    seen = (batch["states"], batch["owners"]) if model.core_dim else ()
    return model(batch["ids"], batch["labels"] >= 0, *seen)


def collated(rows: list[Encoded]) -> dict[str, Tensor]:
    """Rows padded on the right: labels with -1, owners with a token that nobody sees."""
    return {
        "ids": pad_sequence([row.ids for row in rows], batch_first=True),
        "labels": pad_sequence([row.labels for row in rows], batch_first=True, padding_value=-1),
        "states": pad_sequence([row.states.float() for row in rows], batch_first=True),
        "owners": pad_sequence([row.owners for row in rows], batch_first=True, padding_value=1_000_000),
    }


@torch.no_grad()
def said(model: Normalizer, sentences: list[Sentence], rows: list[Encoded]) -> list[str]:
    """What the tagger makes of whole sentences."""
    told = []
    for at in range(0, len(rows), 200):
        batch = collated(rows[at : at + 200])
        for one, logits in zip(sentences[at : at + 200], tagged(model, batch), strict=True):
            tokens = one.tokens
            told.append(say(tokens, labels_of(tokens, logits[: len(tokens)]), "en"))
    return told


@cache
def encoded(run: Path, held_out: bool, count: int) -> list[Encoded]:
    """The first sentences of a set; the core's states are read from the run's folder, or computed and kept there."""
    rows: list[Encoded] = []
    for first in range(0, count, _CHUNK):
        path = run / "voice-normalizer-states" / f"{mark(held_out)}-{first}.safetensors"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(_encode([sentence(at, held_out) for at in range(first, first + _CHUNK)]), path)
        rows += _read(path)
    return rows[:count]


def encode(sentences: list[Sentence]) -> list[Encoded]:
    """Sentences as the tagger takes them, with states of the shipped core."""
    return _rows(_encode(sentences))


def _encode(sentences: list[Sentence]) -> dict[str, Tensor]:
    """All rows one behind the other, and where they end."""
    core, tokenizer = _shipped()
    coded = [tokenizer(one.written, add_special_tokens=False, return_offsets_mapping=True) for one in sentences]
    by_length = sorted(range(len(sentences)), key=lambda at: len(coded[at]["input_ids"]))
    states: dict[int, Tensor] = {}
    for first in range(0, len(sentences), SENTENCES_A_STEP):
        some = by_length[first : first + SENTENCES_A_STEP]
        ids = pad_sequence([torch.tensor(coded[at]["input_ids"]) for at in some], batch_first=True)
        for at, row in zip(some, core.start(len(some)).push(ids).half(), strict=True):
            states[at] = row[: len(coded[at]["input_ids"])].clone()
    told: dict[str, list[Tensor]] = {"ids": [], "labels": [], "states": [], "owners": []}
    for at, one in enumerate(sentences):
        tokens = one.tokens
        told["ids"].append(token_ids(tokens).to(torch.int32))
        told["labels"].append(torch.tensor([LABELS.index(label) for label in one.labels], dtype=torch.int32))
        told["states"].append(states[at])
        ends = [end for _, end in coded[at]["offset_mapping"]]
        told["owners"].append(torch.tensor(owners_of(tokens, ends), dtype=torch.int32))
    ends = {f"{name}_ends": torch.tensor([len(row) for row in told[name]]).cumsum(0) for name in ("ids", "states")}
    return {name: torch.cat(rows) for name, rows in told.items()} | ends


def _read(path: Path) -> list[Encoded]:
    with safe_open(path, framework="pt") as file:
        return _rows({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (not a dict)


def _rows(stored: dict[str, Tensor]) -> list[Encoded]:
    def parts(name: str, of: str) -> list[Tensor]:
        ends = stored[f"{of}_ends"].tolist()
        return [stored[name][start:end] for start, end in zip([0, *ends], ends, strict=False)]

    return [
        Encoded(ids.long(), labels.long(), states, owners.long())
        for ids, labels, states, owners in zip(
            parts("ids", "ids"),
            parts("labels", "ids"),
            parts("states", "states"),
            parts("owners", "states"),
            strict=True,
        )
    ]


@cache
def _shipped() -> tuple[CoreStates, PreTrainedTokenizerBase]:
    assistant = multimodal.load("nano")
    return CoreStates(assistant.model, assistant.processor), assistant.processor.tokenizer
