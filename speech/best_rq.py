"""BEST-RQ: a speech encoder learns, from sound alone, to name what stood where it hears only noise.

Shapes: B clips, F frames of 10 ms, M mel bins, T stacks of 4 frames, D width of the encoder, N masked stacks of
all clips together, K codebooks of V vectors of width C.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .conformer import STACK, Conformer, frame_mask, normalised, stack_frames


class Figures(NamedTuple):
    """What a step tells of itself, numbers without gradient.

    masked_share: of all stacks; accuracy: share of codes that were named right; codes_used: different
    codes among the targets, the mean of the codebooks. Few codes used mean features that are not normalised.
    """

    masked_share: Tensor
    accuracy: Tensor
    codes_used: Tensor


class BestRQ(nn.Module):
    """The self-supervised objective around an encoder; what is random in it is drawn once from `seed` and frozen.

    Spans of frames become noise; for each stack that is wholly masked, one linear head a codebook names the
    code that the clean stack has there. Features are normalised first, each mel bin over its clip.
    Source: paper 8.3.1 with its numbers as defaults; BEST-RQ (arXiv 2202.01855) for noise of a
    standard deviation of 0.1, normalised features and how the random parts are drawn. Our choice: one projection
    for all codebooks, and that a stack with a frame to be heard is no target.
    """

    def __init__(
        self,
        encoder: Conformer,
        num_codebooks: int = 16,
        codebook_size: int = 8192,
        code_dim: int = 16,
        span_frames: int = 32,
        start_probability: float = 0.025,
        noise_std: float = 0.1,
        seed: int = 0,
    ):
        super().__init__()
        self.encoder = encoder
        self.span_frames, self.start_probability, self.noise_std = span_frames, start_probability, noise_std
        generator = torch.Generator().manual_seed(seed)
        stack_dim = STACK * encoder.num_mels
        bound = (6 / (stack_dim + code_dim)) ** 0.5  # Xavier's
        projection = (torch.rand(stack_dim, code_dim, generator=generator) * 2 - 1) * bound
        codebooks = torch.randn(num_codebooks, codebook_size, code_dim, generator=generator)
        self.register_buffer("projection", projection)  # [4 M, C]
        self.register_buffer("codebooks", F.normalize(codebooks, dim=-1))  # [K, V, C], of length 1
        self.heads = nn.Linear(encoder.out_dim, num_codebooks * codebook_size)  # all heads side by side

    def forward(self, features: Tensor, frames: Tensor, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """features [B, F, M], frames [B] of each clip; the generator draws masks and noise -> loss, figures.

        The loss is the mean over masked stacks and codebooks, in nats; 0 where nothing is masked.
        """
        features = normalised(features, frames)
        masked = span_mask(frames, features.shape[1], self.span_frames, self.start_probability, generator)  # [B, F]
        noise = torch.randn(features.shape, generator=generator, device=generator.device).to(features) * self.noise_std
        stacks, keep = stack_frames(features, frames)  # [B, T, 4 M], [B, T]
        asked = masked_stacks(masked, frames)  # [B, T]
        heard = self.encoder(torch.where(masked.unsqueeze(-1), noise, features), frames).x[asked]  # [N, D]
        codes = self.codes(stacks[asked])  # [N, K]
        logits = self.heads(heard).unflatten(-1, self.codebooks.shape[:2])  # [N, K, V]
        # a sum over what is there and not a mean: a batch of short clips may have nothing masked
        loss = F.cross_entropy(logits.flatten(0, 1).float(), codes.flatten(), reduction="sum") / max(codes.numel(), 1)
        return loss, self._figures(logits, codes, asked.sum() / keep.sum().clamp(min=1))

    @torch.no_grad()
    def codes(self, stacks: Tensor) -> Tensor:
        """Clean stacks [N, 4 M] -> the code [N, K] of each in each codebook: the vector of largest cosine.

        The length of a projected stack changes no order, so only the vectors have length 1.
        """
        projected = stacks.to(self.projection.dtype) @ self.projection  # [N, C]
        return torch.stack([(projected @ vectors.T).argmax(-1) for vectors in self.codebooks], dim=1)

    @torch.no_grad()
    def _figures(self, logits: Tensor, codes: Tensor, masked_share: Tensor) -> Figures:
        used = torch.zeros(self.codebooks.shape[:2], device=codes.device).scatter_(1, codes.T, 1.0)
        right = (logits.argmax(-1) == codes).sum() / max(codes.numel(), 1)
        return Figures(masked_share, right, used.sum(1).mean())


def span_mask(
    frames: Tensor, num_frames: int, span_frames: int, start_probability: float, generator: torch.Generator
) -> Tensor:
    """Frames [B] of each clip -> [B, F], bool: each frame starts a masked span with the same probability.

    Spans may overlap, and end where the clip ends. Source: paper 8.3.1 (spans of 32 frames, 2.5%).
    """
    drawn = torch.rand(len(frames), num_frames, generator=generator, device=generator.device).to(frames.device)
    starts = F.pad((drawn < start_probability).float(), (span_frames - 1, 0))
    spans = F.max_pool1d(starts.unsqueeze(1), span_frames, stride=1).squeeze(1).bool()
    return spans & frame_mask(frames, num_frames)


def masked_stacks(masked: Tensor, frames: Tensor) -> Tensor:
    """Which stacks have frames and all of them masked: masked [B, F], frames [B] -> [B, T], bool."""
    there = frame_mask(frames, masked.shape[1])
    heard, keep = stack_frames((there & ~masked).unsqueeze(-1).float(), frames)
    return keep & ~heard.bool().any(-1)
