"""open_clip's vision transformers as our trunk: the same states of tokens, and nothing lost or guessed on the way."""

from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP, _build_vision_tower, set_model_preprocess_cfg
from open_clip.push_to_hf_hub import save_config_for_hf
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from multimodal.config import VisionConfig
from multimodal.convert import open_clip as converter
from multimodal.convert.published import open_published
from multimodal.convert.table import check_names, to_ours
from vision.encoder import PictureEncoder

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
VIT = dict(image_size=32, layers=4, width=32, head_width=8, patch_size=8, mlp_ratio=2.0)
TEXT = dict(context_length=4, vocab_size=8, width=8, heads=1, layers=1)
POOLED = dict(attentional_pool=True, attn_pooler_queries=3, attn_pooler_heads=2, output_tokens=True)
VARIANTS = {
    # the model, what its configuration has beside the tiny one's, and its vision tower
    "plain": (CLIP, {}, {}),
    "text apart": (CustomTextCLIP, {"custom_text": True}, {}),
    "quick gelu": (CLIP, {"quick_gelu": True}, {}),
    "layer scale": (CLIP, {}, {"ls_init_value": 1e-4}),
    "no norm before": (CLIP, {}, {"no_ln_pre": True}),
    "norm after pooling": (CLIP, {}, {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True}),
    "fixed positions": (CLIP, {}, {"pos_embed_type": "sin_cos_2d"}),
    "coca": (CoCa, {"multimodal_cfg": TEXT}, POOLED),
    "coca, one width": (CoCa, {"multimodal_cfg": TEXT, "embed_dim": VIT["width"]}, POOLED),
}
TAPS = [1, 2, 3]  # the paper's of 32 blocks, scaled to 4
ACCEPTED = "accepted: a vision transformer of open_clip's own, such as ViT-H-14"


def publish(folder: Path, variant: str = "plain") -> nn.Module:
    """A random model, written as open_clip writes those that it publishes."""
    kind, changes, vision = VARIANTS[variant]
    config = {"embed_dim": 16, "vision_cfg": VIT | vision, "text_cfg": TEXT | {"embed_cls": kind is CoCa}} | changes
    torch.manual_seed(0)
    model = kind(**{name: value for name, value in config.items() if name != "custom_text"}).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    set_model_preprocess_cfg(model, {"mean": MEAN, "std": STD})
    save_config_for_hf(model, folder / converter.CONFIG, config)
    save_file(model.state_dict(), folder / converter.WEIGHTS)
    return model


def trunk_weights(folder: Path) -> dict[str, Tensor]:
    return dict(open_published(folder).tensors())


def encoder_of(folder: Path, weights: dict[str, Tensor] | None = None, **changes) -> PictureEncoder:
    """A fresh encoder, all gates closed, around the trunk of a folder, strictly loaded."""
    keywords = converter.vision_config(converter.read_config(folder)) | changes
    encoder = PictureEncoder(**VisionConfig(**keywords).keywords).eval()
    weights = trunk_weights(folder) if weights is None else weights
    encoder.trunk.load_state_dict({name.removeprefix("vision.trunk."): value for name, value in weights.items()})
    return encoder


def pictures() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def features(encoder: PictureEncoder) -> Tensor:
    """[2, places, out_dim] of two pictures of one tile each."""
    return encoder(pictures(), torch.tensor([1, 1]), torch.tensor([1, 1])).x


@torch.no_grad()
def check_parity(model: nn.Module, encoder: PictureEncoder) -> None:
    """Whole features against open_clip's own blocks, run one by one."""
    visual = model.visual
    states = [visual._embeds(pictures())]
    for block in visual.transformer.resblocks:
        states.append(block(states[-1]))
    norm = visual.attn_pool.ln_k if visual.attn_pool else visual.ln_post
    expected = torch.cat([norm(states[-1]), *(states[tap] for tap in TAPS)], dim=-1)
    torch.testing.assert_close(features(encoder), expected)


