"""Stages of nano's ears before the core comes in: BEST-RQ, then letters by CTC.

The conformer first learns from sound alone (paper 8.3.1), then to spell what it hears; the second stage
begins with the weights of the first. CTC is our choice: it teaches a small encoder in minutes, and its
head tells afterwards when each letter was said. Sizes, rates and lengths are our choice.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import jiwer
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from speech.best_rq import BestRQ
from speech.conformer import SIZES, Conformer, normalised
from speech.features import LogMel

from ...training.arithmetic import fast_arithmetic
from ...training.loop import Schedule
from ..speech.letters import BLANK, letters, read, spelled
from ..speech.spoken_set import Spoken, SpokenSet
from ..speech.utterances import Utterance, scored
from .beginning import begin

UTTERANCES_A_STEP = 16
STEPS_A_GROUP = 8  # their utterances are drawn together and parted by length: less padding is computed
HEARINGS = 3  # of each utterance, with other bands hidden: to make one costs half of what learning from it does
GROUPS_BETWEEN = 10  # made between two hearings of a group
HELD_OUT_UTTERANCES = 192
EASY_SHARE = 0.055  # of the spelling steps, the first ones: short phrases in quiet rooms, of which more fit a step
EASY_UTTERANCES_A_STEP = 32


@dataclass(frozen=True)
class Heard:
    """Utterances, their features [B, F, 80] and frames [B], their letters [B, L] and the numbers of those [B]."""

    utterances: tuple[Utterance, ...]
    features: Tensor
    frames: Tensor
    letters: Tensor
    num_letters: Tensor


class Speller(nn.Module):
    """The conformer and a head for letters: features [B, F, 80], frames [B] -> logits [B, T, letters + 1], keep."""

    def __init__(self):
        super().__init__()
        self.conformer = Conformer(**SIZES["nano"])
        self.head = nn.Linear(self.conformer.out_dim, len(letters()) + 1)

    def forward(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        x, keep = self.conformer(features, frames)
        return self.head(x), keep


class BestRqStage:
    """Self-supervision; see `multimodal.training.loop.Stage`."""

    name = "best-rq"

    def __init__(self, steps: int = 120, seed: int = 0):
        torch.manual_seed(seed)
        self.schedule = Schedule(steps=steps, peak_lr=1e-3, muon_lr=1e-3, warmup_steps=100)
        # the paper's 16 codebooks of 8,192 would be seven eighths of what this encoder computes
        self.model = BestRQ(Conformer(**SIZES["nano"]), num_codebooks=4, codebook_size=512, seed=seed)
        self._set, self._held_out = SpokenSet(seed), SpokenSet(seed, held_out=True)

    def batch(self, step: int) -> dict[str, Tensor]:
        features, frames = features_of(utterances(self._set, step))
        return {"features": features, "frames": frames, "seed": torch.tensor(step)}

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        generator = torch.Generator().manual_seed(int(batch["seed"]))
        loss, figures = self.model(batch["features"], batch["frames"], generator)
        return loss, {"accuracy": figures.accuracy.item(), "codes": figures.codes_used.item()}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Share of masked codes that are named right, and the share of the most frequent code of each book."""
        right, names = [], []
        for step in range(HELD_OUT_UTTERANCES // UTTERANCES_A_STEP):
            features, frames = features_of(utterances(self._held_out, step))
            right.append(self.model(features, frames, torch.Generator().manual_seed(step))[1].accuracy)
            stacks = normalised(features, frames)[:, : int(frames.min()) // 4 * 4].unflatten(1, (-1, 4)).flatten(2)
            names.append(self.model.codes(stacks.flatten(0, 1)))
        names = torch.cat(names)
        constant = [(book.bincount().max() / len(book)).item() for book in names.T]
        return {"accuracy": torch.stack(right).mean().item(), "constant": sum(constant) / len(constant)}


class SpellingStage:
    """The encoder by CTC; see `multimodal.training.loop.Stage`.

    begin_from: weights of it to go on from, and no short phrases first.
    """

    name = "speech-encoder"

    def __init__(self, run: Path, steps: int = 36_000, seed: int = 0, begin_from: Path | None = None):
        torch.manual_seed(seed)
        self.schedule = Schedule(steps=steps, peak_lr=1e-3, muon_lr=2e-3, warmup_steps=200)
        self.model = Speller()
        if begin_from:
            self._easy_steps = 0
        else:
            self._easy_steps = round(EASY_SHARE * steps)
            self.model.conformer.load_state_dict(_self_taught(run))
        self._done = begin(self.model, begin_from)
        self._easy = SpokenSet(seed + 1, easy=True)
        self._set, self._held_out = SpokenSet(seed + 1), SpokenSet(seed + 1, held_out=True)

    def batch(self, step: int) -> dict[str, Tensor]:
        is_easy, step = step < self._easy_steps, self._done + step
        heard = hear(self._easy, step, EASY_UTTERANCES_A_STEP) if is_easy else hear(self._set, step)
        features = heard.features.clone()
        hide_bands(features, random.Random(f"bands {step}"))
        return {"features": features, "frames": heard.frames, "targets": heard.letters, "lengths": heard.num_letters}

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        with fast_arithmetic(batch["features"].device):
            logits, keep = self.model(batch["features"], batch["frames"])
        return ctc_loss(logits.float(), keep, batch["targets"], batch["lengths"]), {}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Error rates over letters and words of held-out voices, rates, pitches and combinations."""
        told, heard = [], []
        for step in range(HELD_OUT_UTTERANCES // UTTERANCES_A_STEP):
            spoken = utterances(self._held_out, step)
            logits, keep = self.model(*features_of(spoken))
            told += [scored(one.utterance.text, one.utterance.language) for one in spoken]
            heard += [read(row[there]) for row, there in zip(logits, keep, strict=True)]
        return {"letter errors": jiwer.cer(told, heard), "word errors": jiwer.wer(told, heard)}


def _self_taught(run: Path) -> dict[str, Tensor]:
    """The encoder as a run's first stage left it."""
    weights = load_file(run / BestRqStage.name / "final.safetensors")
    return {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}


def utterances(from_set: SpokenSet, step: int, count: int = UTTERANCES_A_STEP) -> list[Spoken]:
    """The `count` utterances of a step, which are about equally long, shortest first."""
    group, turn = divmod(step, STEPS_A_GROUP)
    order = random.Random(f"order of group {group}").sample(range(STEPS_A_GROUP), STEPS_A_GROUP)
    first = order[turn] * count
    return list(_group(from_set, group, STEPS_A_GROUP * count)[first : first + count])


def heard_again(step: int) -> int:
    """The step whose utterances a step hears: HEARINGS steps, some hundreds apart, hear the same ones.

    What would have been made before the first step has a negative number, and is as good.
    """
    turn_of_group, at = divmod(step, STEPS_A_GROUP)
    group, hearing = divmod(turn_of_group, HEARINGS)
    return (group - hearing * GROUPS_BETWEEN) * STEPS_A_GROUP + at


def hear(from_set: SpokenSet, step: int, count: int = UTTERANCES_A_STEP) -> Heard:
    """What a step hears: `count` utterances, which an earlier step may have heard."""
    return _made(from_set, heard_again(step), count)


@lru_cache(maxsize=STEPS_A_GROUP * GROUPS_BETWEEN * HEARINGS)
def _made(from_set: SpokenSet, step: int, count: int) -> Heard:
    return heard(utterances(from_set, step, count))


def heard(spoken: Sequence[Spoken]) -> Heard:
    """Utterances as the encoder meets them."""
    letters_said = [spelled(one.utterance.text, one.utterance.language) for one in spoken]
    num_letters = torch.tensor([len(one) for one in letters_said])
    said = tuple(one.utterance for one in spoken)
    return Heard(said, *features_of(spoken), pad_sequence(letters_said, batch_first=True), num_letters)


@lru_cache(maxsize=2)  # the steps of a group follow each other
def _group(from_set: SpokenSet, group: int, size: int) -> tuple[Spoken, ...]:
    spoken = (from_set[index] for index in range(group * size, (group + 1) * size))
    return tuple(sorted(spoken, key=lambda one: len(one.sound)))


def features_of(spoken: Iterable[Spoken]) -> tuple[Tensor, Tensor]:
    """Features [B, F, 80] as the conformer wants them, and frames [B]."""
    sounds = [one.sound for one in spoken]
    lengths = torch.tensor([len(sound) for sound in sounds])
    features, frames = LogMel()(pad_sequence(sounds, batch_first=True), lengths)
    return normalised(features, frames), frames


def hide_bands(features: Tensor, rng: random.Random, most: int = 12) -> None:
    """Hide up to two bands of mel bins of each clip, in place: [B, F, M]. After SpecAugment (arXiv 1904.08779)."""
    for clip in features:
        for _ in range(rng.randint(0, 2)):
            width = rng.randint(1, most)
            first = rng.randint(0, clip.shape[1] - width)
            clip[:, first : first + width] = 0  # the mean of a normalised bin


def ctc_loss(logits: Tensor, keep: Tensor, targets: Tensor, lengths: Tensor) -> Tensor:
    """Mean over utterances of the CTC loss per letter; one that has more letters than frames counts nothing."""
    logs = logits.log_softmax(-1).transpose(0, 1)  # [T, B, letters + 1]
    return F.ctc_loss(logs, targets, keep.sum(1), lengths, blank=BLANK, zero_infinity=True)
