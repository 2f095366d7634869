"""Stage `speech-places`: a few vectors that make the core read tokens in speech's places as it reads a text.

The tokens of a clip are fewer than its places, and our own two tokens stand around them; the frozen core knows
neither. What stands before and behind the tokens, and what fills the places that are left, is learnt here, from
texts said and from questions said about pictures: what the core sees reaches these places, too, and vectors that were
learnt without a picture led it astray. In plain text the core answers 93% of what is evaluated here wholly right.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, PreTrainedTokenizerFast

from adapters.token_adapter import AROUND, TokenAdapter

from ...speech_embeddings import in_rows
from ...training.arithmetic import fast_arithmetic
from ...training.loop import Schedule, to_device
from ..compose import compose_nano, nano_config, picture_weights
from ..speech.utterances import Utterance, american, sample_utterance
from .beginning import begin
from .branches import answer_loss, exact_answers
from .picture_rows import PictureRows, Row, picture_answers
from .speech_tasks import answer, answer_rows, right_answers, sample_task

UTTERANCES_A_STEP, PICTURES_A_STEP = 16, 4
HELD_OUT_UTTERANCES, HELD_OUT_PICTURES = 192, 32
MOST_FILLED = 120  # places that are left; a sentence leaves about 30


@dataclass(frozen=True)
class SaidRow(Row):
    """A picture with questions that are said, and the tokens of each."""

    said: list[Tensor]


class SpeechPlacesStage:
    """The vectors through the core and the image blocks; see `multimodal.training.loop.Stage`.

    begin_from: vectors to go on from.
    """

    name = "speech-places"

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        core_config: LlamaConfig,
        run: Path,
        steps: int = 600,
        seed: int = 0,
        begin_from: Path | None = None,
    ):
        torch.manual_seed(seed)
        self.seed, self._tokenizer = seed, tokenizer
        self.schedule = Schedule(steps=steps, peak_lr=2e-2, warmup_steps=10, weight_decay=0.0)
        self.model = compose_nano(nano_config(core_config, with_ears=True), run).requires_grad_(False)
        self.model.load_state_dict(picture_weights(run), strict=False)
        for vectors in (self._adapter.lead, self._adapter.tail, self._adapter.filler):
            vectors.requires_grad_()
        self._done = begin(self.model, begin_from, some=True)
        self.rows = PictureRows(tokenizer, self.model)
        self._encoder = self.rows.encoder

    @property
    def _adapter(self) -> TokenAdapter:
        return self.model.speech_adapter

    def batch(self, step: int) -> dict[str, Any]:
        rng = random.Random(f"speech places {self.seed} {self._done + step}")
        told = self._collate([sample_utterance(rng) for _ in range(UTTERANCES_A_STEP)], rng)
        return {"told": told, "asked": self._collate_asked([self._row(rng) for _ in range(PICTURES_A_STEP)])}

    def _places(self, tokens: int, rng: random.Random) -> int:
        """How many places a clip of so many tokens might have."""
        return tokens + 2 * AROUND + round(MOST_FILLED ** rng.random()) - 1

    def _collate(self, utterances: list[Utterance], rng: random.Random) -> dict[str, Any]:
        tasks = [sample_task(one, rng) for one in utterances]
        said = [torch.tensor(self._encoder.text(one.text)) for one in utterances]
        places = [self._places(len(tokens), rng) for tokens in said]
        rows = answer_rows(self._tokenizer, self._encoder, self.model.config.speech_place_id, tasks, places)
        return vars(rows) | {"said": said, "places": places}

    def _row(self, rng: random.Random, held_out: bool = False) -> SaidRow:
        place, said = self.model.config.speech_place_id, []

        def turn(question: str) -> list[int]:
            said.append(torch.tensor(self._encoder.text(american(question))))
            return [place - 2, *[place] * self._places(len(said[-1]), rng), place - 1, *self.rows.turn("")]

        row = self.rows.row(rng, held_out, turn)
        return SaidRow(**vars(row), said=said)

    def _collate_asked(self, rows: Sequence[SaidRow]) -> dict[str, Any]:
        place = self.model.config.speech_place_id
        places = [len(list(run)) for row in rows for token, run in groupby(row.ids) if token == place]
        return self.rows.collate(rows) | {"said": [tokens for row in rows for tokens in row.said], "places": places}

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        told, asked = batch["told"], batch["asked"]
        with fast_arithmetic(told["ids"].device):
            logits, of_pictures = self._answer(told), self._answer_about_pictures(asked)
        right = (logits.argmax(-1) == told["targets"]).float().mean().item()
        loss, right_of_pictures = answer_loss(of_pictures.float(), asked)
        loss = loss + nn.functional.cross_entropy(logits.float(), told["targets"])
        return loss, {"accuracy": right, "of pictures": right_of_pictures}

    def _clips(self, batch: dict[str, Any]) -> list[Tensor]:
        table = self.model.core.get_input_embeddings().weight
        return [
            self._adapter.placed(table[tokens], places)
            for tokens, places in zip(batch["said"], batch["places"], strict=True)
        ]

    def _answer(self, batch: dict[str, Any]) -> Tensor:
        return answer(self.model, batch["ids"], batch["at"], self._clips(batch))

    def _answer_about_pictures(self, batch: dict[str, Any]) -> Tensor:
        is_place = batch["ids"] == self.model.config.speech_place_id
        return picture_answers(self.model, batch, in_rows(self._clips(batch), is_place))

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Share of answers right to the last token, the right tokens before; those about pictures apart."""
        rng = random.Random(f"speech places {self.seed} held out")
        utterances = [sample_utterance(rng, held_out=True) for _ in range(HELD_OUT_UTTERANCES)]
        exact = []
        for first in range(0, HELD_OUT_UTTERANCES, UTTERANCES_A_STEP):
            batch = self._collate(utterances[first : first + UTTERANCES_A_STEP], rng)
            exact += right_answers(self._answer(batch), batch["targets"], batch["row"])
        rows = [self._row(rng, held_out=True) for _ in range(HELD_OUT_PICTURES)]
        hits = exact_answers(rows, PICTURES_A_STEP, self._asked).values()
        of_pictures = [hit for of_kind in hits for hit in of_kind]
        return {"exact": sum(exact) / len(exact), "of pictures": sum(of_pictures) / len(of_pictures)}

    def _asked(self, rows: Sequence[SaidRow]) -> tuple[Tensor, dict[str, Any]]:
        batch = to_device(self._collate_asked(rows), self.model.device)
        return self._answer_about_pictures(batch), batch
