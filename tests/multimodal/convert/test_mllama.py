"""Llama 3.2 Vision through the shipped table: logits of the published formulas, and of the hub where it is right."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import MllamaConfig, MllamaForConditionalGeneration

from multimodal.convert import mllama
from multimodal.convert.table import Row, check_names, to_ours, to_theirs
from multimodal.model import MultimodalLlama

from .tiny_mllama import IMAGE, TAPS, hubs, ours, picture, tiny_mllama
from .written_out import ARRANGEMENTS, WrittenOut

ALL_ASPECTS = range(1, 9)
AFTER_TEXT = [1, 5, IMAGE, 6, 7, 8, IMAGE, 9, 10]
AT_ONCE = [IMAGE, 5, 6, 7, 8, 9]


@pytest.fixture(scope="module")
def hub() -> MllamaForConditionalGeneration:
    return tiny_mllama()


@pytest.fixture(scope="module")
def right_hub(hub) -> MllamaForConditionalGeneration:
    """The library takes states after the blocks of its list: told of the blocks before, it takes those it should."""
    model = tiny_mllama(taps=[tap - 1 for tap in TAPS])
    model.load_state_dict(hub.state_dict())
    return model


@pytest.fixture(scope="module")
def model(hub) -> MultimodalLlama:
    return converted(hub)


def converted(hub: MllamaForConditionalGeneration, table=mllama.rows) -> MultimodalLlama:
    config, weights = mllama.config_of(hub.config), hub.state_dict()
    rows = table(config, mllama.layout_of(weights))
    check_names(rows, weights.keys(), "tiny")
    model = MultimodalLlama(config).eval()
    model.load_state_dict(dict(to_ours(rows, weights.__getitem__, "tiny")))
    return model


def hub_named(hub: MllamaForConditionalGeneration) -> dict[str, Tensor]:
    """The state dict in the names of the hub's files, put there by the library itself when it saves."""
    names = {"lm_head.": "language_model.lm_head.", "model.language_model.": "language_model.model."}
    named = {}
    for name, weight in hub.state_dict().items():
        old = next((old for old in names if name.startswith(old)), "model.")
        named[names.get(old, "") + name.removeprefix(old)] = weight
    return named


def written_out(hub: MllamaForConditionalGeneration, row: list[int], aspects: list[int]) -> Tensor:
    formulas = WrittenOut(hub_named(hub), hub.config)
    return formulas.logits(row, [(picture(a, seed), ARRANGEMENTS[a - 1]) for seed, a in enumerate(aspects)])


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("aspect", ALL_ASPECTS)
def test_logits_are_those_of_the_formulas_for_every_arrangement(hub, model, aspect):
    row = [1, 5, IMAGE, 6, 7, 8]
    close(model(**ours([row], [[aspect]])).logits[0], written_out(hub, row, [aspect]))


@torch.no_grad()
@pytest.mark.parametrize(
    ("row", "aspects"),
    [
        (AFTER_TEXT, [6, 3]),
        ([1, IMAGE, IMAGE, 5, 6], [1, 8]),
        ([1, IMAGE, IMAGE, 5, IMAGE, 6, 7], [2, 6, 1]),
        ([IMAGE, IMAGE, IMAGE, 4], [5, 7, 4]),
    ],
    ids=["apart", "side by side", "a group and one more", "three"],
)
def test_logits_are_those_of_the_formulas_for_several_pictures(hub, model, row, aspects):
    close(model(**ours([row], [aspects])).logits[0], written_out(hub, row, aspects))


@torch.no_grad()
def test_logits_are_those_of_the_formulas_in_a_batch(hub, model):
    rows, aspects = [AFTER_TEXT, [1, IMAGE, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 5, 6, 7, 8, 9]], [[6, 3], [8], []]
    for found, row, of_row in zip(model(**ours(rows, aspects)).logits, rows, aspects, strict=True):
        close(found, written_out(hub, row, of_row))


