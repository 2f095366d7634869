"""Rows of a picture and questions about it, as the stages that read pictures train on them.

Each question stands in a branch of its own that sees the picture and the question's own words but no other branch:
it is asked as if it were the first, and a picture is encoded once for all of them. Some rows are dialogues, where
later turns do see earlier ones. Our choice.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from vision.tiles import Tiles, cut

from ...model import MultimodalLlama
from ..pictures import draw, sample_style
from ..questions import ask_about
from ..scenes import STRANGERS, Scene, sample_scene, with_strangers
from ..text.tokenizer import ConversationEncoder
from .branches import Branched, InBranches, collate, sees

QUESTIONS_A_PICTURE = 10
TOKENS_A_ROW = 190  # no further question begins once a row is this long: a description would widen the whole batch
DIALOGUES = 0.15  # share of rows whose turns see each other
_LONGER_SIDES_PX = (96, 128, 160, 224, 320, 448)  # most files are bigger than a tile
# width, height; all but squares have two tiles where they are bigger than one
_ASPECTS = ((1, 1),) * 4 + ((4, 3), (3, 4), (3, 2), (2, 3)) + 2 * ((2, 1), (1, 2))


@dataclass(frozen=True)
class Row(Branched):
    """A picture, and questions about it in branches."""

    tiles: Tensor  # [tiles, 3, side, side]
    aspect_id: int


class PictureRows:
    """Makes rows; `prefix` is what stands before a first question, and `turn` the ids from a question to its answer."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, model: MultimodalLlama):
        self.encoder, self._pad = ConversationEncoder(tokenizer), tokenizer.pad_token_id
        end_of_turn = tokenizer.convert_tokens_to_ids("<|eot_id|>")
        self._in_branches = InBranches(self.encoder, end_of_turn, model.config.image_token_id, TOKENS_A_ROW)
        self.prefix, self.turn = self._in_branches.prefix, self._in_branches.turn
        self._tile_px, self._max_tiles = model.vision.tile_px, model.vision.max_tiles

    def row(self, rng: random.Random, held_out: bool = False, turn_of: Callable[[str], list[int]] | None = None) -> Row:
        """A random scene, drawn, and questions about it. turn_of: in place of `turn`, for questions otherwise asked."""
        scene = sample_scene(rng, held_out)
        if not held_out and rng.random() < STRANGERS:
            scene = with_strangers(scene, rng)
        asked = ask_about(scene, rng, QUESTIONS_A_PICTURE)
        tiles = self._tiles(scene, rng, held_out)
        dialogue = not held_out and rng.random() < DIALOGUES
        row = self._in_branches(asked, turn_of, dialogue)
        return Row(**vars(row), tiles=tiles.pixels, aspect_id=tiles.aspect_id)

    def _tiles(self, scene: Scene, rng: random.Random, held_out: bool) -> Tiles:
        """The scene as a picture of some size and aspect, prepared as the processor prepares a file."""
        across, down = rng.choice(_ASPECTS)
        longer = rng.choice(_LONGER_SIDES_PX)
        size = (round(longer * side / max(across, down)) for side in (across, down))
        return cut(draw(scene, sample_style(rng, scene, held_out=held_out), *size), self._tile_px, self._max_tiles)

    def collate(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """As `branches.collate`, with pixels, tiles of each picture and their arrangement."""
        return collate(rows, self._pad) | {
            "pixels": torch.cat([row.tiles for row in rows]),
            "tiles": torch.tensor([len(row.tiles) for row in rows]),
            "aspects": torch.tensor([row.aspect_id for row in rows]),
        }


def picture_answers(model: MultimodalLlama, batch: dict[str, Tensor], speech: Tensor | None = None) -> Tensor:
    """Logits [A, V] at the positions before answer tokens of `PictureRows.collate`; the rest is not computed.

    speech: embeddings of what is said in the rows, as `MultimodalLlama.hear` gives them.
    """
    memory = model.look(batch["ids"], batch["pixels"], batch["tiles"], batch["aspects"])
    read = dict(position_ids=batch["position"], use_cache=False, speech_embeddings=speech)
    h, _ = model.run_layers(batch["ids"], memory, sees(batch["branch"]), **read)
    return model.core.lm_head(h.flatten(0, 1)[batch["at"]])
