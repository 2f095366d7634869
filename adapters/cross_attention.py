"""Gated cross-attention: how a frozen language model looks at an encoder's memory.

Shapes: B batch, T text tokens, N places of the memory, D width of the text, F width of the memory,
H query heads, K key heads (H is a multiple of K), d width of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .gates import TanhGate


class MemoryProjection(nn.Module):
    """Keys and values of a memory; they depend on the memory alone, so one call serves a whole dialogue.

    x [B, N, F] -> keys and values, each [B, K, N, d]. Heads are not repeated: with grouped queries
    the memory of a picture is as small as the published shapes allow.
    """

    def __init__(self, memory_dim: int, num_kv_heads: int, head_dim: int, eps: float):
        super().__init__()
        self.num_kv_heads = num_kv_heads
        self.k = nn.Linear(memory_dim, num_kv_heads * head_dim, bias=False)
        self.v = nn.Linear(memory_dim, num_kv_heads * head_dim, bias=False)
        self.k_norm = nn.RMSNorm(head_dim, eps)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = (y.unflatten(-1, (self.num_kv_heads, -1)).transpose(1, 2) for y in (self.k(x), self.v(x)))
        # contiguous, so that what a cache holds is these heads and no view into something larger
        return self.k_norm(keys).contiguous(), values.contiguous()


class SwiGLU(nn.Module):
    """The feed-forward network of Llama 3: x [..., D] -> [..., D]."""

    def __init__(self, dim: int, hidden_dim: int):
        super().__init__()
        self.gate = nn.Linear(dim, hidden_dim, bias=False)
        self.up = nn.Linear(dim, hidden_dim, bias=False)
        self.down = nn.Linear(hidden_dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class GatedCrossAttention(nn.Module):
    """A block to stand before a layer of a frozen language model.

    RMSNorm, cross-attention with grouped queries, per-head RMSNorm on queries and keys and no
    rotation, a tanh gate; then RMSNorm, SwiGLU, a second tanh gate. Both gates start at 0.
    Source: paper 7.2; norms, gates and the order are those of the released code.
    """

    def __init__(
        self,
        dim: int,
        memory_dim: int,
        num_heads: int,
        num_kv_heads: int,
        head_dim: int,
        ffn_dim: int,
        eps: float = 1e-5,
    ):
        super().__init__()
        if num_heads % num_kv_heads:
            raise ValueError(f"num_heads ({num_heads}) must be a multiple of num_kv_heads ({num_kv_heads})")
        self.num_heads = num_heads
        self.attention_norm = nn.RMSNorm(dim, eps)
        self.q = nn.Linear(dim, num_heads * head_dim, bias=False)
        self.q_norm = nn.RMSNorm(head_dim, eps)
        self.memory = MemoryProjection(memory_dim, num_kv_heads, head_dim, eps)
        self.out = nn.Linear(num_heads * head_dim, dim, bias=False)
        self.attention_gate = TanhGate()
        self.ffn_norm = nn.RMSNorm(dim, eps)
        self.ffn = SwiGLU(dim, ffn_dim)
        self.ffn_gate = TanhGate()

    def forward(self, h: Tensor, keys: Tensor, values: Tensor, see: Tensor) -> Tensor:
        """h [B, T, D]; keys and values [B, K, N, d] of `self.memory`; see [B, T, N], bool -> [B, T, D].

        A text token attends to the places that its row of `see` marks. A token that sees nothing
        keeps its state to the bit.
        """
        sees = see.any(-1, keepdim=True)  # [B, T, 1]
        h = h + _only_where(sees, self.attention_gate(self._attend(self.attention_norm(h), keys, values, see | ~sees)))
        return h + _only_where(sees, self.ffn_gate(self.ffn(self.ffn_norm(h))))

    def _attend(self, x: Tensor, keys: Tensor, values: Tensor, see: Tensor) -> Tensor:
        q = self.q_norm(self.q(x).unflatten(-1, (self.num_heads, -1))).transpose(1, 2)  # [B, H, T, d]
        # The H/K query heads that share a key head become rows of one attention: no backend then
        # repeats keys or values, and no mask of None can make this attention causal.
        group = self.num_heads // keys.shape[1]
        q = q.unflatten(1, (-1, group)).flatten(2, 3)  # [B, K, H/K * T, d]
        x = F.scaled_dot_product_attention(q, keys, values, attn_mask=see.repeat(1, group, 1).unsqueeze(1))
        x = x.unflatten(2, (group, -1)).flatten(1, 2)  # [B, H, T, d]
        return self.out(x.transpose(1, 2).flatten(2))


def _only_where(sees: Tensor, update: Tensor) -> Tensor:
    """Zero for rows of text that see nothing, an exact zero whatever the row was computed to be.

    text        <s>  What  <image>  is  this        sees 0 0 1 1 1
    update       0     0      u      u    u
    """
    return torch.where(sees, update, torch.zeros((), dtype=update.dtype, device=update.device))
