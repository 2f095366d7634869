"""Llama 3.2 Vision as the hub stores it: its table of weights, and its configuration.

Two layouts carry the same tensors: the hub's files (`language_model.model.layers...`), and the modules of
transformers 5 (`model.language_model.layers...`), which is what a `state_dict()` of that library has.
The hub counts image blocks as layers of the text model; here they stand beside the core, so that its
layers keep the numbers they have in Llama 3.1.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import prod

from transformers import LlamaConfig, MllamaConfig

from vision.tiles import arrangements

from ..config import NUM_EXTRA_TOKENS, MultimodalLlamaConfig, VisionConfig
from .table import Row, cut, joined, same, shaped


@dataclass(frozen=True)
class Layout:
    """Where the four parts stand."""

    text: str
    head: str
    vision: str
    projection: str


HUB = Layout("language_model.model.", "language_model.lm_head.", "vision_model.", "multi_modal_projector.")
MODULES = Layout("model.language_model.", "lm_head.", "model.vision_model.", "model.multi_modal_projector.")

CORE_LAYER = (
    "input_layernorm.weight",
    "self_attn.q_proj.weight",
    "self_attn.k_proj.weight",
    "self_attn.v_proj.weight",
    "self_attn.o_proj.weight",
    "post_attention_layernorm.weight",
    "mlp.gate_proj.weight",
    "mlp.up_proj.weight",
    "mlp.down_proj.weight",
)
IMAGE_BLOCK = {
    "attention_norm.weight": "input_layernorm.weight",
    "q.weight": "cross_attn.q_proj.weight",
    "q_norm.weight": "cross_attn.q_norm.weight",
    "memory.k.weight": "cross_attn.k_proj.weight",
    "memory.k_norm.weight": "cross_attn.k_norm.weight",
    "memory.v.weight": "cross_attn.v_proj.weight",
    "out.weight": "cross_attn.o_proj.weight",
    "attention_gate.openness": "cross_attn_attn_gate",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn.gate.weight": "mlp.gate_proj.weight",
    "ffn.up.weight": "mlp.up_proj.weight",
    "ffn.down.weight": "mlp.down_proj.weight",
    "ffn_gate.openness": "cross_attn_mlp_gate",
}
TOWER = {
    "patch_embedding.weight": "patch_embedding.weight",
    "class_embedding": "class_embedding",
    "position": "gated_positional_embedding.embedding",
    "position_gate.openness": "gated_positional_embedding.gate",
    "tile_before_gate.openness": "pre_tile_positional_embedding.gate",
    "tile_after_gate.openness": "post_tile_positional_embedding.gate",
    "norm_before.weight": "layernorm_pre.weight",
    "norm_before.bias": "layernorm_pre.bias",
    "norm_after.weight": "layernorm_post.weight",
    "norm_after.bias": "layernorm_post.bias",
}
TOWER_TABLES = {
    "tile_before": "pre_tile_positional_embedding.embedding.weight",
    "tile_position": "gated_positional_embedding.tile_embedding.weight",
    "tile_after": "post_tile_positional_embedding.embedding.weight",
}
TOWER_LAYER = {
    "attention_norm.weight": "input_layernorm.weight",
    "attention_norm.bias": "input_layernorm.bias",
    "out.weight": "self_attn.o_proj.weight",
    "mlp_norm.weight": "post_attention_layernorm.weight",
    "mlp_norm.bias": "post_attention_layernorm.bias",
    "mlp.0.weight": "mlp.fc1.weight",
    "mlp.0.bias": "mlp.fc1.bias",
    "mlp.2.weight": "mlp.fc2.weight",
    "mlp.2.bias": "mlp.fc2.bias",
}
TOWER_GATES = {"attention_gate.openness": "gate_attn", "mlp_gate.openness": "gate_ffn"}


def rows(config: MultimodalLlamaConfig, layout: Layout = HUB) -> list[Row]:
    """The table of a model of this configuration."""
    return [*_text_rows(config, layout), *_vision_rows(config.vision_config, layout)]


def layout_of(names: Collection[str]) -> Layout:
    """The layout that tensors of these names are in."""
    return MODULES if any(name.startswith(MODULES.text) for name in names) else HUB


def _text_rows(config: MultimodalLlamaConfig, layout: Layout) -> Iterator[Row]:
    text = config.text_config
    tables = ("core.model.embed_tokens.weight", "extra_embedding.weight")
    yield cut(tables, f"{layout.text}embed_tokens.weight", (text.vocab_size, NUM_EXTRA_TOKENS))
    blocks, layers = numbered_layers(config)
    for i, theirs in enumerate(layers):
        for name in CORE_LAYER:
            yield same(f"core.model.layers.{i}.{name}", f"{layout.text}layers.{theirs}.{name}")
    for i, theirs in zip(config.image_layers, blocks, strict=True):
        for ours, name in IMAGE_BLOCK.items():
            yield same(f"image.{i}.{ours}", f"{layout.text}layers.{theirs}.{name}")
    yield same("core.model.norm.weight", f"{layout.text}norm.weight")
    yield same("core.lm_head.weight", f"{layout.head}weight")


def _vision_rows(vision: VisionConfig, layout: Layout) -> Iterator[Row]:
    for ours, theirs in TOWER.items():
        yield same(f"vision.{ours}", layout.vision + theirs)
    places, aspects = (vision.tile_px // vision.patch_px) ** 2 + 1, len(arrangements(vision.max_tiles)) + 1
    for ours, theirs in TOWER_TABLES.items():
        of_place = (places,) if ours == "tile_position" else ()
        shape = (aspects, vision.max_tiles, *of_place, vision.width)
        yield shaped(f"vision.{ours}", layout.vision + theirs, shape, (aspects, prod(shape[1:])))
    for our_stack, their_stack, count in tower_stacks(vision):
        for i in range(count):
            ours, theirs = f"vision.{our_stack}.{i}.", f"{layout.vision}{their_stack}.layers.{i}."
            yield joined(f"{ours}qkv.weight", [f"{theirs}self_attn.{part}_proj.weight" for part in "qkv"])
            for our_name, their_name in (TOWER_LAYER | (TOWER_GATES if our_stack == "global_layers" else {})).items():
                yield same(ours + our_name, theirs + their_name)
    for name in ("weight", "bias"):
        yield same(f"image_projection.{name}", layout.projection + name)


def tower_stacks(vision: VisionConfig) -> tuple[tuple[str, str, int], ...]:
    """The tower's two stacks of layers: our name, the name that both published formats use, and how many there are."""
    return (("layers", "transformer", vision.layers), ("global_layers", "global_transformer", vision.num_global_layers))


