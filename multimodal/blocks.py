"""From a core's configuration to the cross-attention blocks that stand before some of its layers."""

from collections.abc import Iterable

from torch import nn
from transformers import LlamaConfig

from adapters.cross_attention import GatedCrossAttention


def build_blocks(layers: Iterable[int], text: LlamaConfig) -> nn.ModuleDict:
    """A block for each of these layers, by its number; as large as a layer of the core, its memory as wide."""
    return nn.ModuleDict(
        {
            str(layer): GatedCrossAttention(
                text.hidden_size,
                text.hidden_size,
                text.num_attention_heads,
                text.num_key_value_heads,
                text.head_dim,
                text.intermediate_size,
                text.rms_norm_eps,
            )
            for layer in layers
        }
    )
