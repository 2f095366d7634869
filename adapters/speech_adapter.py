"""From a speech encoder's frames to token embeddings of a frozen language model.

Shapes: B clips, T frames, S embeddings of a clip, F width of the frames, W of the adapter, D of the text.
Every adapter takes a `Memory` of frames and gives one of embeddings; padding changes nothing.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .memory import Memory


class SpeechAdapter(nn.Module):
    """The paper's adapter: a convolution that halves the rate, one rotary transformer layer, a linear layer.

    x [B, T, F] at 40 ms -> [B, ceil(T / 2), D] at 80 ms. Source: paper 8.2 (kernel 3, stride 2, width
    3072, feed-forward 4096); norms, activation and number of heads are our choice.
    """

    def __init__(
        self, in_dim: int, width: int, num_heads: int, ffn_dim: int, out_dim: int, rope_theta: float = 10_000.0
    ):
        super().__init__()
        self.stride = 2
        self.convolution = nn.Conv1d(in_dim, width, kernel_size=3, stride=2, padding=1)
        self.layer = RotaryLayer(width, num_heads, ffn_dim, rope_theta)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, out_dim)

    def forward(self, frames: Memory) -> Memory:
        x = frames.x * frames.keep.unsqueeze(-1)  # what pads a clip is what the convolution pads with: zeros
        x = rearrange(self.convolution(rearrange(x, "b t f -> b f t")), "b w s -> b s w")
        keep = frames.keep[:, :: self.stride]  # frame 2 s is the middle of the three that make embedding s
        return Memory(self.out(self.norm(self.layer(x, keep))), keep)


class RotaryLayer(nn.Module):
    """A pre-norm transformer layer with rotary attention over all places that are there: x [B, S, W], keep [B, S]."""

    def __init__(self, width: int, num_heads: int, ffn_dim: int, rope_theta: float):
        super().__init__()
        self.num_heads, self.rope_theta = num_heads, rope_theta
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.ffn_norm = nn.LayerNorm(width)
        self.ffn = nn.Sequential(nn.Linear(width, ffn_dim), nn.SiLU(), nn.Linear(ffn_dim, width))

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        qkv = rearrange(self.qkv(self.attention_norm(x)), "b s (qkv h d) -> qkv b h s d", qkv=3, h=self.num_heads)
        q, k = (_rotated(part, self.rope_theta) for part in qkv[:2])
        # a clip of nothing must not divide by zero: its places see each other, and are not there for anyone
        see = keep | ~keep.any(1, keepdim=True)
        attended = F.scaled_dot_product_attention(q, k, qkv[2], attn_mask=see[:, None, None])
        x = x + self.out(rearrange(attended, "b h s d -> b s (h d)"))
        return x + self.ffn(self.ffn_norm(x))


def _rotated(x: Tensor, theta: float) -> Tensor:
    """x [B, H, S, d]: place s turns channels i and i + d / 2 by s * theta ** (-2 i / d)."""
    half = x.shape[-1] // 2
    turn = theta ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angles = torch.arange(x.shape[-2], device=x.device).unsqueeze(1) * turn
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class StackingProjector(nn.Module):
    """Ultravox's projector: `stack` frames side by side, then two linear layers with RMS norms around them.

    x [B, T, F] -> [B, ceil(T / stack), D]. norm_in_the_middle: as since v0.5, between the two; before, the
    norm stands behind the second. Source: Ultravox's released code and checkpoints.
    """

    def __init__(
        self, in_dim: int, stack: int, hidden_dim: int, out_dim: int, activation: str, norm_in_the_middle: bool
    ):
        super().__init__()
        self.stride = stack
        middle = hidden_dim // 2 if activation == "swiglu" else hidden_dim
        self.activation = _activation(activation)
        self.norm_before = nn.RMSNorm(in_dim * stack, eps=1e-6)
        self.linear_in = nn.Linear(in_dim * stack, hidden_dim, bias=False)
        self.norm_middle = nn.RMSNorm(middle, eps=1e-6) if norm_in_the_middle else nn.Identity()
        self.linear_out = nn.Linear(middle, out_dim, bias=False)
        self.norm_after = nn.Identity() if norm_in_the_middle else nn.RMSNorm(out_dim, eps=1e-6)

    def forward(self, frames: Memory) -> Memory:
        x, keep = stacked(frames, self.stride)
        x = self.norm_middle(self.activation(self.linear_in(self.norm_before(x))))
        return Memory(self.norm_after(self.linear_out(x)), keep)


class StackingTransformer(nn.Module):
    """Ultravox's newer projector: `stack` frames side by side, learned positions, layers as Whisper's, a linear layer.

    x [B, T, F] -> [B, ceil(T / stack), D]. Source: Ultravox's code as vLLM carries it.
    """

    def __init__(
        self, in_dim: int, stack: int, num_layers: int, num_heads: int, ffn_dim: int, max_places: int, out_dim: int
    ):
        super().__init__()
        self.stride = stack
        self.norm_before = nn.RMSNorm(in_dim * stack, eps=1e-6)
        self.linear_in = nn.Linear(in_dim * stack, in_dim)
        self.position = nn.Embedding(max_places, in_dim)
        self.layers = nn.ModuleList(WhisperLayer(in_dim, num_heads, ffn_dim) for _ in range(num_layers))
        self.norm_after = nn.RMSNorm(in_dim, eps=1e-6)
        self.linear_out = nn.Linear(in_dim, out_dim)

    def forward(self, frames: Memory) -> Memory:
        """Raises ValueError if a clip has more places than there are positions."""
        x, keep = stacked(frames, self.stride)
        if x.shape[1] > self.position.num_embeddings:
            raise ValueError(f"found a clip of {x.shape[1]} places; accepted: at most {self.position.num_embeddings}")
        x = self.linear_in(self.norm_before(x)) + self.position.weight[: x.shape[1]]
        for layer in self.layers:
            x = layer(x, keep)
        return Memory(self.linear_out(self.norm_after(x)), keep)


class WhisperLayer(nn.Module):
    """A pre-norm layer of Whisper's encoder: biases everywhere but on the keys, GELU: x [B, S, W], keep [B, S]."""

    def __init__(self, width: int, num_heads: int, ffn_dim: int):
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.q, self.k = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.v, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.ffn_norm = nn.LayerNorm(width)
        self.ffn = nn.Sequential(nn.Linear(width, ffn_dim), nn.GELU(), nn.Linear(ffn_dim, width))

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        y = self.attention_norm(x)
        q, k, v = (rearrange(part(y), "b s (h d) -> b h s d", h=self.num_heads) for part in (self.q, self.k, self.v))
        see = keep | ~keep.any(1, keepdim=True)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=see[:, None, None])
        x = x + self.out(rearrange(attended, "b h s d -> b s (h d)"))
        return x + self.ffn(self.ffn_norm(x))


def stacked(frames: Memory, stack: int) -> Memory:
    """`stack` frames side by side, zeros after the last: [B, T, F] -> [B, ceil(T / stack), F * stack]."""
    x = frames.x * frames.keep.unsqueeze(-1)
    x = F.pad(x, (0, 0, 0, -x.shape[1] % stack))
    return Memory(rearrange(x, "b (s stack) f -> b s (stack f)", stack=stack), frames.keep[:, ::stack])


ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}


class GatedHalves(nn.Module):
    """The first half of the channels times SiLU of the second: x [..., 2 n] -> [..., n]."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return first * F.silu(second)


def _activation(name: str) -> nn.Module:
    if name == "swiglu":
        return GatedHalves()
    if name not in ACTIVATIONS:
        raise ValueError(f"found the activation {name!r}; accepted: swiglu, {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()
