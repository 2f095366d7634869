"""Pictures, cut into tiles, to a memory that a language model can attend to.

Shapes: P pictures, K tiles of all of them together, N places of a picture (its tiles' patches and
class tokens), D width of the trunk.
"""

import torch
from einops import rearrange
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from adapters.gates import TanhGate
from adapters.memory import Memory

from .global_layers import GatedGlobalLayer
from .stem import ConvolutionalStem
from .tiles import arrangements

SIZES = {
    # name: the trunk, an open_clip ViT; the blocks after which its state is tapped; the layers above it
    "nano": dict(
        tile_px=128,
        patch_px=16,
        width=128,
        layers=6,
        heads=4,
        mlp_ratio=4.0,
        stem_widths=(24, 48, 96),
        taps=(2, 4),
        num_global_layers=2,
        max_tiles=1,
    ),
    # Paper 7.2.1: ViT-H/14, features of layers 4, 8, 16, 24, 31 besides the final ones: 7,680 a patch.
    # The released 11B taps one block earlier each; see the loader of those weights for that.
    "vit-h-14": dict(
        tile_px=336,
        patch_px=14,
        width=1280,
        layers=32,
        heads=16,
        mlp_ratio=4.0,
        taps=(4, 8, 16, 24, 31),
        num_global_layers=8,
    ),
}


class PictureEncoder(nn.Module):
    """A frozen open_clip ViT with tapped layers, tile positions, and gated global layers on top.

    The trunk sees each tile alone; the global layers join the tiles of a picture. Features are the
    final ones first, then the taps in order, side by side: `out_dim` = D * (1 + number of taps).
    Source: paper 7.2.1; where tile positions enter is our choice, since a trunk that open_clip
    trained knows nothing of tiles and keeps its weights.
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
        stem_widths: tuple[int, ...] | None = None,
        max_tiles: int = 4,
    ):
        super().__init__()
        if not all(0 < tap < layers for tap in taps):
            raise ValueError(f"taps must lie between 1 and {layers - 1} (blocks of the trunk), found {tuple(taps)}")
        self.tile_px, self.max_tiles, self.taps = tile_px, max_tiles, tuple(taps)
        self.out_dim = width * (1 + len(taps))
        trunk = build_trunk(tile_px, patch_px, width, layers, heads, mlp_ratio, stem_widths)
        self.trunk = trunk.requires_grad_(False)
        # one row more than arrangements: aspect ids count from 1, and 0 is no picture
        self.tile_position = nn.Parameter(torch.zeros(len(arrangements(max_tiles)) + 1, max_tiles, width))
        self.tile_gate = TanhGate()
        self.global_layers = nn.ModuleList(GatedGlobalLayer(width, heads, mlp_ratio) for _ in range(num_global_layers))

    def forward(self, tiles: Tensor, tiles_per_picture: Tensor, aspect_ids: Tensor) -> Memory:
        """tiles [K, 3, tile_px, tile_px], normalised; tiles_per_picture [P]; aspect_ids [P] -> x [P, N, out_dim].

        Raises ValueError if the tiles are of another size or do not add up to K.
        """
        if tuple(tiles.shape[1:]) != (3, self.tile_px, self.tile_px):
            raise ValueError(
                f"tiles are {list(tiles.shape)}; this encoder takes [K, 3, {self.tile_px}, {self.tile_px}]"
            )
        counts = tiles_per_picture.tolist()
        if sum(counts) != len(tiles):
            raise ValueError(f"{len(tiles)} tiles were given for pictures of {counts} tiles")
        final, tapped = self._see_tiles(tiles)  # [K, patches + 1, D], [K, patches + 1, D * taps]
        number = torch.cat([torch.arange(count, device=tiles.device) for count in counts])
        position = self.tile_position[torch.repeat_interleave(aspect_ids, tiles_per_picture), number]
        final, keep = _join_tiles(final + self.tile_gate(position).unsqueeze(1), counts)
        for layer in self.global_layers:
            final = layer(final, keep)
        return Memory(torch.cat([final, _join_tiles(tapped, counts)[0]], dim=-1), keep)

    def _see_tiles(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        blocks = [tap - 1 for tap in self.taps] + [len(self.trunk.transformer.resblocks) - 1]
        seen = self.trunk.forward_intermediates(
            tiles, indices=blocks, intermediates_only=True, output_fmt="NLC", output_extra_tokens=True
        )
        patches, classes = seen["image_intermediates"], seen["image_intermediates_prefix"]
        *tapped, final = [torch.cat(pair, dim=1) for pair in zip(classes, patches, strict=True)]
        return self.trunk.ln_post(final), torch.cat(tapped, dim=-1)


def build_trunk(
    tile_px: int,
    patch_px: int,
    width: int,
    layers: int,
    heads: int,
    mlp_ratio: float,
    stem_widths: tuple[int, ...] | None = None,
) -> VisionTransformer:
    """An open_clip ViT whose projection is as wide as itself; only its tokens are used here.

    stem_widths: channels of a convolutional stem up to the trunk's own width; None is open_clip's one
    linear embedding of a patch.

    Raises ValueError if the stem does not halve a tile's side down to its patches.
    """
    trunk = VisionTransformer(
        tile_px, patch_px, width=width, layers=layers, heads=heads, mlp_ratio=mlp_ratio, output_dim=width
    )
    if stem_widths:
        halvings = len(stem_widths) + 1
        if 2**halvings != patch_px:
            raise ValueError(f"{halvings} halvings make patches of {2**halvings} px, not {patch_px}")
        trunk.conv1 = ConvolutionalStem((*stem_widths, width))
    return trunk


def _join_tiles(x: Tensor, counts: list[int]) -> tuple[Tensor, Tensor]:
    """[K, places, D] -> [P, N, D], tiles of a picture one after the other, and which of the N are there."""
    pictures = [rearrange(tiles, "k n d -> (k n) d") for tiles in x.split(counts)]
    lengths = torch.tensor([len(picture) for picture in pictures], device=x.device)
    joined = pad_sequence(pictures, batch_first=True)
    return joined, torch.arange(joined.shape[1], device=x.device) < lengths.unsqueeze(1)