def numbered_layers(config: MultimodalLlamaConfig) -> tuple[list[int], list[int]]:
    """The hub's numbers of the image blocks, and of the core's layers: each block stands before its layer."""
    blocks = [layer + at for at, layer in enumerate(sorted(config.image_layers))]
    total = config.text_config.num_hidden_layers + len(blocks)
    return blocks, [number for number in range(total) if number not in blocks]


def config_of(hub: MllamaConfig) -> MultimodalLlamaConfig:
    """Our configuration of a model that the hub describes so.

    Raises ValueError for what the released models do not have.
    """
    text, vision = hub.text_config, hub.vision_config
    _refuse_others(hub)
    blocks = sorted(text.cross_attention_layers)
    return MultimodalLlamaConfig(
        text_config=LlamaConfig(
            **{name: getattr(text, name) for name in _TEXT_FACTS},
            num_hidden_layers=text.num_hidden_layers - len(blocks),
        ),
        vision_config=VisionConfig(
            encoder="llama-3.2",
            tile_px=vision.image_size,
            patch_px=vision.patch_size,
            width=vision.hidden_size,
            layers=vision.num_hidden_layers,
            heads=vision.attention_heads,
            mlp_ratio=vision.intermediate_size / vision.hidden_size,
            taps=list(vision.intermediate_layers_indices),
            num_global_layers=vision.num_global_layers,
            max_tiles=vision.max_num_tiles,
        ),
        image_layers=[number - at for at, number in enumerate(blocks)],
    )


def hub_config_of(config: MultimodalLlamaConfig) -> MllamaConfig:
    """The hub's configuration of a model of ours that has the released picture encoder.

    Raises ValueError for another encoder, for clips or for speech, which the hub's layout cannot hold.
    """
    text, vision = config.text_config, config.vision_config
    more = [name for name in ("video_config", "speech_config") if getattr(config, name) is not None]
    if more:
        raise ValueError(
            f"found {' and '.join(more)}; the hub's layout of Llama 3.2 Vision holds pictures and text only"
        )
    if vision is None or vision.encoder != "llama-3.2":
        found = "none" if vision is None else vision.encoder
        raise ValueError(f"the picture encoder is {found}; the hub's layout of Llama 3.2 Vision holds llama-3.2 only")
    blocks, layers = numbered_layers(config)
    return MllamaConfig(
        text_config={name: getattr(text, name) for name in _TEXT_FACTS}
        | {"num_hidden_layers": len(blocks) + len(layers), "cross_attention_layers": blocks},
        vision_config=dict(
            image_size=vision.tile_px,
            patch_size=vision.patch_px,
            hidden_size=vision.width,
            num_hidden_layers=vision.layers,
            attention_heads=vision.heads,
            intermediate_size=int(vision.width * vision.mlp_ratio),
            intermediate_layers_indices=list(vision.taps),
            num_global_layers=vision.num_global_layers,
            max_num_tiles=vision.max_tiles,
            supported_aspect_ratios=[list(one) for one in arrangements(vision.max_tiles)],
            vision_output_dim=vision.width * (1 + len(vision.taps)),
        ),
        image_token_index=config.image_token_id,
    )


_TEXT_FACTS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_parameters",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)


def _refuse_others(hub: MllamaConfig) -> None:
    text, vision = hub.text_config, hub.vision_config
    ratios = [list(one) for one in arrangements(vision.max_num_tiles)]
    width = vision.hidden_size * (1 + len(vision.intermediate_layers_indices))
    for name, found, accepted in (
        ("text_config.hidden_act", text.hidden_act, "silu"),
        ("text_config.tie_word_embeddings", text.tie_word_embeddings, False),
        ("vision_config.hidden_act", vision.hidden_act, "gelu"),
        ("vision_config.norm_eps", vision.norm_eps, 1e-5),
        ("vision_config.num_channels", vision.num_channels, 3),
        ("vision_config.supported_aspect_ratios", vision.supported_aspect_ratios, ratios),
        ("vision_config.vision_output_dim", vision.vision_output_dim, width),
        ("image_token_index", hub.image_token_index, text.vocab_size),
    ):
        if found != accepted:
            raise ValueError(f"{name} is {found}; accepted: {accepted}, as in the released models")
