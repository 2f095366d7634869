"""A hub model written as Meta writes it: its names, its order of rotary channels, its slices, its params.json."""

import json
from pathlib import Path

import torch
from torch import Tensor
from transformers import MllamaConfig

from .written_out import ARRANGEMENTS

NAMES = {
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "cross_attn.q_proj": "attention.wq",
    "cross_attn.k_proj": "attention.wk",
    "cross_attn.v_proj": "attention.wv",
    "cross_attn.o_proj": "attention.wo",
    "cross_attn.q_norm": "attention.q_norm",
    "cross_attn.k_norm": "attention.k_norm",
    "cross_attn_attn_gate": "gate_attn",
    "cross_attn_mlp_gate": "gate_ffwd",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.up_proj": "feed_forward.w3",
    "mlp.down_proj": "feed_forward.w2",
}
TOWER_NAMES = {
    "self_attn.q_proj": "attn.wq",
    "self_attn.k_proj": "attn.wk",
    "self_attn.v_proj": "attn.wv",
    "self_attn.o_proj": "attn.wo",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "input_layernorm": "ln_1",
    "post_attention_layernorm": "ln_2",
    "gate_attn": "gate_attn",
    "gate_ffn": "gate_ffn",
}
SLICED_ROWS = ("wq", "wk", "wv", "w1", "w3", "output", "embeddings", "learnable_embedding", "_linear", "c_fc")
SLICED_COLUMNS = ("wo", "w2", "c_proj")


def meta_weights(hub: dict[str, Tensor], config: MllamaConfig) -> dict[str, Tensor]:
    """hub: weights by the names of the hub's files."""
    text, found = config.text_config, {}
    blocks = text.cross_attention_layers
    layers = [i for i in range(text.num_hidden_layers) if i not in blocks]
    for name, weight in hub.items():
        if name.startswith("language_model.model.layers."):
            number, rest = name.removeprefix("language_model.model.layers.").split(".", 1)
            number = int(number)
            old = next(old for old in NAMES if rest.startswith(old))
            rest_there = NAMES[old] + rest.removeprefix(old)
            if number in blocks:
                found[f"text_model.cross_attention_layers.{blocks.index(number)}.{rest_there}"] = weight
            else:
                if "q_proj" in rest or "k_proj" in rest:
                    heads = text.num_attention_heads if "q_proj" in rest else text.num_key_value_heads
                    weight = torch.stack(weight.unflatten(0, (heads, 2, -1)).unbind(1), 2).reshape(weight.shape)
                found[f"text_model.layers.{layers.index(number)}.{rest_there}"] = weight
        elif name.startswith("vision_model."):
            found |= tower_weight(name.removeprefix("vision_model."), weight, config)
        elif name.startswith("multi_modal_projector."):
            found["vision_model.vision_projection." + name.removeprefix("multi_modal_projector.")] = weight
    table = hub["language_model.model.embed_tokens.weight"]
    found["text_model.tok_embeddings.weight"], found["text_model.learnable_embedding.weight"] = table[:-8], table[-8:]
    found["text_model.norm.weight"] = hub["language_model.model.norm.weight"]
    found["text_model.output.weight"] = hub["language_model.lm_head.weight"]
    found["text_model.rope.freqs"] = torch.ones(4)
    return {name: weight.clone() for name, weight in found.items()}


