"""The picture encoder: its taps, its trunk against open_clip's own, tiles and batches, and the published sizes."""

import open_clip
import pytest
import torch
from torch import Tensor

from adapters.memory import Memory
from vision.encoder import SIZES, PictureEncoder, build_trunk

TINY = dict(tile_px=32, patch_px=8, width=32, layers=4, heads=4, mlp_ratio=2.0, taps=(1, 3), num_global_layers=2)
PLACES = (32 // 8) ** 2 + 1  # patches and class token of a tile
WIDTH = 32


def random_encoder(tile_gate: float = 0.8, global_gates: float = 0.8, **changes) -> PictureEncoder:
    torch.manual_seed(0)
    encoder = PictureEncoder(**(TINY | changes)).eval()
    with torch.no_grad():
        encoder.tile_position.normal_()
        encoder.tile_gate.openness.fill_(tile_gate)
        for layer in encoder.global_layers:
            layer.attention_gate.openness.fill_(global_gates)
            layer.mlp_gate.openness.fill_(global_gates)
    return encoder


def tiles(count: int, px: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, px, px, generator=torch.Generator().manual_seed(seed))


def see(encoder: PictureEncoder, pixels: Tensor, counts: list[int], aspect_ids: list[int] | None = None) -> Memory:
    aspect_ids = aspect_ids or [{1: 1, 2: 2, 3: 3, 4: 6}[count] for count in counts]
    return encoder(pixels, torch.tensor(counts), torch.tensor(aspect_ids))


# The trunk


@torch.no_grad()
@pytest.mark.parametrize("name", SIZES)
def test_features_are_the_final_ones_then_the_states_after_the_tapped_blocks(name):
    small = dict(width=16, heads=2, tile_px=28, patch_px=14, stem_widths=None, max_tiles=4)
    encoder = random_encoder(0.0, 0.0, **(SIZES[name] | small))
    after = {}
    for number, block in enumerate(encoder.trunk.transformer.resblocks, start=1):
        block.register_forward_hook(lambda module, inputs, output, number=number: after.__setitem__(number, output))
    x, keep = see(encoder, tiles(3, px=28), [3])
    taps = {"nano": (2, 4), "vit-h-14": (4, 8, 16, 24, 31)}[name]
    final = encoder.trunk.ln_post(after[max(after)])
    expected = torch.cat([final, *(after[tap] for tap in taps)], dim=-1).flatten(0, 1)
    assert keep.all() and x.shape == (1, 3 * 5, encoder.out_dim)
    assert torch.equal(x[0], expected)


@torch.no_grad()
def test_final_features_are_open_clip_s_own_tokens():
    vision = dict(image_size=32, layers=4, width=WIDTH, head_width=8, patch_size=8, mlp_ratio=2.0, output_tokens=True)
    text = dict(context_length=4, vocab_size=8, width=8, heads=1, layers=1)
    visual = open_clip.CLIP(embed_dim=WIDTH, vision_cfg=vision, text_cfg=text).visual.eval()
    for parameter in visual.parameters():
        parameter.normal_(std=0.2)
    encoder = random_encoder(0.0, 0.0)
    weights = visual.state_dict()
    del weights["proj"]  # into the space that pictures share with texts, which the trunk is without
    encoder.trunk.load_state_dict(weights, strict=True)
    pixels = tiles(2)
    pooled, patches = visual(pixels)
    x, _ = see(encoder, pixels, [1, 1])
    torch.testing.assert_close(x[:, 1:, :WIDTH], patches)
    torch.testing.assert_close(x[:, 0, :WIDTH] @ visual.proj, pooled)
    assert (patches - see(random_encoder(0.0, 0.0), pixels, [1, 1]).x[:, 1:, :WIDTH]).abs().max() > 0.1


def test_the_paper_s_trunk_has_the_shapes_of_open_clip_s_vit_h_14():
    size = SIZES["vit-h-14"]
    with torch.device("meta"):
        published = open_clip.CLIP(**open_clip.get_model_config("ViT-H-14")).visual
        ours = build_trunk(*(size[name] for name in ("tile_px", "patch_px", "width", "layers", "heads", "mlp_ratio")))
    theirs = {name: weight.shape for name, weight in published.state_dict().items()}
    mine = {name: weight.shape for name, weight in ours.state_dict().items()}
    assert theirs.keys() - mine.keys() == {"proj"} and mine.keys() < theirs.keys()
    # the table of positions is for 24 x 24 patches and not 16 x 16
    assert {name for name in mine if mine[name] != theirs[name]} == {"positional_embedding"}
    assert [ours.transformer.resblocks[0].attn.num_heads] == [published.transformer.resblocks[0].attn.num_heads]
    assert ours.positional_embedding.shape == (24 * 24 + 1, 1280)


# Tiles and batches


@torch.no_grad()
def test_a_picture_alone_is_the_picture_in_a_batch():
    encoder, pixels = random_encoder(), tiles(7)
    x, keep = see(encoder, pixels, [1, 4, 2])
    assert x.shape == (3, 4 * PLACES, 3 * WIDTH) and keep.sum(1).tolist() == [PLACES, 4 * PLACES, 2 * PLACES]
    for row, (first, count) in enumerate([(0, 1), (1, 4), (5, 2)]):
        alone = see(encoder, pixels[first : first + count], [count])
        assert alone.keep.all()
        torch.testing.assert_close(x[row, : count * PLACES], alone.x[0])
    assert x.isfinite().all()


@torch.no_grad()
def test_tiles_of_a_picture_see_each_other_and_no_other_picture_s():
    encoder, pixels = random_encoder(), tiles(3)
    before = see(encoder, pixels, [2, 1]).x
    pixels[1] = tiles(1, seed=5)[0]
    after = see(encoder, pixels, [2, 1]).x
    first_tile, other_picture = (before - after)[0, :PLACES], (before - after)[1, :PLACES]
    assert first_tile[:, :WIDTH].abs().amax(-1).min() > 1e-4  # through the global layers
    assert not first_tile[:, WIDTH:].any()  # taps are of one tile alone
    assert not other_picture.any()


@torch.no_grad()
@pytest.mark.parametrize("tile_gate", [0.0, 0.8], ids=["closed", "open"])
def test_order_and_arrangement_of_tiles_enter_by_the_gated_positions_alone(tile_gate):
    encoder, pixels = random_encoder(tile_gate), tiles(4)
    x = see(encoder, pixels, [4], [6]).x
    order = torch.tensor([2, 0, 3, 1])
    turned = see(encoder, pixels[order], [4], [6]).x.unflatten(1, (4, PLACES))[:, order.argsort()].flatten(1, 2)
    rearranged = see(encoder, pixels, [4], [4]).x
    for other in (turned, rearranged):
        assert torch.allclose(other, x, atol=1e-5) == (tile_gate == 0)
        torch.testing.assert_close(other[..., WIDTH:], x[..., WIDTH:])  # the taps come before any position of tiles


@torch.no_grad()
def test_closed_gates_are_the_trunk_alone():
    pixels = tiles(5)
    closed, bare = random_encoder(0.0, 0.0), random_encoder(0.0, num_global_layers=0)
    bare.trunk.load_state_dict(closed.trunk.state_dict())
    assert torch.equal(see(closed, pixels, [4, 1]).x, see(bare, pixels, [4, 1]).x)


def test_a_fresh_encoder_has_closed_gates_and_a_frozen_trunk():
    encoder = PictureEncoder(**TINY)
    gates = {name: gate for name, gate in encoder.named_parameters() if name.endswith("openness")}
    assert len(gates) == 1 + 2 * len(encoder.global_layers) and not any(gate.any() for gate in gates.values())
    assert not any(weight.requires_grad for weight in encoder.trunk.parameters())


def test_gradient_reaches_all_but_the_trunk():
    encoder = random_encoder()
    x, keep = see(encoder, tiles(3), [2, 1])
    x[keep].square().sum().backward()
    moved = {name for name, weight in encoder.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert moved == {name for name, _ in encoder.named_parameters() if not name.startswith("trunk.")}


def test_tiles_must_be_of_the_encoder_s_size_and_number():
    encoder = random_encoder()
    with pytest.raises(ValueError, match=r"tiles are \[2, 3, 16, 32\]; this encoder takes \[K, 3, 32, 32\]"):
        see(encoder, tiles(2)[:, :, :16], [2])
    with pytest.raises(ValueError, match=r"3 tiles were given for pictures of \[2\] tiles"):
        see(encoder, tiles(3), [2])


@pytest.mark.parametrize("taps", [(0, 2), (2, 4)])
def test_taps_must_lie_inside_the_trunk(taps):
    with pytest.raises(ValueError, match=rf"between 1 and 3 .*found \({taps[0]}, {taps[1]}\)"):
        PictureEncoder(**(TINY | dict(taps=taps)))


@torch.no_grad()
@pytest.mark.parametrize(
    ("option", "own"),
    [
        ("quick_gelu", set()),
        (
            "layer_scale",
            {f"transformer.resblocks.{block}.ls_{branch}.gamma" for block in range(4) for branch in (1, 2)},
        ),
        ("no_norm_before", {"ln_pre.weight", "ln_pre.bias"}),
    ],
)
def test_an_option_of_the_trunk_changes_what_it_says(option, own):
    plain, other = random_encoder(), random_encoder(trunk_options=(option,))
    assert plain.trunk.state_dict().keys() ^ other.trunk.state_dict().keys() == own
    shared = {name: weight for name, weight in plain.state_dict().items() if name in other.state_dict()}
    other.load_state_dict(shared, strict=False)
    assert (see(plain, tiles(1), [1]).x - see(other, tiles(1), [1]).x).abs().max() > 1e-3


def test_an_unknown_option_of_the_trunk_is_refused():
    with pytest.raises(ValueError, match="trunk_options has relu; accepted: quick_gelu, layer_scale, no_norm_before"):
        PictureEncoder(**TINY, trunk_options=("quick_gelu", "relu"))


# The published size


def millions(module: torch.nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


@pytest.fixture(scope="module")
def published() -> PictureEncoder:
    with torch.device("meta"):
        return PictureEncoder(**SIZES["vit-h-14"])


def test_the_published_encoder_has_the_published_sizes(published):
    assert published.out_dim == 7680
    assert len(published.trunk.transformer.resblocks) + len(published.global_layers) == 40
    assert millions(published.trunk) == pytest.approx(630, rel=0.03)
    per_layer = [millions(layer) for layer in published.global_layers]
    assert per_layer == pytest.approx([12 * 1280**2 / 1e6] * 8, rel=0.01)
    # The paper's 850M in all. Its own numbers leave 60M beside trunk and layers; the released code has a table
    # with a position for every patch of every tile and arrangement (47M at 448 px), ours has one for every tile.
    every_patch = 9 * 4 * ((448 // 14) ** 2 + 1) * 1280 / 1e6
    assert millions(published) + every_patch == pytest.approx(850, rel=0.03)


def test_four_tiles_of_the_published_size_are_2308_places(published):
    pixels = torch.empty(4, 3, 336, 336, device="meta")
    with torch.device("meta"):
        x, keep = published(pixels, torch.tensor([4], device="cpu"), torch.tensor([6], device="cpu"))
    assert x.shape == (1, 2308, 7680) and keep.shape == (1, 2308)
