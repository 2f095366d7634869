"""Llama 3.2 Vision as plain tensor algebra, from the published description; weights by their hub names.

One row of text at a time, nothing padded, nothing cached, one attention head after the other: slow and easy
to compare with the formulas. Pictures are [tiles, 3, side, side] with their (rows, columns).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import MllamaConfig

ARRANGEMENTS = [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 1), (4, 1)]
NEAREST_OCTET = 8


@dataclass
class WrittenOut:
    weights: dict[str, Tensor]  # hub names
    config: MllamaConfig

    def logits(self, ids: list[int], pictures: list[tuple[Tensor, tuple[int, int]]]) -> Tensor:
        """ids [T] with one picture token for each picture -> [T, vocabulary]."""
        text, w = self.config.text_config, self.weights
        memory = [self.project(self.features(*picture)) for picture in pictures]  # [tiles * places, D] each
        seen = visible(ids, self.config.image_token_index)  # for each token the pictures that it sees
        h = w["language_model.model.embed_tokens.weight"][ids]
        for i in range(text.num_hidden_layers):
            prefix = f"language_model.model.layers.{i}."
            if i in text.cross_attention_layers:
                h = self.image_block(h, memory, seen, prefix)
            else:
                h = self.text_layer(h, prefix)
        h = rms(h, w["language_model.model.norm.weight"], text.rms_norm_eps)
        return h @ w["language_model.lm_head.weight"].T

    # the picture tower

    def features(self, tiles: Tensor, arrangement: tuple[int, int]) -> Tensor:
        """[tiles, 3, side, side] -> [tiles, places, D * 6]: final states, and what enters the blocks of the list."""
        vision, w = self.config.vision_config, self.weights
        side, patch, width = vision.image_size, vision.patch_size, vision.hidden_size
        count, grid = len(tiles), side // patch
        canvas = torch.zeros(vision.max_num_tiles, 3, side, side, dtype=tiles.dtype)
        canvas[:count] = tiles
        kernel = w["vision_model.patch_embedding.weight"].flatten(1)
        patches = canvas.reshape(-1, 3, grid, patch, grid, patch).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        x = patches @ kernel.T
        aspect = ARRANGEMENTS.index(arrangement) + 1
        x = x + self.of_tile("pre_tile_positional_embedding", aspect)
        x = torch.cat([w["vision_model.class_embedding"].expand(len(x), 1, width), x], 1)
        gate = w["vision_model.gated_positional_embedding.gate"].tanh()
        table = w["vision_model.gated_positional_embedding.tile_embedding.weight"][aspect]
        x = x + (1 - gate) * w["vision_model.gated_positional_embedding.embedding"] + gate * table.view(x.shape)
        x = self.layer_norm(x, "vision_model.layernorm_pre")
        places = x.shape[1]
        padding = -places % NEAREST_OCTET
        x = torch.cat([x, torch.zeros(len(x), padding, width, dtype=x.dtype)], 1)
        real = torch.zeros(x.shape[:2], dtype=torch.bool)
        real[:count, :places] = True
        see = real.flatten()[:, None] | real.flatten()[None, :]  # only padding does not see padding
        shape, x = x.shape, x.flatten(0, 1)
        entering = []
        for i in range(vision.num_hidden_layers):
            entering.append(x)
            x = self.tower_layer(x, see, f"vision_model.transformer.layers.{i}.", gated=False)
        x = self.layer_norm(x, "vision_model.layernorm_post").view(shape)
        x = (x + self.of_tile("post_tile_positional_embedding", aspect)).flatten(0, 1)
        for i in range(vision.num_global_layers):
            x = self.tower_layer(x, see, f"vision_model.global_transformer.layers.{i}.", gated=True)
        tapped = torch.stack([entering[i] for i in vision.intermediate_layers_indices], -1).flatten(1)
        return torch.cat([x, tapped], -1).view(shape[0], shape[1], -1)[:count, :places]

    def of_tile(self, name: str, aspect: int) -> Tensor:
        vision, w = self.config.vision_config, self.weights
        table = w[f"vision_model.{name}.embedding.weight"][aspect].view(vision.max_num_tiles, 1, vision.hidden_size)
        return w[f"vision_model.{name}.gate"].tanh() * table

    def layer_norm(self, x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def tower_layer(self, x: Tensor, see: Tensor, prefix: str, gated: bool) -> Tensor:
        w = {name.removeprefix(prefix): value for name, value in self.weights.items() if name.startswith(prefix)}
        opened = {name: w[name].tanh() if gated else 1.0 for name in ("gate_attn", "gate_ffn")}
        y = self.layer_norm(x, f"{prefix}input_layernorm")
        q, k, v = (y @ w[f"self_attn.{part}_proj.weight"].T for part in "qkv")
        heads = self.config.vision_config.attention_heads
        parts = zip(*(t.chunk(heads, -1) for t in (q, k, v)), strict=True)
        y = torch.cat([attend(*part, see) for part in parts], -1) @ w["self_attn.o_proj.weight"].T
        x = x + opened["gate_attn"] * y
        y = self.layer_norm(x, f"{prefix}post_attention_layernorm") @ w["mlp.fc1.weight"].T + w["mlp.fc1.bias"]
        y = 0.5 * y * (1 + torch.erf(y / math.sqrt(2)))
        return x + opened["gate_ffn"] * (y @ w["mlp.fc2.weight"].T + w["mlp.fc2.bias"])

    def project(self, features: Tensor) -> Tensor:
        weight, bias = (self.weights[f"multi_modal_projector.{name}"] for name in ("weight", "bias"))
        return features.flatten(0, 1) @ weight.T + bias

    # the text model

    def image_block(self, h: Tensor, memory: list[Tensor], seen: list[list[int]], prefix: str) -> Tensor:
        text = self.config.text_config
        w = {name.removeprefix(prefix): value for name, value in self.weights.items() if name.startswith(prefix)}
        out = []
        for t, pictures in enumerate(seen):
            x = h[t]
            if pictures:  # Meta zeroes both branches of a token that sees nothing
                places = torch.cat([memory[p] for p in pictures])
                q = rms(x, w["input_layernorm.weight"], text.rms_norm_eps) @ w["cross_attn.q_proj.weight"].T
                k, v = (places @ w[f"cross_attn.{part}_proj.weight"].T for part in "kv")
                group = text.num_attention_heads // text.num_key_value_heads
                size = text.hidden_size // text.num_attention_heads
                heads = []
                for head in range(text.num_attention_heads):
                    mine, shared = (slice(i * size, (i + 1) * size) for i in (head, head // group))
                    one = rms(q[mine], w["cross_attn.q_norm.weight"], text.rms_norm_eps)
                    keys = rms(k[:, shared], w["cross_attn.k_norm.weight"], text.rms_norm_eps)
                    heads.append((one @ keys.T / math.sqrt(size)).softmax(-1) @ v[:, shared])
                x = x + w["cross_attn_attn_gate"].tanh() * (torch.cat(heads) @ w["cross_attn.o_proj.weight"].T)
                fed = swiglu(rms(x, w["post_attention_layernorm.weight"], text.rms_norm_eps), w)
                x = x + w["cross_attn_mlp_gate"].tanh() * fed
            out.append(x)
        return torch.stack(out)

    def text_layer(self, h: Tensor, prefix: str) -> Tensor:
        text = self.config.text_config
        w = {name.removeprefix(prefix): value for name, value in self.weights.items() if name.startswith(prefix)}
        x = rms(h, w["input_layernorm.weight"], text.rms_norm_eps)
        q, k, v = (x @ w[f"self_attn.{part}_proj.weight"].T for part in "qkv")
        size = text.hidden_size // text.num_attention_heads
        group = text.num_attention_heads // text.num_key_value_heads
        causal = torch.ones(len(h), len(h), dtype=torch.bool).tril()
        heads = []
        for head in range(text.num_attention_heads):
            mine, shared = (slice(i * size, (i + 1) * size) for i in (head, head // group))
            theta = text.rope_parameters["rope_theta"]
            heads.append(attend(rotate(q[:, mine], theta), rotate(k[:, shared], theta), v[:, shared], causal))
        h = h + torch.cat(heads, -1) @ w["self_attn.o_proj.weight"].T
        return h + swiglu(rms(h, w["post_attention_layernorm.weight"], text.rms_norm_eps), w)


def attend(q: Tensor, k: Tensor, v: Tensor, see: Tensor) -> Tensor:
    return (q @ k.T / math.sqrt(q.shape[-1])).masked_fill(~see, -torch.inf).softmax(-1) @ v


def rotate(x: Tensor, theta: float) -> Tensor:
    """x [T, size], token t turned by t."""
    half = x.shape[-1] // 2
    angles = torch.arange(len(x), dtype=x.dtype)[:, None] * theta ** (-torch.arange(half, dtype=x.dtype) / half)
    first, second = x[:, :half], x[:, half:]
    return torch.cat([first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], -1)


def rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def swiglu(x: Tensor, w: dict[str, Tensor]) -> Tensor:
    gate = x @ w["mlp.gate_proj.weight"].T
    return (gate * gate.sigmoid() * (x @ w["mlp.up_proj.weight"].T)) @ w["mlp.down_proj.weight"].T


def visible(ids: list[int], image: int) -> list[list[int]]:
    """The pictures that each token sees: those of the latest run of picture tokens that has begun."""
    seen, group, count = [], [], 0
    for at, token in enumerate(ids):
        if token == image:
            group = [*group, count] if at and ids[at - 1] == image else [count]
            count += 1
        seen.append(group)
    return seen