@torch.no_grad()
@pytest.mark.parametrize(
    ("rows", "aspects"),
    [*(([AT_ONCE], [[aspect]]) for aspect in ALL_ASPECTS)]
    + [
        ([[IMAGE, 5, 6, IMAGE, 7, 8, 9]], [[6, 3]]),
        ([[IMAGE, IMAGE, 6, 7]], [[1, 4]]),
        ([AT_ONCE, [IMAGE, 9, 9, 3, 3, 4]], [[2], [8]]),
    ],
)
def test_logits_are_the_hubs_where_the_hub_is_right(model, right_hub, rows, aspects):
    """With its list corrected, and every token seeing a picture, nothing that it gets wrong is left."""
    close(model(**ours(rows, aspects)).logits, right_hub(**hubs(rows, aspects)).logits)


# The four defects of the most used implementation. Each test shows it there, and that it is not here.


@torch.no_grad()
def test_defect_1_features_are_taken_one_block_late(hub, model, right_hub):
    expected = WrittenOut(hub_named(hub), hub.config).features(picture(6), (2, 2))
    inputs, theirs = ours([AT_ONCE], [[6]]), hubs([AT_ONCE], [[6]])
    found = model.vision(*(inputs[name] for name in ("pixel_values", "tiles_per_picture", "aspect_ids"))).x[0]
    close(found, expected.flatten(0, 1))
    vision = {name: theirs[name] for name in ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")}
    late = hub.model.vision_model(**vision).last_hidden_state[0, 0]
    width = hub.config.vision_config.hidden_size
    close(late[..., :width], expected[..., :width])
    assert (late[..., width:] - expected[..., width:]).abs().mean() > 0.1


@torch.no_grad()
def test_defect_2_a_picture_leaks_into_the_tokens_before_it(model, right_hub):
    def before(run, keywords, row):
        return run(**keywords([row], [[6]])).logits[0, :3], run(**keywords([row], [[3]])).logits[0, :3]

    row = [1, 5, 6, IMAGE, 7, 8]
    assert torch.equal(*before(model, ours, row))
    one, other = before(right_hub, hubs, row)
    assert (one - other).abs().max() > 0.01


@torch.no_grad()
def test_defect_3_a_row_of_text_changes_beside_a_row_with_a_picture(model, right_hub):
    text, row = [1, 5, 6, 7, 8, 9], [1, IMAGE, 6, 7, 8, 9]
    alone = model.core(torch.tensor([text, text])).logits[1]
    assert torch.equal(model(**ours([row, text], [[6], []])).logits[1], alone)
    beside = right_hub(**hubs([row, text], [[6], []])).logits[1]
    assert (beside - alone).abs().max() > 0.01


@torch.no_grad()
def test_defect_4_without_a_mask_cross_attention_turns_causal(model, right_hub):
    """The library's block, given no mask, lets token t see the first t places of the picture only."""
    theirs, block = right_hub.model.language_model.layers[1], model.image["1"]
    h, memory = torch.randn(1, 4, 32), torch.randn(1, 17, 32)
    changed = memory.clone()
    changed[:, -1] += 5.0
    common = dict(attention_mask=None, cross_attention_mask=None, full_text_row_masked_out_mask=None)
    one, other = (theirs(h, cross_attention_states=m, **common) for m in (memory, changed))
    assert torch.equal(one, other)  # the last place has no effect at all there
    see = torch.ones(1, 4, 17, dtype=torch.bool)
    one, other = (block(h, *block.memory(m), see) for m in (memory, changed))
    assert (one - other).abs().amax(-1).min() > 1e-3


# Deliberate breaks


def swapped(rows: list[Row], a: str, b: str) -> list[Row]:
    """The table with the two of theirs in each other's place."""
    other = {a: b, b: a}
    return [replace(row, theirs=tuple(other.get(name, name) for name in row.theirs)) for row in rows]


def not_interleaved(model: MultimodalLlama) -> None:
    """As if a feature vector held its taps side by side."""
    width, taps = model.config.vision_config.width, len(TAPS)
    columns = model.image_projection.weight[:, width:].unflatten(1, (taps, width)).transpose(1, 2).flatten(1)
    model.image_projection.weight.data[:, width:] = columns


@torch.no_grad()
@pytest.mark.parametrize(
    "broken", ["swapped row", "skipped interleave", "taps off by one", "global gates", "qkv order"]
)
def test_a_break_is_seen(hub, broken):
    layers = "model.language_model.layers."

    def table(config, layout):
        rows = mllama.rows(config, layout)
        if broken == "swapped row":
            return swapped(rows, f"{layers}1.cross_attn.k_proj.weight", f"{layers}1.cross_attn.v_proj.weight")
        if broken == "global gates":
            prefix = "model.vision_model.global_transformer.layers.0."
            return swapped(rows, f"{prefix}gate_attn", f"{prefix}gate_ffn")
        if broken == "qkv order":
            prefix = "model.vision_model.transformer.layers.0.self_attn."
            return swapped(rows, f"{prefix}q_proj.weight", f"{prefix}v_proj.weight")
        return rows

    if broken == "global gates":
        hub = tiny_mllama()
        hub.model.vision_model.global_transformer.layers[0].gate_ffn.fill_(-0.4)
    model = converted(hub, table)
    if broken == "skipped interleave":
        not_interleaved(model)
    if broken == "taps off by one":
        model.vision.taps = tuple(tap - 1 for tap in TAPS)
    with pytest.raises(AssertionError, match="not close"):
        close(model(**ours([AFTER_TEXT], [[6, 3]])).logits[0], written_out(hub, AFTER_TEXT, [6, 3]))


# The table


def test_there_and_back_every_tensor_is_the_same(hub):
    weights = hub_named(hub)
    rows = mllama.rows(mllama.config_of(hub.config))
    check_names(rows, weights.keys(), "tiny")
    back = dict(to_theirs(rows, dict(to_ours(rows, weights.__getitem__, "tiny")).__getitem__))
    assert back.keys() == weights.keys() and all(torch.equal(back[name], weights[name]) for name in weights)
    again = mllama.hub_config_of(mllama.config_of(hub.config))
    for part in ("text_config", "vision_config"):
        told, wanted = getattr(again, part).to_dict(), getattr(hub.config, part).to_dict()
        assert {name: told[name] for name in wanted} == wanted


def test_a_missing_and_a_left_over_tensor_are_named(hub):
    names = set(hub.state_dict()) - {"lm_head.weight"} | {"model.language_model.layers.9.extra"}
    rows = mllama.rows(mllama.config_of(hub.config), mllama.MODULES)
    with pytest.raises(
        ValueError, match=r"tiny: .*lm_head\.weight missing; model\.language_model\.layers\.9\.extra left"
    ):
        check_names(rows, names, "tiny")


@pytest.mark.parametrize("size", ["11B", "11B base", "90B"])
def test_full_size_on_the_meta_device(size):
    """Every tensor of the hub's model makes one of ours, of the right shape, and none is missing on either side."""
    text = dict(
        hidden_size=8192,
        intermediate_size=28672,
        num_attention_heads=64,
        num_hidden_layers=100,
        cross_attention_layers=list(range(3, 100, 5)),
    )
    side = 448 if size == "11B base" else 560
    hub_config = MllamaConfig(text_config=text if size == "90B" else {}, vision_config=dict(image_size=side))
    with torch.device("meta"):
        hub, model = MllamaForConditionalGeneration(hub_config), MultimodalLlama(mllama.config_of(hub_config))
    weights = hub_named(hub)
    rows = mllama.rows(model.config)
    check_names(rows, weights.keys(), size)
    found = {name: tensor.shape for name, tensor in to_ours(rows, weights.__getitem__, size)}
    wanted = {name: parameter.shape for name, parameter in model.state_dict().items()}
    assert found == wanted
    assert model.config.image_layers == list(range(3, 80 if size == "90B" else 32, 4))
    billions = sum(parameter.numel() for parameter in model.parameters()) / 1e9
    assert billions == pytest.approx(88.6 if size == "90B" else 10.64, rel=0.01)
