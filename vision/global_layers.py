"""Gated self-attention over all tiles of a picture, on top of a trunk that sees one tile at a time."""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from adapters.gates import TanhGate


class GatedGlobalLayer(nn.Module):
    """A pre-norm transformer layer whose two branches pass a tanh gate that starts at 0.

    x [P, N, D] for P pictures of N places each; keep [P, N], bool, marks what may be attended to.
    Source: paper 7.2.1 (gated self-attention layers); GELU and the gates are those of the released code.
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, eps: float = 1e-5):
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(dim, eps)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.attention_gate = TanhGate()
        self.mlp_norm = nn.LayerNorm(dim, eps)
        hidden_dim = int(dim * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, dim))
        self.mlp_gate = TanhGate()

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(self.attention_norm(x)), "p n (qkv h d) -> qkv p h n d", qkv=3, h=self.num_heads)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=keep[:, None, None, :])
        x = x + self.attention_gate(self.out(rearrange(attended, "p h n d -> p n (h d)")))
        return x + self.mlp_gate(self.mlp(self.mlp_norm(x)))