# The same features


@pytest.mark.parametrize("variant", VARIANTS)
def test_features_are_open_clip_s_own_states_of_tokens(variant, tmp_path):
    model = publish(tmp_path, variant)
    check_parity(model, encoder_of(tmp_path))


@torch.no_grad()
def test_open_clip_opens_the_same_folder_to_the_same_tokens(tmp_path):
    publish(tmp_path)
    model = open_clip.create_model(f"local-dir:{tmp_path}").eval()
    theirs = model.visual.forward_intermediates(
        pictures(), indices=[0, 1, 2, 3], output_fmt="NLC", output_extra_tokens=True, normalize_intermediates=True
    )
    classes, patches = theirs["image_intermediates_prefix"][-1], theirs["image_intermediates"][-1]
    ours = features(encoder_of(tmp_path))
    torch.testing.assert_close(ours[..., : VIT["width"]], torch.cat([classes, patches], dim=1))
    check_parity(model, encoder_of(tmp_path))


@torch.no_grad()
@pytest.mark.parametrize("variant", ["coca", "coca, one width"])
def test_final_features_are_what_coca_s_pooler_attends_to(variant, tmp_path):
    visual = publish(tmp_path, variant).visual
    _, tokens = visual(pictures())
    final = features(encoder_of(tmp_path))[..., : VIT["width"]]
    pooler = visual.attn_pool
    pooled = pooler.attn(pooler.ln_q(pooler.query).expand(2, -1, -1), final, final)[0]
    torch.testing.assert_close(visual.ln_post(pooled)[:, 1:], tokens)


# One broken thing fails


@pytest.mark.parametrize("pair", [("ln_1.weight", "ln_2.weight"), ("attn.out_proj.bias", "mlp.c_proj.bias")])
def test_a_swapped_row_fails_parity(pair, tmp_path):
    model, config, weights = publish(tmp_path), converter.read_config(tmp_path), load_file(tmp_path / converter.WEIGHTS)
    table = converter.rows(config, weights)
    one, other = (f"visual.transformer.resblocks.2.{name}" for name in pair)
    turned = {(one,): (other,), (other,): (one,)}
    swapped = [replace(row, theirs=turned.get(row.theirs, row.theirs)) for row in table]
    check_parity(model, encoder_of(tmp_path, dict(to_ours(table, weights.__getitem__, "here"))))
    with pytest.raises(AssertionError, match="not close"):
        check_parity(model, encoder_of(tmp_path, dict(to_ours(swapped, weights.__getitem__, "here"))))


def test_taps_off_by_one_fail_parity(tmp_path, monkeypatch):
    model = publish(tmp_path)
    monkeypatch.setattr(f"{__name__}.TAPS", [1, 2])
    check_parity(model, encoder_of(tmp_path, taps=[1, 2]))
    with pytest.raises(AssertionError, match="not close"):
        check_parity(model, encoder_of(tmp_path, taps=[2, 3]))


def test_another_activation_fails_parity(tmp_path):
    model = publish(tmp_path, "quick gelu")
    with pytest.raises(AssertionError, match="not close"):
        check_parity(model, encoder_of(tmp_path, trunk_options=None))


# What is published


REGISTRY = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
OTHERS = {
    name: model_cfg
    for name, model_cfg in REGISTRY.items()
    if "timm_model_name" in model_cfg["vision_cfg"] or isinstance(model_cfg["vision_cfg"]["layers"], list)
}
NATIVE = sorted(REGISTRY.keys() - OTHERS.keys())


