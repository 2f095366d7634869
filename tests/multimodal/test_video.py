"""Clips in the composed model: who sees them, what may not matter to them, and that they are encoded once."""

import math

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, DynamicCache, LlamaConfig

from adapters.cross_attention import GatedCrossAttention
from multimodal import MultimodalLlama, MultimodalLlamaConfig
from multimodal.config import VideoConfig
from multimodal.convert.mllama import hub_config_of
from multimodal.memory import weights_of
from multimodal.nano.compose import nano_config
from video.encoder import SIZES, VideoEncoder, in_passes
from vision.encoder import SIZES as PICTURE_SIZES

from . import tiny
from .test_model import plain_core
from .tiny import TILE_PX, VOCAB, pictures, tiny_model

CLIP = VOCAB + 1
VIDEO = dict(
    video_config=VideoConfig(width=24, layers=2, heads=2, mlp_ratio=2.0, frames_per_aggregate=4, max_frames=8),
    video_layers=[1, 2],
)
PARTS = ("video_encoder.", "video.")


def ids(*rows: str) -> Tensor:
    """Rows of text as in `tiny.ids`; `V` is a clip token."""
    return torch.where(tiny.ids(*rows) == tiny.ids("V")[0, 0], CLIP, tiny.ids(*rows))


def clips(*shapes: tuple[int, int], seed: int = 0) -> dict[str, Tensor]:
    """Random clips, each of so many frames of so many tiles, as the model's keywords."""
    aspect_of, generator = {1: 1, 2: 2, 3: 3, 4: 6}, torch.Generator().manual_seed(seed)
    tiles = sum(math.prod(shape) for shape in shapes)
    return {
        "frame_values": torch.randn(tiles, 3, TILE_PX, TILE_PX, generator=generator),
        "frames_per_clip": torch.tensor([frames for frames, _ in shapes]),
        "clip_aspect_ids": torch.tensor([aspect_of[tiles] for _, tiles in shapes]),
        "frame_times_s": torch.cat([2 + 0.4 * torch.arange(frames) for frames, _ in shapes]),
    }


def joined(*parts: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@pytest.fixture(scope="module")
def model() -> MultimodalLlama:
    return tiny_model(**VIDEO)


ASKED, SHOWN = ids("ab?Vcdefgh"), clips((6, 2))


# What is there already stays as it is


@torch.no_grad()
def test_closed_gates_leave_the_core_s_logits():
    model = tiny_model(gate=0.0, **VIDEO)
    model.extra_embedding.weight[1] = model.core.model.embed_tokens.weight[7]
    found = model(ASKED, **SHOWN).logits
    assert torch.equal(found, plain_core(model)(ASKED.masked_fill(ASKED == CLIP, 7)).logits)


@torch.no_grad()
def test_without_a_clip_the_model_is_the_one_without_video_parts(model):
    without = tiny_model()
    shared = {name: value for name, value in model.state_dict().items() if not name.startswith(PARTS)}
    without.load_state_dict(shared)
    for text, shown in ((ids("hello world"), {}), (ids("ab?icdefgh", "iabciidefg"), pictures(1, 4, 2, 3))):
        ours, theirs = model(text, **shown), without(text, **shown)
        assert torch.equal(ours.logits, theirs.logits)
        for mine, its in zip(ours.past_key_values, theirs.past_key_values, strict=True):
            assert torch.equal(mine[0], its[0]) and torch.equal(mine[1], its[1])
        how = dict(max_new_tokens=6, num_beams=2)
        assert torch.equal(model.generate(text, **shown, **how), without.generate(text, **shown, **how))


@torch.no_grad()
def test_rows_without_a_clip_are_not_changed_by_their_neighbours(model):
    batch = ids("ab?Vcdefgh", "only words", "Vabcdefghj", "iabcdefghj")
    logits = model(batch, **clips((3, 1), (8, 4)), **pictures(2)).logits
    # on the same batch: the last bit of a product may depend on how many rows there are
    text_alone = plain_core(model)(batch.clamp(max=VOCAB - 1))
    assert torch.equal(logits[1], text_alone.logits[1])
    torch.testing.assert_close(logits[3:], model(batch[3:], **pictures(2)).logits)


def test_training_the_video_parts_moves_them_and_nothing_else():
    model = tiny_model(**VIDEO).train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(PARTS))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    text = ids("ab?Vciefgh")
    model(text, labels=text.masked_fill(text >= VOCAB, -100), **SHOWN, **pictures(2)).loss.backward()
    optimizer.step()
    gradients = {name: parameter.grad is not None for name, parameter in model.named_parameters()}
    for name, value in model.state_dict().items():
        assert gradients.get(name, False) == name.startswith(PARTS), name
        assert torch.equal(value, before[name]) != name.startswith(PARTS), name


