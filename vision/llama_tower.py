"""The picture encoder of Llama 3.2 Vision, after Meta's formulas, for the released weights.

Shapes: P pictures, K tiles of all of them together, M most tiles of a picture, n patches of a tile,
N = M * (n + 1) places of a picture, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapters.gates import TanhGate
from adapters.memory import Memory

from .encoder import tile_counts
from .tiles import arrangements
from .transformer_layer import TransformerLayer

# Both the 11B and the 90B model have this tower; the 11B base model's tiles are of 448 px.
RELEASED = dict(
    tile_px=560,
    patch_px=14,
    width=1280,
    layers=32,
    heads=16,
    mlp_ratio=4.0,
    taps=(3, 7, 15, 23, 30),
    num_global_layers=8,
)


class LlamaVisionTower(nn.Module):
    """Tiles of a picture see each other in every layer; the states that enter some layers are features too.

    `taps`: how many layers a state has passed that is a feature beside the final one. A feature vector
    holds the final state, then for each of the D channels its taps side by side, as published: `out_dim`
    = D * (1 + number of taps). Source: Meta's released code (llama-models, Llama 3.2 Vision), which taps
    one layer earlier than paper 7.2.1 says.
    """

    def __init__(
        self,
        tile_px: int,
        patch_px: int,
        width: int,
        layers: int,
        heads: int,
        mlp_ratio: float,
        taps: tuple[int, ...],
        num_global_layers: int,
        max_tiles: int = 4,
    ):
        super().__init__()
        if not all(0 <= tap < layers for tap in taps):
            raise ValueError(f"taps must lie between 0 and {layers - 1} (layers passed), found {tuple(taps)}")
        self.tile_px, self.max_tiles, self.taps = tile_px, max_tiles, tuple(taps)
        self.out_dim = width * (1 + len(taps))
        places, aspects = (tile_px // patch_px) ** 2 + 1, len(arrangements(max_tiles)) + 1
        self.patch_embedding = nn.Conv2d(3, width, patch_px, patch_px, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        # one row for each arrangement of tiles, counted from 1 as aspect ids are; row 0 is no picture
        self.tile_before = nn.Parameter(torch.zeros(aspects, max_tiles, width))
        self.tile_before_gate = TanhGate()
        self.position = nn.Parameter(torch.zeros(places, width))
        self.tile_position = nn.Parameter(torch.zeros(aspects, max_tiles, places, width))
        self.position_gate = TanhGate()
        self.norm_before = nn.LayerNorm(width)
        self.layers = nn.ModuleList(TransformerLayer(width, heads, mlp_ratio, gated=False) for _ in range(layers))
        self.norm_after = nn.LayerNorm(width)
        self.tile_after = nn.Parameter(torch.zeros(aspects, max_tiles, width))
        self.tile_after_gate = TanhGate()
        self.global_layers = nn.ModuleList(
            TransformerLayer(width, heads, mlp_ratio, gated=True) for _ in range(num_global_layers)
        )
        self.freeze()

    def forward(self, tiles: Tensor, tiles_per_picture: Tensor, aspect_ids: Tensor) -> Memory:
        """tiles [K, 3, tile_px, tile_px], normalised; tiles_per_picture [P]; aspect_ids [P] -> x [P, N, out_dim].

        Raises ValueError if the tiles are of another size or do not add up to K.
        """
        counts = tile_counts(tiles, tiles_per_picture, self.tile_px)
        x, is_there = self._embed(tiles, counts, aspect_ids)  # [P, M, n + 1, D], [P, M]
        places = x.shape[2]
        # As released: places are padded to a multiple of 8, and only padding is kept from seeing padding. What
        # stands in a missing tile is therefore seen by the others, and has to be computed as they are.
        x = F.pad(x, (0, 0, 0, -places % 8))
        real = is_there.unsqueeze(-1) & (torch.arange(x.shape[2], device=x.device) < places)
        shape, real = x.shape[1:3], real.flatten(1)
        see = (real.unsqueeze(1) | real.unsqueeze(2)).unsqueeze(1)  # [P, 1, N', N']
        x, tapped = x.flatten(1, 2), []
        for number, layer in enumerate(self.layers):
            if number in self.taps:
                tapped.append(x)
            x = layer(x, see)
        x = self.norm_after(x).unflatten(1, shape) + self.tile_after_gate(self.tile_after[aspect_ids]).unsqueeze(2)
        x = x.flatten(1, 2)
        for layer in self.global_layers:
            x = layer(x, see)
        x = torch.cat([x, torch.stack(tapped, dim=-1).flatten(2)], dim=-1)
        x = x.unflatten(1, shape)[:, :, :places].flatten(1, 2)
        return Memory(x, is_there.repeat_interleave(places, dim=1))

    def _embed(self, tiles: Tensor, counts: list[int], aspect_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Patches and class token of every tile with their positions, and which of a picture's M tiles are there."""
        patches = self.patch_embedding(tiles).flatten(2).transpose(1, 2)  # [K, n, D]
        most = torch.tensor(counts, device=tiles.device).unsqueeze(1)
        is_there = torch.arange(self.max_tiles, device=tiles.device) < most
        x = patches.new_zeros(len(counts), self.max_tiles, *patches.shape[1:])
        x[is_there] = patches  # a missing tile is a black one: zeros, and the embedding has no bias
        x = x + self.tile_before_gate(self.tile_before[aspect_ids]).unsqueeze(2)
        x = torch.cat([self.class_embedding.expand(*x.shape[:2], 1, -1), x], dim=2)
        openness = self.position_gate.openness.tanh()
        x = x + (1 - openness) * self.position + openness * self.tile_position[aspect_ids]
        return self.norm_before(x), is_there

    def freeze(self) -> None:
        """All of it was trained already."""
        self.requires_grad_(False)
