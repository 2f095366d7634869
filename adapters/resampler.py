"""The temporal aggregator: consecutive frames of a clip merged to one, by a perceiver resampler.

Shapes: B clips, F frames, N places of a frame, D width, G = ceil(F / frames_per_aggregate) aggregated frames.
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

NUM_WAVES = 6


class TemporalAggregator(nn.Module):
    """Latents that look at all places of some consecutive frames, and stand for these frames from there on.

    A latent starts as the slow part of what its place showed: the mean over the frames, and `NUM_WAVES` cosine
    waves over them through a linear layer, which tell early from late. So it knows where it stands, and a
    frame may have any number of places. Source: paper 7.2.3 (a perceiver resampler, 32 frames to one);
    latents, depth and norms are not told there: our choice, the layers after Flamingo's.
    """

    def __init__(
        self, dim: int, num_heads: int, num_layers: int = 2, mlp_ratio: float = 4.0, frames_per_aggregate: int = 32
    ):
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim ({dim}) must be a multiple of num_heads ({num_heads})")
        self.frames_per_aggregate = frames_per_aggregate
        self.waves = nn.Linear(NUM_WAVES * dim, dim, bias=False)
        self.layers = nn.ModuleList(PerceiverLayer(dim, num_heads, mlp_ratio) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, F, N, D]; keep [B, F, N], bool: which places are there -> x [B, G, N, D] and keep [B, G, N].

        A place is there in an aggregated frame if it is in one of its frames.
        """
        per = min(self.frames_per_aggregate, x.shape[1])
        missing = -x.shape[1] % per  # frames of the last aggregate
        x, keep = F.pad(x, (0, 0, 0, 0, 0, missing)), F.pad(keep, (0, 0, 0, missing))
        batch = len(x)
        x, keep = rearrange(x, "b (g f) n d -> (b g) f n d", f=per), rearrange(keep, "b (g f) n -> (b g) f n", f=per)
        there = keep.unsqueeze(-1)
        shown = torch.where(there, x, 0)
        waves = torch.einsum("bfk,bfnd->bnkd", cosines(keep.any(2)).to(x.dtype), shown)
        latents = shown.sum(1) / there.sum(1).clamp(min=1) + self.waves(waves.flatten(2))
        is_there = keep.any(1)
        see = torch.cat([keep.flatten(1), is_there], 1)
        see = see | ~see.any(1, keepdim=True)  # an aggregate of nothing must not divide by zero
        x = x.flatten(1, 2)
        for layer in self.layers:
            latents = layer(latents, x, see)
        return rearrange(self.norm(latents), "(b g) n d -> b g n d", b=batch), rearrange(
            is_there, "(b g) n -> b g n", b=batch
        )


def cosines(there: Tensor) -> Tensor:
    """Waves of half a period, one, ... over the frames that are there [B, F], bool -> [B, F, NUM_WAVES]."""
    count = there.sum(1, keepdim=True).clamp(min=1)
    share = (there.cumsum(1) - 0.5) / count  # of the aggregate's time, in the middle of each frame
    turns = math.pi * torch.arange(1, NUM_WAVES + 1, device=there.device)
    return (share.unsqueeze(-1) * turns).cos() * (there / count).unsqueeze(-1)


class PerceiverLayer(nn.Module):
    """Pre-norm attention of latents to features and to themselves, then a feed-forward network, both added.

    latents [B, L, D]; features [B, S, D]; see [B, S + L], bool: which features, then which latents, are
    there. Source: Flamingo (arXiv 2204.14198, appendix A.1.1).
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float):
        super().__init__()
        self.num_heads = num_heads
        self.feature_norm = nn.LayerNorm(dim)
        self.latent_norm = nn.LayerNorm(dim)
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(dim, 2 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.mlp_norm = nn.LayerNorm(dim)
        hidden_dim = int(dim * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, dim))

    def forward(self, latents: Tensor, features: Tensor, see: Tensor) -> Tensor:
        normed = self.latent_norm(latents)
        q = rearrange(self.q(normed), "b l (h d) -> b h l d", h=self.num_heads)
        kv = self.kv(torch.cat([self.feature_norm(features), normed], 1))
        k, v = rearrange(kv, "b s (two h d) -> two b h s d", two=2, h=self.num_heads)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=see[:, None, None])
        latents = latents + self.out(rearrange(attended, "b h l d -> b l (h d)"))
        return latents + self.mlp(self.mlp_norm(latents))