def test_no_gradient_reaches_the_picture_encoder_through_a_clip(model):
    model(ASKED, **SHOWN).logits.sum().backward()
    touched = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad(set_to_none=True)
    assert touched and not any(name.startswith(("core.", "vision.", "image")) for name in touched)


# Who sees a clip


@torch.no_grad()
def test_a_clip_changes_no_logit_before_it_and_every_one_from_it_on(model):
    one, other = (model(ASKED, **clips((6, 2), seed=seed)).logits[0] for seed in (1, 2))
    assert torch.equal(one[:3], other[:3])
    assert (one[3:] - other[3:]).abs().amax(-1).min() > 1e-4


@torch.no_grad()
def test_a_later_clip_changes_no_earlier_logit(model):
    text = ids("Vabcdiefgh", "aibVcdVfgh")
    first, second = clips((5, 1), (4, 2)), [clips((8, 4), seed=seed) for seed in (1, 2)]
    one, other = (model(text, **joined(first, late), **pictures(1, 2)).logits for late in second)
    assert torch.equal(one[0], other[0]) and torch.equal(one[1, :6], other[1, :6])
    assert (one[1, 6:] - other[1, 6:]).abs().amax(-1).min() > 1e-4


@torch.no_grad()
def test_pictures_and_clips_each_follow_the_rule_of_pictures(model):
    text = ids("aVbiVVcid")  # a picture closes no clip and a clip no picture
    memory = model.watch(text, **clips((4, 1), (4, 1), (8, 1)))
    places = [5, 5, 10]  # 4 frames are one aggregated, 8 are two
    of_clip = [0] * places[0] + [1] * places[1] + [2] * places[2]
    seen = memory.seen_from(torch.arange(9))[0]
    sees = [{clip for clip, there in zip(of_clip, row, strict=True) if there} for row in seen.tolist()]
    assert sees == [set(), {0}, {0}, {0}, {1}, {1, 2}, {1, 2}, {1, 2}, {1, 2}]
    looked = model.look(text, **pictures(1, 1)).seen_from(torch.arange(9))[0].any(-1)
    assert looked.tolist() == [False] * 3 + [True] * 6


@torch.no_grad()
def test_video_blocks_run_before_image_blocks(model):
    order = []
    hooks = [
        block.register_forward_hook(lambda *_, name=name: order.append(name))
        for name, block in model.named_modules()
        if isinstance(block, GatedCrossAttention)
    ]
    model(ids("iaVb"), **pictures(1), **clips((2, 1)))
    for hook in hooks:
        hook.remove()
    assert order == ["video.1", "image.1", "video.2", "image.3"]


# What may not matter


