"""Stage `speech-places`: a few vectors that make the core read tokens in speech's places as it reads a text.

The tokens of a clip are fewer than its places, and our own two tokens stand around them; the frozen core knows
neither. What stands before and behind the tokens, and what fills the places that are left, is learnt here, from
text alone. In text alone the core answers 93% of what is evaluated here wholly right.
"""

import random

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, PreTrainedTokenizerFast

from adapters.token_adapter import AROUND, TokenAdapter

from ...config import MultimodalLlamaConfig
from ...model import MultimodalLlama
from ...training.arithmetic import fast_arithmetic
from ...training.loop import Schedule
from ..compose import ears_config
from ..speech.utterances import Utterance, sample_utterance
from ..text.tokenizer import ConversationEncoder
from .speech_tasks import answer, answer_rows, sample_task

UTTERANCES_A_STEP = 16
HELD_OUT_UTTERANCES = 192
MOST_FILLED = 120  # places that are left; a sentence leaves about 30


def ears_around(core_config: LlamaConfig, core: dict[str, Tensor]) -> MultimodalLlama:
    """Fresh ears around a core of these weights, all of it frozen but the ears."""
    composed = MultimodalLlama(MultimodalLlamaConfig(text_config=core_config, speech_config=ears_config()))
    composed.core.load_state_dict(core, strict=False)  # the head is the tied table
    nn.init.zeros_(composed.extra_embedding.weight).requires_grad_(False)
    return composed


class SpeechPlacesStage:
    """The vectors through the core; see `multimodal.training.loop.Stage`."""

    name = "speech-places"

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        core_config: LlamaConfig,
        core: dict[str, Tensor],
        steps: int = 600,
        seed: int = 0,
    ):
        torch.manual_seed(seed)
        self.seed, self._tokenizer, self._encoder = seed, tokenizer, ConversationEncoder(tokenizer)
        self.schedule = Schedule(steps=steps, peak_lr=2e-2, warmup_steps=10, weight_decay=0.0)
        self.model = ears_around(core_config, core).requires_grad_(False)
        for vectors in (self._adapter.lead, self._adapter.tail, self._adapter.filler):
            vectors.requires_grad_()

    @property
    def _adapter(self) -> TokenAdapter:
        return self.model.speech_adapter

    def batch(self, step: int) -> dict[str, Tensor]:
        rng = random.Random(f"speech places {self.seed} {step}")
        return self._collate([sample_utterance(rng) for _ in range(UTTERANCES_A_STEP)], rng)

    def _collate(self, utterances: list[Utterance], rng: random.Random) -> dict[str, Tensor]:
        tasks = [sample_task(one, rng) for one in utterances]
        said = [torch.tensor(self._encoder.text(one.text)) for one in utterances]
        places = [len(tokens) + 2 * AROUND + round(MOST_FILLED ** rng.random()) - 1 for tokens in said]
        rows = answer_rows(self._tokenizer, self._encoder, self.model.config.speech_place_id, tasks, places)
        return vars(rows) | {"said": said, "places": places}

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        with fast_arithmetic(batch["ids"].device):
            logits = self._answer(batch)
        right = (logits.argmax(-1) == batch["targets"]).float().mean().item()
        return nn.functional.cross_entropy(logits.float(), batch["targets"]), {"accuracy": right}

    def _answer(self, batch: dict[str, Tensor]) -> Tensor:
        table = self.model.core.get_input_embeddings().weight
        told = [
            self._adapter.placed(table[tokens], places)
            for tokens, places in zip(batch["said"], batch["places"], strict=True)
        ]
        return answer(self.model, batch["ids"], batch["at"], told)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Share of answers that are right to the last token, the right tokens before."""
        rng = random.Random(f"speech places {self.seed} held out")
        utterances = [sample_utterance(rng, held_out=True) for _ in range(HELD_OUT_UTTERANCES)]
        exact = []
        for first in range(0, HELD_OUT_UTTERANCES, UTTERANCES_A_STEP):
            batch = self._collate(utterances[first : first + UTTERANCES_A_STEP], rng)
            exact += right_answers(self._answer(batch), batch["targets"], batch["row"])
        return {"exact": sum(exact) / len(exact)}


def right_answers(logits: Tensor, targets: Tensor, row: Tensor) -> list[bool]:
    """Of each row of `AnswerRows`, whether every token of its answer is the most likely: logits [A, V]."""
    right = logits.argmax(-1) == targets
    return [bool(right[row == number].all()) for number in range(int(row.max()) + 1)]