@pytest.mark.parametrize("name", NATIVE)
def test_every_published_vit_is_our_trunk_at_its_full_size(name):
    model_cfg = REGISTRY[name]
    keywords = converter.vision_config({"model_cfg": model_cfg})
    with torch.device("meta"):
        quick_gelu = model_cfg.get("quick_gelu", False)
        visual = _build_vision_tower(model_cfg["embed_dim"], model_cfg["vision_cfg"], quick_gelu)
        encoder = PictureEncoder(**VisionConfig(**keywords | {"num_global_layers": 1}).keywords)
    theirs = {f"visual.{name}": weight for name, weight in visual.state_dict().items()}
    table = converter.rows({"model_cfg": model_cfg}, theirs)
    check_names(table, theirs.keys(), name)
    made = {name: weight.shape for name, weight in to_ours(table, theirs.__getitem__, name)}
    assert made == {f"vision.trunk.{name}": weight.shape for name, weight in encoder.trunk.state_dict().items()}
    # what no weight shows: activations, norms and heads
    ours = encoder.trunk
    assert [repr(ours.transformer), repr(ours.ln_pre)] == [repr(visual.transformer), repr(visual.ln_pre)]
    assert [b.attn.num_heads for b in ours.transformer.resblocks] == [
        b.attn.num_heads for b in visual.transformer.resblocks
    ]


def test_the_registry_has_what_we_say_it_has():
    assert {"ViT-H-14", "ViT-bigG-14-CLIPA-336", "ViT-M-16-alt", "ViT-L-14-336-quickgelu"} < set(NATIVE)
    assert {"coca_ViT-L-14", "coca_base"} < set(NATIVE) and {"RN50", "ViT-SO400M-14-SigLIP"} < OTHERS.keys()


def test_models_of_other_kinds_are_refused_by_what_they_are():
    for name, model_cfg in OTHERS.items():
        timm = model_cfg["vision_cfg"].get("timm_model_name")
        found = f"timm_model_name {timm!r}, a model of timm" if timm else f"layers {model_cfg['vision_cfg']['layers']}"
        with pytest.raises(ValueError) as error:
            converter.vision_config({"model_cfg": model_cfg})
        assert found in str(error.value) and ACCEPTED in str(error.value), name


@pytest.mark.parametrize(
    ("name", "taps"),
    [
        ("ViT-H-14", [4, 8, 16, 24, 31]),
        ("ViT-L-14", [3, 6, 12, 18, 23]),
        ("ViT-B-32", [2, 3, 6, 9, 11]),
        ("ViT-g-14", [5, 10, 20, 30, 39]),
        ("ViT-bigG-14", [6, 12, 24, 36, 47]),
    ],
)
def test_taps_stand_at_the_paper_s_fractions(name, taps):
    assert converter.vision_config({"model_cfg": REGISTRY[name]})["taps"] == taps


def test_vit_h_14_is_the_paper_s_encoder_at_its_own_size():
    published = VisionConfig(**converter.vision_config({"model_cfg": REGISTRY["ViT-H-14"]}))
    assert published.to_dict() == VisionConfig(tile_px=224, taps=[4, 8, 16, 24, 31]).to_dict()


def test_a_configuration_survives_its_file(tmp_path):
    keywords = converter.vision_config({"model_cfg": REGISTRY["ViT-L-14-CLIPA"] | {"quick_gelu": True}})
    VisionConfig(**keywords).save_pretrained(tmp_path)
    read = VisionConfig.from_pretrained(tmp_path)
    assert read.keywords == VisionConfig(**keywords).keywords
    assert read.trunk_options == ["quick_gelu", "no_norm_before"]


# What is not as it should be


def test_mean_and_std_are_the_folder_s(tmp_path):
    publish(tmp_path)
    assert converter.normalisation(converter.read_config(tmp_path)) == (MEAN, STD)


@pytest.mark.parametrize(
    "preprocessing",
    [
        None,
        [],
        {},
        {"mean": MEAN},
        *({"mean": list(MEAN), "std": std} for std in ([1, 1], [1, 1, 0], [1, 1, "1"], 0.5)),
    ],
)
def test_pictures_need_a_mean_and_a_std(preprocessing):
    with pytest.raises(ValueError, match=r"preprocess_cfg has (mean|std) .*; accepted: three numbers, a std above 0"):
        converter.normalisation({"preprocess_cfg": preprocessing})