@torch.no_grad()
def test_cached_equals_full(model):
    text = ids("abVVcdeVfgh", "..iVdefghkl")
    mask = (text != 0).long()
    media = clips((6, 1), (3, 4), (1, 1), (8, 2)) | pictures(2)
    full = model(text, attention_mask=mask, **media)
    cache, logits = DynamicCache(config=model.config.text_config), []
    memories = {"image_memory": full.image_memory, "video_memory": full.video_memory}
    for t in range(text.shape[1]):
        step = model(text[:, t : t + 1], attention_mask=mask[:, : t + 1], past_key_values=cache, **memories)
        logits.append(step.logits)
    real = mask.bool()
    torch.testing.assert_close(torch.cat(logits, 1)[real], full.logits[real], atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_later_turn_equals_the_whole_dialogue(model):
    whole, early, late = ids("aVbciVVdeVg"), clips((3, 1), (8, 2)), clips((2, 4), (5, 1), seed=1)
    expected = model(whole, **joined(early, late), **pictures(2)).logits
    turn = model(whole[:, :6], **early, **pictures(2), use_cache=True)  # its end splits two neighbouring clips
    memories = {"image_memory": turn.image_memory, "video_memory": turn.video_memory}
    second = model(whole[:, 6:], past_key_values=turn.past_key_values, **memories, **late)
    torch.testing.assert_close(torch.cat([turn.logits, second.logits], 1), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_padding_and_batch_order_change_nothing(model):
    shown, other = clips((6, 2)), clips((1, 1), (8, 4), (4, 3), seed=5)
    alone = [model(ids("ab?Vcdef"), **shown).logits[0], model(ids("only text")).logits[0]]
    rows = ids("..ab?Vcdef", ".only text", "VabVVcdefg")
    mask = (rows != 0).long()
    position_ids = (mask.cumsum(-1) - 1).clamp(min=0)
    how = dict(attention_mask=mask, position_ids=position_ids)
    logits = model(rows, **how, **joined(shown, other)).logits
    torch.testing.assert_close(logits[0, 2:], alone[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(logits[1, 1:], alone[1], atol=1e-5, rtol=0)
    how = {name: value.flip(0) for name, value in how.items()}
    again = model(rows.flip(0), **how, **joined(other, shown)).logits
    torch.testing.assert_close(again.flip(0)[mask.bool()], logits[mask.bool()], atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_size_of_a_pass_changes_nothing_and_bounds_what_the_picture_encoder_sees(model):
    shown, seen = clips((6, 2), (5, 1), (2, 4)), []
    hook = model.vision.register_forward_pre_hook(lambda vision, args: seen.append(len(args[0])))
    whole = model.video_encoder(model.vision, *shown.values(), tiles_per_pass=100)
    assert seen == [25]
    for most in (1, 3, 8):
        seen.clear()
        parts = model.video_encoder(model.vision, *shown.values(), tiles_per_pass=most)
        assert max(seen) <= max(most, 4) and sum(seen) == 25
        torch.testing.assert_close(parts.x[parts.keep], whole.x[whole.keep])
    hook.remove()
    assert list(in_passes([1, 1, 4, 2], 4)) == [
        (slice(0, 2), slice(0, 2)),
        (slice(2, 3), slice(2, 6)),
        (slice(3, 4), slice(6, 8)),
    ]


# Time


@torch.no_grad()
def test_order_and_times_of_frames_matter_and_the_clock_s_start_does_not(model):
    shown = clips((8, 1))
    expected = model.watch(ASKED, **shown).values[0]
    turned = shown | {"frame_values": shown["frame_values"].flip(0)}
    slower = shown | {"frame_times_s": 3 * shown["frame_times_s"]}
    uneven = shown | {"frame_times_s": shown["frame_times_s"] ** 2}
    for changed in (turned, slower, uneven):
        assert (model.watch(ASKED, **changed).values[0] - expected).abs().max() > 1e-2
    later = shown | {"frame_times_s": shown["frame_times_s"] + 3600}
    torch.testing.assert_close(model.watch(ASKED, **later).values[0], expected, atol=5e-3, rtol=0)


@torch.no_grad()
def test_a_single_frame_is_a_clip(model):
    assert model(ASKED, **clips((1, 1))).logits.isfinite().all()


# Generation


@torch.no_grad()
@pytest.mark.parametrize("beams", [1, 3])
def test_generation_watches_once_and_equals_the_full_pass(model, beams, monkeypatch):
    watched, encode = [], VideoEncoder.forward
    monkeypatch.setattr(VideoEncoder, "forward", lambda *args: watched.append(1) or encode(*args))
    text = ids("..ab?Vcdef", "iVabVVcdef")
    mask, media = (text != 0).long(), clips((6, 2), (1, 1), (8, 4), (4, 3)) | pictures(2)
    how = dict(max_new_tokens=6, min_new_tokens=6, num_beams=beams, return_dict_in_generate=True, output_scores=True)
    written = model.generate(text, attention_mask=mask, **media, **how)
    assert len(watched) == 1
    tokens = written.sequences
    mask = torch.cat([mask, torch.ones(2, tokens.shape[1] - text.shape[1], dtype=mask.dtype)], 1)
    position_ids = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = model(tokens, attention_mask=mask, position_ids=position_ids, **media).logits
    logits, new = logits[:, text.shape[1] - 1 : -1].log_softmax(-1), tokens[:, text.shape[1] :]
    if beams > 1:
        scores = logits.gather(2, new.unsqueeze(-1)).squeeze(-1).mean(1)
        torch.testing.assert_close(scores, written.sequences_scores, atol=1e-5, rtol=0)
    else:
        logits[..., model.generation_config.eos_token_id] = -torch.inf  # it was not to end
        assert torch.equal(logits.argmax(-1), new)


# On disk


def test_save_and_load_go_round(model, tmp_path):
    model.save_pretrained(tmp_path / "whole")
    model.core.save_pretrained(tmp_path / "core")
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path / "whole")
    assert loaded.config.video_layers == [1, 2] and loaded.config.video_config.frames_per_aggregate == 4
    loaded.config.sources = {"core": {"id": str(tmp_path / "core")}, "vision.trunk": {"id": str(tmp_path / "whole")}}
    loaded.save_pretrained(tmp_path / "adapters", adapters_only=True)
    again = MultimodalLlama.from_pretrained(tmp_path / "adapters")
    with torch.no_grad():
        expected = model(ASKED, **SHOWN).logits
        assert torch.equal(loaded(ASKED, **SHOWN).logits, expected)
        assert torch.equal(again(ASKED, **SHOWN).logits, expected)


# Sizes


@pytest.mark.parametrize(("name", "blocks", "paper"), [("8B", 2, 0.6e9), ("70B", 5, 4.6e9)])
def test_all_that_is_for_clips_weighs_as_published(name, blocks, paper):
    shapes = {
        "8B": dict(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32),
        "70B": dict(hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64),
    }[name]
    text = LlamaConfig(**shapes, num_key_value_heads=8, vocab_size=128_256)
    config = MultimodalLlamaConfig(
        text_config=text, vision_config=PICTURE_SIZES["vit-h-14"], video_config=dict(SIZES[name])
    )
    with torch.device("meta"):
        model = MultimodalLlama(config)
        assert [int(layer) for layer in model.video] == config.image_layers[3::4] and len(model.video) == blocks
        count = sum(p.numel() for part in (model.video_encoder, model.video) for p in part.parameters())
        assert count == pytest.approx(paper, rel=0.15)
        assert {part.name: part.parameters for part in weights_of(model, config)}["video adapter"] == count
        # 64 frames of 4 tiles of 336 px, patches of 14 px and a class token: two frames are left of them
        width = SIZES[name]["width"]
        places = 4 * ((336 // 14) ** 2 + 1)
        seen = torch.zeros(1, 64, places, width), torch.ones(1, 64, places, dtype=torch.bool)
        x, keep = model.video_encoder.aggregator(*seen)
    assert x.shape == (1, 2, places, width) and keep.shape == (1, 2, places)
    assert config.video_config.max_frames == 64


def test_the_defaults_are_those_of_8b():
    assert VideoConfig().keywords == SIZES["8B"]


def test_nano_s_video_blocks_stand_before_its_own_layers():
    config = nano_config(LlamaConfig(hidden_size=192, num_hidden_layers=6), with_video=True)
    assert config.video_layers == [2, 3, 4, 5] and config.video_config.max_frames == 16
    plain = nano_config(LlamaConfig(hidden_size=192, num_hidden_layers=6))
    assert plain.video_config is None and plain.video_layers == []


# What is refused


def test_the_hub_s_layout_holds_no_clips():
    with pytest.raises(ValueError, match="found video_config; the hub's layout of Llama 3"):
        hub_config_of(tiny.tiny_config(**VIDEO))


@pytest.mark.parametrize(("text", "shown"), [("abc", 1), ("aVb", 2), ("aVVb", 1)])
def test_as_many_clip_tokens_as_clips(model, text, shown):
    with pytest.raises(ValueError, match=f"found {text.count('V')} clip tokens in the text for {shown} clips"):
        model(ids(text), **clips(*[(2, 1)] * shown))


@pytest.mark.parametrize("name", ["frame_values", "frame_times_s"])
def test_tiles_and_times_must_be_those_of_the_frames(model, name):
    shown = clips((3, 2))
    shown[name] = shown[name][1:]
    with pytest.raises(ValueError, match=r"found \d tiles and \d times for clips of \[3\] frames of \[2\]"):
        model(ASKED, **shown)


def test_a_model_without_clips_refuses_them():
    with pytest.raises(ValueError, match="this model has no video encoder"):
        tiny_model()(ASKED, **SHOWN)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"vision_config": None, "image_layers": None}, "video_config is set and vision_config is None"),
        ({"video_layers": [1, 4]}, r"video_layers has \[4\]; the text core has layers 0 to 3"),
        ({"video_layers": None}, "video_layers is empty"),
        ({"video_config": VideoConfig(max_tiles=5)}, "max_tiles 5; accepted: None, or 1 to the 4 tiles of a picture"),
    ],
)
def test_a_senseless_configuration_is_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        tiny.tiny_config(**(VIDEO | changes))
