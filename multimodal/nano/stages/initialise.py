"""How the text core starts: able to copy. All of it is our choice, and all of it is trained on.

Two things keep a core this narrow from ever learning to look something up in what it was told. With
one standard deviation for every matrix, the first layers drown the embeddings (norm 1 in, norm 15
out), so here each layer starts by adding next to nothing. And heads that find an earlier occurrence
form late, after millions of tokens, because one of their two halves is useless without the other
(Olsson et al., "In-context learning and induction heads", 2022), so here they stand at the start: in
layer 0 heads that look at the token before, in layer 1 heads that look at the token after an earlier
occurrence of this one and copy it, in layer 2 heads that look at an earlier occurrence itself.
"""

import math

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

OUTPUT_SCALE = 0.02  # of what attention and feed-forward layers add to the stream
NOISE = 0.3  # what is left of the random query and key weights of the layers set here
CONSTANT = 0.5  # one coordinate of every embedding: what a head reads that asks for a place, not a word
SHARPNESS = 8.0  # logits by which the token before stands out
MATCH = 2.5  # scale of queries and keys that look for the same token
CARRY, COPY = 0.15, 0.3  # how strongly the token before, and the copied token, are written
FAST = 5  # rotary pairs that turn too fast to match words tens of tokens apart


@torch.no_grad()
def start_with_copying(model: LlamaForCausalLM, seed: int) -> None:
    """Set the weights of a freshly made model; each group of heads gets one head of each sort."""
    generator = torch.Generator().manual_seed(seed)
    config, layers = model.config, [layer.self_attn for layer in model.model.layers[:3]]
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.mul_(OUTPUT_SCALE)
        layer.mlp.down_proj.weight.mul_(OUTPUT_SCALE)
    for layer in layers:
        layer.q_proj.weight.mul_(NOISE)
        layer.k_proj.weight.mul_(NOISE)
    model.model.embed_tokens.weight[:, 0] = CONSTANT
    size, group = config.head_dim, config.num_attention_heads // config.num_key_value_heads
    query_before, key_before = (vector * _place_scale(model) for vector in _one_before(model))
    slow = (torch.arange(size) % (size // 2) >= FAST).float()[:, None] * MATCH
    for kv in range(config.num_key_value_heads):
        keys, head = slice(kv * size, (kv + 1) * size), slice(kv * group * size, (kv * group + 1) * size)
        word, carried, copied, same = (_directions(config.hidden_size, size, generator) for _ in range(4))
        before, after, match = layers
        before.q_proj.weight[head], before.k_proj.weight[keys, 0] = 0.0, key_before
        before.q_proj.weight[head, 0] = query_before
        before.v_proj.weight[keys], before.o_proj.weight[:, head] = word, CARRY * carried.T
        after.q_proj.weight[head], after.k_proj.weight[keys] = slow * word, slow * carried
        after.v_proj.weight[keys], after.o_proj.weight[:, head] = copied, COPY * copied.T
        match.q_proj.weight[head], match.k_proj.weight[keys] = slow * same, slow * same


def _one_before(model: LlamaForCausalLM) -> tuple[Tensor, Tensor]:
    """A query and a key [head_dim] whose rotated product is largest one position back.

    The key stands on the three fastest rotary pairs; the query is the same turned back by one step.
    """
    half = model.config.head_dim // 2
    turn = model.config.rope_parameters["rope_theta"] ** (-torch.arange(half) / half)
    amplitude = torch.zeros(half)
    amplitude[:3] = torch.tensor([1.0, 1.0, 0.5]).sqrt()
    query = torch.cat([amplitude * turn.cos(), -amplitude * turn.sin()])
    return query, torch.cat([amplitude, torch.zeros(half)])


def _place_scale(model: LlamaForCausalLM) -> float:
    """What the constant coordinate, after the norm, must be multiplied by for `SHARPNESS` logits."""
    config = model.config
    mean_square = (CONSTANT**2 + (config.hidden_size - 1) * config.initializer_range**2) / config.hidden_size
    return math.sqrt(SHARPNESS * math.sqrt(config.head_dim)) * math.sqrt(mean_square) / CONSTANT


def _directions(width: int, number: int, generator: torch.Generator) -> Tensor:
    """Orthonormal random rows [number, width] that do not see the constant coordinate."""
    columns = torch.randn(width, number, generator=generator)
    columns[0] = 0.0
    return torch.linalg.qr(columns)[0].T