@pytest.mark.parametrize(
    ("vision", "told"),
    [
        ({"attentional_pool": "parallel"}, "attentional_pool 'parallel'; accepted: False or True"),
        ({"qk_norm": True}, "qk_norm True; accepted: False"),
        ({"norm_kwargs": {"eps": 1e-6}}, "norm_kwargs {'eps': 1e-06}; accepted: None"),
        ({"image_size": [32, 64]}, "image_size [32, 64]; accepted: a whole number of pixels, or a square"),
        ({"layers": 0}, "layers 0; accepted: a number above 0"),
        ({"width": "32"}, "width '32'; accepted: a number above 0"),
        ({"mlp_ratio": float("nan")}, "mlp_ratio nan; accepted: a number above 0"),
        ({"width": 36}, "width 36; accepted: a multiple of head_width, 8"),
        ({"colour": 1}, "unexpected keyword argument 'colour'"),
    ],
)
def test_what_no_published_vit_has_is_refused(vision, told):
    with pytest.raises(ValueError) as error:
        converter.vision_config({"model_cfg": {"vision_cfg": VIT | vision}})
    assert told in str(error.value)


@pytest.mark.parametrize("config", [{}, {"model_cfg": None}, {"model_cfg": {"embed_dim": 3}}])
def test_a_configuration_must_tell_of_a_vision_tower(config):
    with pytest.raises(ValueError, match="found no model_cfg with a vision_cfg of open_clip"):
        converter.vision_config(config)


@pytest.mark.parametrize("written", [None, "{", "[]"])
def test_a_folder_must_have_a_configuration(written, tmp_path):
    if written:
        (tmp_path / converter.CONFIG).write_text(written)
    with pytest.raises(ValueError, match=r"open_clip_config\.json"):
        converter.read_config(tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"visual.ln_post.bias": None}, "visual.ln_post.bias missing"),
        ({"visual.transformer.resblocks.3.ln_2.weight": None}, "visual.transformer.resblocks.3.ln_2.weight missing"),
        ({"visual.head.weight": (3,)}, "visual.head.weight left over"),
        ({"visual.attn_pool.query": (3, 4)}, "visual.attn_pool.query left over"),
        ({"vision.ln_post.bias": (3,)}, "vision.ln_post.bias left over"),
        (
            {"visual.conv1.weight": (32, 3, 4, 4)},
            "conv1.weight of shape [32, 3, 4, 4]; the configuration asks for [32, 3, 8, 8]",
        ),
    ],
)
def test_other_weights_than_the_configuration_says_are_named(change, told, tmp_path):
    publish(tmp_path)
    weights = load_file(tmp_path / converter.WEIGHTS)
    for name, shape in change.items():
        weights.pop(name, None)
        weights |= {name: torch.zeros(shape)} if shape else {}
    save_file(weights, tmp_path / converter.WEIGHTS)
    with pytest.raises(ValueError) as error:
        trunk_weights(tmp_path)
    assert told in str(error.value) and str(tmp_path) in str(error.value)


def test_only_safetensors_are_read(tmp_path):
    publish(tmp_path)
    (tmp_path / converter.WEIGHTS).rename(tmp_path / "open_clip_pytorch_model.bin")
    with pytest.raises(ValueError, match=r"found open_clip_pytorch_model\.bin; accepted: open_clip_model\.safetensors"):
        trunk_weights(tmp_path)
    (tmp_path / converter.WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(ValueError, match="found no readable safetensors file"):
        trunk_weights(tmp_path)


def test_the_text_tower_may_be_absent_and_the_file_keeps_its_type(tmp_path):
    publish(tmp_path)
    weights = load_file(tmp_path / converter.WEIGHTS)
    halves = {name: value.half() for name, value in weights.items() if name.startswith("visual.")}
    save_file(halves, tmp_path / converter.WEIGHTS)
    read = trunk_weights(tmp_path)
    assert {value.dtype for value in read.values()} == {torch.float16}
