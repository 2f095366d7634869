"""Stage `image-adapter`: global layers, projection and image blocks learn; core and trunk are frozen.

Rows are pictures with many questions each (`picture_rows.py`). No answer is learnt by denying pairs of colour and
shape that were never shown (`undenied.py`).
"""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, PreTrainedTokenizerFast

from ...training.arithmetic import fast_arithmetic
from ...training.loop import Schedule
from ..compose import compose_nano, nano_config
from .beginning import begin
from .branches import answer_loss, exact_answers, shares
from .picture_rows import PictureRows, Row, picture_answers

PICTURES_A_STEP = 8
HELD_OUT_PICTURES = 128
GATE_AT_START = 0.4  # before tanh; from 0 the gates take this stage's first minutes to get here


class ImageAdapterStage:
    """What is trained on pictures; see `multimodal.training.loop.Stage`. begin_from: weights of it to go on from."""

    name = "image-adapter"

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        core_config: LlamaConfig,
        run: Path,
        steps: int = 11_000,
        seed: int = 0,
        begin_from: Path | None = None,
    ):
        torch.manual_seed(seed)
        self.seed, self.schedule = seed, Schedule(steps=steps, peak_lr=1.2e-3, muon_lr=1.2e-3, warmup_steps=100)
        self.model = compose_nano(nano_config(core_config), run)
        # a picture speaks through the blocks alone; its token's embedding stays at zero, which saves the
        # way back through the layers below the first block
        self.model.extra_embedding.requires_grad_(False)
        for name, parameter in self.model.named_parameters():
            if name.endswith("openness"):
                nn.init.constant_(parameter, GATE_AT_START)
        self._done = begin(self.model, begin_from, some=True)  # all but core and trunk
        self.rows = PictureRows(tokenizer, self.model)
        self._held_out: list[Row] = []

    def batch(self, step: int) -> dict[str, Tensor]:
        rng = random.Random(f"image adapter {self.seed} {self._done + step}")
        return self.rows.collate([self.rows.row(rng) for _ in range(PICTURES_A_STEP)])

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        with fast_arithmetic(batch["pixels"].device):
            logits = picture_answers(self.model, batch)
        loss, accuracy = answer_loss(logits.float(), batch)
        return loss, {"accuracy": accuracy}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Exact match of greedy answers about held-out pictures, by kind."""
        if not self._held_out:
            rng = random.Random("image adapter held out")
            self._held_out = [self.rows.row(rng, held_out=True) for _ in range(HELD_OUT_PICTURES)]
        return shares(exact_answers(self._held_out, PICTURES_A_STEP, self._asked), apart="describe")

    def _asked(self, rows: Sequence[Row]) -> tuple[Tensor, dict[str, Tensor]]:
        batch = {name: tensor.to(self.model.device) for name, tensor in self.rows.collate(rows).items()}
        return picture_answers(self.model, batch), batch
