"""Pictures, cut into tiles, to a memory that a language model can attend to.

Shapes: P pictures, K tiles of all of them together, N places of a picture (its tiles' patches and
class tokens), D width of the trunk.
"""

import torch
from einops import rearrange
from open_clip.transformer import QuickGELU, VisionTransformer
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from adapters.gates import TanhGate
from adapters.memory import Memory

from .stem import ConvolutionalStem
from .tiles import arrangements
from .transformer_layer import TransformerLayer

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
        max_tiles=2,
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
TRUNK_OPTIONS = {
    # what some published ViTs have and others lack: our name for it, and open_clip's
    "quick_gelu": dict(act_layer=QuickGELU),  # x * sigmoid(1.702 x), in OpenAI's own trunks
    "layer_scale": dict(ls_init_value=1e-4),  # a factor for each channel of a branch, here as ViT-M-16-alt starts it
    "no_norm_before": dict(no_ln_pre=True),  # no norm between positions and blocks, in CLIPA's trunks
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
        trunk_options: tuple[str, ...] = (),
        max_tiles: int = 4,
    ):
        super().__init__()
        if not all(0 < tap < layers for tap in taps):
            raise ValueError(f"taps must lie between 1 and {layers - 1} (blocks of the trunk), found {tuple(taps)}")
        self.tile_px, self.max_tiles, self.taps = tile_px, max_tiles, tuple(taps)
        self.out_dim = width * (1 + len(taps))
        self.trunk = build_trunk(tile_px, patch_px, width, layers, heads, mlp_ratio, stem_widths, trunk_options)
        # one row more than arrangements: aspect ids count from 1, and 0 is no picture
        self.tile_position = nn.Parameter(torch.zeros(len(arrangements(max_tiles)) + 1, max_tiles, width))
        self.tile_gate = TanhGate()
        self.global_layers = nn.ModuleList(
            TransformerLayer(width, heads, mlp_ratio, gated=True) for _ in range(num_global_layers)
        )
        self.freeze()

    def forward(self, tiles: Tensor, tiles_per_picture: Tensor, aspect_ids: Tensor) -> Memory:
        """tiles [K, 3, tile_px, tile_px], normalised; tiles_per_picture [P]; aspect_ids [P] -> x [P, N, out_dim].

        Raises ValueError if the tiles are of another size or do not add up to K.
        """
        counts = tile_counts(tiles, tiles_per_picture, self.tile_px)
        final, tapped = self._see_tiles(tiles)  # [K, patches + 1, D], [K, patches + 1, D * taps]
        number = torch.cat([torch.arange(count, device=tiles.device) for count in counts])
        position = self.tile_position[torch.repeat_interleave(aspect_ids, tiles_per_picture), number]
        final, keep = _join_tiles(final + self.tile_gate(position).unsqueeze(1), counts)
        for layer in self.global_layers:
            final = layer(final, keep[:, None, None, :])
        return Memory(torch.cat([final, _join_tiles(tapped, counts)[0]], dim=-1), keep)

    def _see_tiles(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        blocks = [tap - 1 for tap in self.taps] + [len(self.trunk.transformer.resblocks) - 1]
        seen = self.trunk.forward_intermediates(
            tiles, indices=blocks, intermediates_only=True, output_fmt="NLC", output_extra_tokens=True
        )
        patches, classes = seen["image_intermediates"], seen["image_intermediates_prefix"]
        *tapped, final = [torch.cat(pair, dim=1) for pair in zip(classes, patches, strict=True)]
        return self.trunk.ln_post(final), torch.cat(tapped, dim=-1)

    def train(self, mode: bool = True) -> "PictureEncoder":
        """Training mode for what stands around the trunk, whose running statistics are its own."""
        super().train(mode)
        self.trunk.eval()
        return self

    def freeze(self) -> None:
        """The trunk is as others trained it; positions and global layers are the adapter's."""
        self.trunk.requires_grad_(False)


def tile_counts(tiles: Tensor, tiles_per_picture: Tensor, tile_px: int) -> list[int]:
    """How many of the tiles [K, 3, tile_px, tile_px] each picture has.

    Raises ValueError if the tiles are of another size or do not add up to K.
    """
    if tuple(tiles.shape[1:]) != (3, tile_px, tile_px):
        raise ValueError(f"tiles are {list(tiles.shape)}; this encoder takes [K, 3, {tile_px}, {tile_px}]")
    counts = tiles_per_picture.tolist()
    if sum(counts) != len(tiles):
        raise ValueError(f"{len(tiles)} tiles were given for pictures of {counts} tiles")
    return counts


def build_trunk(
    tile_px: int,
    patch_px: int,
    width: int,
    layers: int,
    heads: int,
    mlp_ratio: float,
    stem_widths: tuple[int, ...] | None = None,
    trunk_options: tuple[str, ...] = (),
) -> VisionTransformer:
    """An open_clip ViT without what it makes of its tokens for a text tower: no pooling, no projection.

    stem_widths: channels of a convolutional stem up to the trunk's own width; None is open_clip's one
    linear embedding of a patch. trunk_options: names in `TRUNK_OPTIONS`.

    Raises ValueError for another option, or if the stem does not halve a tile's side down to its patches.
    """
    unknown = [name for name in trunk_options if name not in TRUNK_OPTIONS]
    if unknown:
        raise ValueError(f"trunk_options has {', '.join(unknown)}; accepted: {', '.join(TRUNK_OPTIONS)}")
    options = {keyword: value for name in trunk_options for keyword, value in TRUNK_OPTIONS[name].items()}
    trunk = VisionTransformer(
        tile_px, patch_px, width=width, layers=layers, heads=heads, mlp_ratio=mlp_ratio, output_dim=width, **options
    )
    trunk.proj = None
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