def tower_weight(name: str, weight: Tensor, config: MllamaConfig) -> dict[str, Tensor]:
    vision, prefix = config.vision_config, "vision_model.vision_encoder."
    if "transformer.layers." in name:
        stack, number, rest = name.replace(".layers.", " ").replace(" ", ".", 1).split(".", 2)
        old = next(old for old in TOWER_NAMES if rest.startswith(old))
        return {f"{prefix}{stack}.resblocks.{number}.{TOWER_NAMES[old]}{rest.removeprefix(old)}": weight}
    for old, new in (("pre_tile", "pre_tile_pos_embed"), ("post_tile", "post_tile_pos_embed")):
        if name == f"{old}_positional_embedding.gate":
            return {f"{prefix}{new}.gate": weight}
        if name == f"{old}_positional_embedding.embedding.weight":
            return {f"{prefix}{new}.embedding": grid(weight.unflatten(1, (vision.max_num_tiles, 1, -1)))}
    if name == "gated_positional_embedding.tile_embedding.weight":
        places = (vision.image_size // vision.patch_size) ** 2 + 1
        return {f"{prefix}gated_positional_embedding": grid(weight.unflatten(1, (vision.max_num_tiles, places, -1)))}
    renamed = {
        "gated_positional_embedding.embedding": "positional_embedding",
        "gated_positional_embedding.gate": "gated_positional_embedding_gate",
        "patch_embedding.weight": "conv1._linear.weight",
        "class_embedding": "class_embedding",
    } | {f"layernorm_{at}.{what}": f"ln_{at}.{what}" for at in ("pre", "post") for what in ("weight", "bias")}
    return {prefix + renamed[name]: weight.flatten(1) if name == "patch_embedding.weight" else weight}


def grid(table: Tensor) -> Tensor:
    """One entry for each row and column, from the largest arrangement that has it: [9, 4, ...] -> [4, 4, ...]."""
    made = torch.zeros(4, 4, *table.shape[2:])
    for aspect, (rows, columns) in enumerate(ARRANGEMENTS, start=1):
        made[:rows, :columns] = table[aspect, : rows * columns].unflatten(0, (rows, columns))
    return made


def one_entry_a_place(hub: dict[str, Tensor], config: MllamaConfig) -> dict[str, Tensor]:
    """The hub's weights with tables of tiles as Meta's can be: the same entry for a place in every arrangement."""
    hub = dict(hub)
    for name in [name for name in hub if "tile" in name and name.endswith("embedding.weight")]:
        table = hub[name].unflatten(1, (config.vision_config.max_num_tiles, -1))
        entries, made = torch.randn(4, 4, table.shape[-1]), torch.zeros_like(table)
        for aspect, (rows, columns) in enumerate(ARRANGEMENTS, start=1):
            made[aspect, : rows * columns] = entries[:rows, :columns].flatten(0, 1)
        hub[name] = made.flatten(1)
    return hub


def write_meta(weights: dict[str, Tensor], config: MllamaConfig, folder: Path, files: int = 1) -> Path:
    """Meta's folder, cut over so many files."""
    folder.mkdir(parents=True)
    text = config.text_config
    params = dict(
        dim=text.hidden_size,
        n_layers=text.num_hidden_layers - len(text.cross_attention_layers),
        n_heads=text.num_attention_heads,
        n_kv_heads=text.num_key_value_heads,
        vocab_size=text.vocab_size,
        ffn_dim_multiplier=text.intermediate_size / (8 * text.hidden_size // 3) + 1e-6,
        multiple_of=8,
        norm_eps=text.rms_norm_eps,
        rope_theta=500_000.0,
        use_scaled_rope=False,
        vision_chunk_size=config.vision_config.image_size,
        vision_max_num_chunks=4,
        vision_num_cross_attention_layers=len(text.cross_attention_layers),
    )
    (folder / "params.json").write_text(json.dumps(params))
    for number in range(files):
        name = "consolidated.pth" if files == 1 else f"consolidated.{number:02d}.pth"
        torch.save({key: slice_of(key, weight, number, files) for key, weight in weights.items()}, folder / name)
    return folder


def slice_of(name: str, weight: Tensor, number: int, files: int) -> Tensor:
    stem = name.removesuffix(".weight").removesuffix(".bias")
    if stem.endswith(SLICED_ROWS) or "vision_projection" in name:
        return weight.chunk(files, 0)[number].clone()
    if stem.endswith(SLICED_COLUMNS) and weight.ndim == 2:
        return weight.chunk(files, 1)[number].clone()
    return weight
