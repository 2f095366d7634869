"""The paper's speech encoder: log-mel frames to a memory with a feature every 40 ms.

Shapes: B clips, F frames of 10 ms, M mel bins, T stacks of 4 frames, D width, H heads, d width of a head.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from adapters.memory import Memory
from adapters.speech_adapter import stacked

STACK = 4  # frames of 10 ms side by side: 40 ms. Paper 8.2.1
ROPE_THETA = 10_000.0  # our choice; the paper names rotary attention and no base

SIZES = {
    # Paper 8.2.1: 1B parameters
    "paper-1b": dict(num_mels=80, width=1536, layers=24, heads=24, ffn_dim=4096, kernel=7),
    # 2.4M parameters, under 5 MB in fp16
    "nano": dict(num_mels=80, width=144, layers=6, heads=4, ffn_dim=432, kernel=7),
}


class Conformer(nn.Module):
    """Stacks of 4 frames, a linear layer, and conformer layers with rotary attention.

    What pads a clip changes nothing of it, and neither does its company in a batch. Source: paper 8.2.1
    (the conformer of arXiv 2005.08100); no dropout, LayerNorm throughout and where biases stand are our choice.
    """

    def __init__(self, num_mels: int, width: int, layers: int, heads: int, ffn_dim: int, kernel: int):
        """Raises ValueError if the heads do not share the width in even parts, or if the kernel has no middle."""
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"width is {width}; accepted for {heads} heads: a multiple of {2 * heads}")
        if kernel % 2 == 0:
            raise ValueError(f"kernel is {kernel}; accepted: an odd number of frames")
        self.num_mels, self.out_dim = num_mels, width
        self.stem = nn.Linear(STACK * num_mels, width)
        self.layers = nn.ModuleList(ConformerLayer(width, heads, ffn_dim, kernel) for _ in range(layers))

    def forward(self, features: Tensor, frames: Tensor) -> Memory:
        """features [B, F, M], frames [B] of each clip -> x [B, ceil(F / 4), D], zero where keep is False.

        Features are what `normalised` makes of log-mel frames.

        Raises ValueError if the features have another number of mel bins, or frames are not one number a clip.
        """
        if features.ndim != 3 or features.shape[2] != self.num_mels:
            raise ValueError(f"features are {list(features.shape)}; this encoder takes [B, F, {self.num_mels}]")
        if frames.shape != features.shape[:1]:
            raise ValueError(f"frames are {list(frames.shape)} for {len(features)} clips; accepted: one number a clip")
        stacks, keep = stack_frames(features, frames)
        x = self.stem(stacks)  # [B, T, D]
        # a clip of nothing must not divide by zero: its places see each other, and are not there for anyone
        see = (keep | ~keep.any(1, keepdim=True))[:, None, None]
        turns = rotation(x.shape[1], self.layers[0].attention.head_dim, x)
        for layer in self.layers:
            x = layer(x, keep, see, turns)
        return Memory(_only_kept(x, keep), keep)


class ConformerLayer(nn.Module):
    """Half a feed-forward step, self-attention, convolution, the other half step, and a norm.

    x [B, T, D]; keep [B, T] of the clips; see [B, 1, 1, T], where attention may look; turns of `rotation`.
    """

    def __init__(self, width: int, heads: int, ffn_dim: int, kernel: int):
        super().__init__()
        self.ffn_before = feed_forward(width, ffn_dim)
        self.attention = RotaryAttention(width, heads)
        self.convolution = Convolution(width, kernel)
        self.ffn_after = feed_forward(width, ffn_dim)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, keep: Tensor, see: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        x = x + 0.5 * self.ffn_before(x)
        x = x + self.attention(x, see, turns)
        x = x + self.convolution(x, keep)
        x = x + 0.5 * self.ffn_after(x)
        return self.norm(x)


def feed_forward(width: int, ffn_dim: int) -> nn.Sequential:
    """A pre-norm feed-forward network of two matrices with SiLU: x [B, T, D] -> [B, T, D]."""
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, ffn_dim), nn.SiLU(), nn.Linear(ffn_dim, width))


class RotaryAttention(nn.Module):
    """Pre-norm self-attention whose queries and keys are turned by their place, without biases."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.head_dim = heads, width // heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, see: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        q, k, v = rearrange(self.qkv(self.norm(x)), "b t (qkv h d) -> qkv b h t d", qkv=3, h=self.heads)
        attended = F.scaled_dot_product_attention(rotated(q, turns), rotated(k, turns), v, attn_mask=see)
        return self.out(rearrange(attended, "b h t d -> b t (h d)"))


def rotation(places: int, head_dim: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine [T, d / 2] of what place t turns pair i by: t / theta ** (2 i / d), computed in float32.

    Computed anew in each pass and not a buffer: a model that is built without memory and filled from a
    file would have an empty one.
    """
    speeds = ROPE_THETA ** (-torch.arange(0, head_dim, 2, device=like.device, dtype=torch.float32) / head_dim)
    angles = torch.arange(places, device=like.device, dtype=torch.float32).unsqueeze(1) * speeds
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def rotated(x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """x [B, H, T, d]: channel i turns with channel i + d / 2."""
    cos, sin = turns
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class Convolution(nn.Module):
    """The convolution module: norm, gated linear unit, one kernel a channel, norm, SiLU, linear layer.

    The norm behind the kernel is a LayerNorm where the first conformer has BatchNorm: it is of one place
    alone, so that neither padding nor company enters, there is one behaviour in training and after it,
    and batches may be as small as an utterance. Source: paper 8.2.1 (kernel 7); arXiv 2005.08100, 2.2.
    """

    def __init__(self, width: int, kernel: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gated = nn.Linear(width, 2 * width)
        # A picture one place high, whose memory layout [B, T, D] is: on a CPU forward and backward take a
        # quarter of the time of Conv1d.
        self.kernel = nn.Conv2d(width, width, (1, kernel), padding=(0, kernel // 2), groups=width, bias=False)
        self.kernel_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        x = _only_kept(F.glu(self.gated(self.norm(x))), keep)  # past its end a clip is silent, as alone
        x = self.kernel(rearrange(x, "b t d -> b d 1 t"))
        return self.out(F.silu(self.kernel_norm(rearrange(x, "b d 1 t -> b t d"))))


def stack_frames(features: Tensor, frames: Tensor) -> Memory:
    """Four frames side by side, zeros after the last of each clip: [B, F, M], [B] -> x [B, ceil(F / 4), 4 M]."""
    return stacked(Memory(features, frame_mask(frames, features.shape[1])), STACK)


def frame_mask(frames: Tensor, places: int) -> Tensor:
    """Frames [B] of each clip -> [B, places], bool: which places are there."""
    return torch.arange(places, device=frames.device) < frames.unsqueeze(1)


def normalised(features: Tensor, frames: Tensor, eps: float = 1e-5) -> Tensor:
    """Mean 0 and variance 1 of each mel bin over the frames of its clip: [B, F, M] -> [B, F, M], padding 0.

    Loudness and microphone drop out; normalised features stay what they are. Source: our choice.
    """
    there = frame_mask(frames, features.shape[1])  # [B, F]
    count = frames.clamp(min=1)[:, None, None]
    mean = _only_kept(features, there).sum(1, keepdim=True) / count
    centred = _only_kept(features - mean, there)
    variance = centred.square().sum(1, keepdim=True) / count
    return centred * (variance + eps).rsqrt()


def _only_kept(x: Tensor, keep: Tensor) -> Tensor:
    return x.masked_fill(~keep.unsqueeze(-1), 0.0)
