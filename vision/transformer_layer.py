"""The layer that picture encoders are stacked from: plain, or gated above a trunk that sees one tile at a time."""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from adapters.gates import TanhGate


class TransformerLayer(nn.Module):
    """A pre-norm transformer layer over the places of a picture; `gated`: both branches pass a tanh gate.

    x [P, N, D] for P pictures of N places each; see, bool, broadcast to [P, heads, N, N], marks which
    place may attend to which. Source: paper 7.2.1 (gated self-attention layers); GELU, no bias in the
    attention and gates that start at 0 are those of the released code.
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, gated: bool, eps: float = 1e-5):
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(dim, eps)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.attention_gate = TanhGate() if gated else nn.Identity()
        self.mlp_norm = nn.LayerNorm(dim, eps)
        hidden_dim = int(dim * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, dim))
        self.mlp_gate = TanhGate() if gated else nn.Identity()

    def forward(self, x: Tensor, see: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(self.attention_norm(x)), "p n (qkv h d) -> qkv p h n d", qkv=3, h=self.num_heads)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=see)
        x = x + self.attention_gate(self.out(rearrange(attended, "p h n d -> p n (h d)")))
        return x + self.mlp_gate(self.mlp(self.mlp_norm(x)))
