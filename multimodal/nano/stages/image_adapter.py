"""Stage `image-adapter`: global layers, projection and image blocks learn; core and trunk are frozen.

A row is a picture and several questions, each in a branch of its own that sees the picture and the
question's own words but no other branch: every question is asked as if it were the first, and a
picture is encoded once for all of them. Some rows are dialogues, where later turns do see earlier ones.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, PreTrainedTokenizerFast

from vision.tiles import Tiles, cut

from ...training.arithmetic import fast_arithmetic
from ...training.loop import Schedule
from ..compose import compose_nano, nano_config
from ..pictures import draw, sample_style
from ..questions import ask_about
from ..scenes import Scene, sample_scene, with_strangers
from ..text.tokenizer import ConversationEncoder
from .branches import answer_loss, collate, exact_answers, sees, shares, template_around

PICTURES_A_STEP = 8
QUESTIONS_A_PICTURE = 10
TOKENS_A_ROW = 190  # no further question begins once a row is this long: a description would widen the whole batch
DIALOGUES = 0.15  # share of rows whose turns see each other
HELD_OUT_PICTURES = 128
STRANGERS = 0.4  # share of scenes in which some things have a colour or a shape without a name
_LONGER_SIDES_PX = (96, 128, 128, 128, 128, 160, 224, 320)
_ASPECTS = ((1, 1),) * 6 + ((4, 3), (3, 4), (3, 2), (2, 3), (2, 1), (1, 2))  # width, height
GATE_AT_START = 0.4  # before tanh; from 0 the gates take this stage's first minutes to get here


@dataclass(frozen=True)
class Row:
    """A picture, and text whose tokens belong to branches: 0 is what every branch sees."""

    tiles: Tensor  # [tiles, 3, side, side]
    aspect_id: int
    ids: list[int]
    branch: list[int]
    position: list[int]
    answers: list[tuple[int, int]]  # [start, stop) of each answer with its end of turn
    kinds: list[str]


class ImageAdapterStage:
    """What is trained on pictures; see `multimodal.training.loop.Stage`."""

    name = "image-adapter"

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        core_config: LlamaConfig,
        run: Path,
        steps: int = 11_000,
        seed: int = 0,
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
        self._encoder, self._pad = ConversationEncoder(tokenizer), tokenizer.pad_token_id
        self._end_of_turn = tokenizer.convert_tokens_to_ids("<|eot_id|>")
        self._prefix, self._turn = template_around(self._encoder, self._end_of_turn, self.model.config.image_token_id)
        self._held_out: list[Row] = []

    def batch(self, step: int) -> dict[str, Tensor]:
        rng = random.Random(f"image adapter {self.seed} {step}")
        return self._collate([self.row(rng) for _ in range(PICTURES_A_STEP)])

    def row(self, rng: random.Random, held_out: bool = False) -> Row:
        """A random scene, drawn, and questions about it."""
        scene = sample_scene(rng, held_out)
        if not held_out and rng.random() < STRANGERS:
            scene = with_strangers(scene, rng)
        asked = ask_about(scene, rng, QUESTIONS_A_PICTURE)
        tiles = self._tiles(scene, rng, held_out)
        prefix, dialogue = list(self._prefix), not held_out and rng.random() < DIALOGUES
        ids, branch, position, answers = prefix, [0] * len(prefix), list(range(len(prefix))), []
        header = self._prefix[1:-1]
        for number, question in enumerate(asked):
            if len(ids) > TOKENS_A_ROW:
                break
            turn = self._turn(question.text)
            answer = self._encoder.text(question.answer)
            if dialogue and number:
                turn = [*header, *turn]
            added = [*turn, *answer, self._end_of_turn]
            answers.append((len(ids) + len(turn), len(ids) + len(added)))
            start = len(ids) if dialogue else len(prefix)
            position += range(start, start + len(added))
            branch += [0 if dialogue else number + 1] * len(added)
            ids = ids + added
        kinds = [question.kind for question in asked[: len(answers)]]
        return Row(tiles.pixels, tiles.aspect_id, ids, branch, position, answers, kinds)

    def _tiles(self, scene: Scene, rng: random.Random, held_out: bool) -> Tiles:
        """The scene as a picture of some size and aspect, prepared as the processor prepares a file."""
        across, down = rng.choice(_ASPECTS)
        longer = rng.choice(_LONGER_SIDES_PX)
        size = (round(longer * side / max(across, down)) for side in (across, down))
        vision = self.model.vision
        return cut(draw(scene, sample_style(rng, scene, held_out=held_out), *size), vision.tile_px, vision.max_tiles)

    def _collate(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        return collate(rows, self._pad) | {
            "pixels": torch.cat([row.tiles for row in rows]),
            "tiles": torch.tensor([len(row.tiles) for row in rows]),
            "aspects": torch.tensor([row.aspect_id for row in rows]),
        }

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        with fast_arithmetic(batch["pixels"].device):
            logits = self._answer_logits(batch)
        loss, accuracy = answer_loss(logits.float(), batch)
        return loss, {"accuracy": accuracy}

    def _answer_logits(self, batch: dict[str, Tensor]) -> Tensor:
        """Logits [A, V] at the positions before answer tokens; the rest of the head is not computed."""
        memory = self.model.look(batch["ids"], batch["pixels"], batch["tiles"], batch["aspects"])
        seen = sees(batch["branch"])
        h, _ = self.model.run_layers(batch["ids"], memory, seen, position_ids=batch["position"], use_cache=False)
        return self.model.core.lm_head(h.flatten(0, 1)[batch["at"]])

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Exact match of greedy answers about held-out pictures, by kind."""
        if not self._held_out:
            rng = random.Random("image adapter held out")
            self._held_out = [self.row(rng, held_out=True) for _ in range(HELD_OUT_PICTURES)]
        return shares(exact_answers(self._held_out, PICTURES_A_STEP, self._asked), apart="describe")

    def _asked(self, rows: Sequence[Row]) -> tuple[Tensor, dict[str, Tensor]]:
        batch = {name: tensor.to(self.model.device) for name, tensor in self._collate(rows).items()}
        return self._answer_logits(batch), batch
