"""HiFi-GAN generators as SpeechT5's are published, behind the cut of our own vocoder, piece by piece.

Their convolutions see both ways, so a piece is computed with as many frames around it as can matter, and only
its own sound is kept. Names of tensors are the published ones. Architecture: arXiv 2010.05646.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .mel import HOP, NUM_MELS

SPEECHT5 = dict(
    width=512,
    upsample_rates=(4, 4, 4, 4),
    upsample_kernels=(8, 8, 8, 8),
    kernels=(3, 7, 11),
    dilations=((1, 3, 5), (1, 3, 5), (1, 3, 5)),
)


@dataclass
class HifiGanState:
    """Frames that are still needed [B, <= 2 * context, 80], and how many of them have been sounded."""

    frames: Tensor | None = None
    sounded: int = 0


class HifiGan(nn.Module):
    """mel [B, F, 80] -> wave [B, F * HOP]; pitch and voicing are taken and not needed."""

    def __init__(
        self,
        width: int,
        upsample_rates: tuple[int, ...],
        upsample_kernels: tuple[int, ...],
        kernels: tuple[int, ...],
        dilations: tuple[tuple[int, ...], ...],
        slope: float = 0.1,
        normalised: bool = True,
    ):
        """Raises ValueError if the rates do not make HOP samples of a frame."""
        super().__init__()
        samples = int(torch.tensor(upsample_rates).prod())
        if samples != HOP:
            raise ValueError(f"this vocoder makes {samples} samples of a frame; accepted are {HOP}")
        self.slope, self.normalised, self.blocks_a_stage = slope, normalised, len(kernels)
        self.conv_pre = nn.Conv1d(NUM_MELS, width, 7, padding=3)
        self.upsampler, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for stage, (rate, kernel) in enumerate(zip(upsample_rates, upsample_kernels, strict=True)):
            ins, outs = width >> stage, width >> (stage + 1)
            self.upsampler.append(nn.ConvTranspose1d(ins, outs, kernel, rate, (kernel - rate) // 2))
            self.resblocks.extend(
                _Residual(outs, size, steps, slope) for size, steps in zip(kernels, dilations, strict=True)
            )
        self.conv_post = nn.Conv1d(width >> len(upsample_rates), 1, 7, padding=3)
        self.register_buffer("mean", torch.zeros(NUM_MELS))
        self.register_buffer("scale", torch.ones(NUM_MELS))
        self.context = _context(upsample_rates, upsample_kernels, kernels, dilations)

    @staticmethod
    def start() -> HifiGanState:
        """The state before the first frame."""
        return HifiGanState()

    def load_published(self, tensors: Mapping[str, Tensor]) -> None:
        """Fill it from a published file, weight normalisation folded or not; ValueError where names differ."""
        plain = dict(tensors)
        for name in [name for name in plain if name.endswith("weight_g")]:
            stem = name.removesuffix("weight_g")
            direction, length = plain.pop(stem + "weight_v"), plain.pop(name)
            plain[stem + "weight"] = direction * (length / direction.flatten(1).norm(dim=1)[:, None, None])
        wrong = sorted(plain.keys() ^ self.state_dict().keys())
        if wrong:
            raise ValueError(f"found a vocoder of another shape: {len(wrong)} names differ, such as {wrong[:3]}")
        self.load_state_dict(plain)

    def forward(self, mel: Tensor) -> Tensor:
        """All at once: mel [B, F, 80] -> wave [B, F * HOP]."""
        x = (mel - self.mean) / self.scale if self.normalised else mel
        x = self.conv_pre(x.transpose(1, 2))
        for stage, up in enumerate(self.upsampler):
            x = up(F.leaky_relu(x, self.slope))
            blocks = self.resblocks[stage * self.blocks_a_stage : (stage + 1) * self.blocks_a_stage]
            x = torch.stack([block(x) for block in blocks]).mean(0)
        return torch.tanh(self.conv_post(F.leaky_relu(x))).squeeze(1)

    def push(self, state: HifiGanState, mel: Tensor, log_f0: Tensor, voiced: Tensor, last: bool) -> Tensor:
        """The samples that are ready; without `last` they lag `context` frames behind."""
        known = mel if state.frames is None else torch.cat([state.frames, mel], 1)
        until = known.shape[1] if last else max(state.sounded, known.shape[1] - self.context)
        if until == state.sounded:
            state.frames = known
            return mel.new_zeros(len(mel), 0)
        wave = self(known)[:, state.sounded * HOP : until * HOP]
        first = max(0, until - self.context)
        state.frames, state.sounded = known[:, first:], until - first
        return wave


class _Residual(nn.Module):
    """Pairs of a dilated and a plain convolution, each pair added to what came in."""

    def __init__(self, width: int, kernel: int, dilations: tuple[int, ...], slope: float):
        super().__init__()
        self.slope = slope
        self.convs1, self.convs2 = (
            nn.ModuleList(nn.Conv1d(width, width, kernel, dilation=d, padding=d * (kernel - 1) // 2) for d in all_of)
            for all_of in (dilations, [1] * len(dilations))
        )

    def forward(self, x: Tensor) -> Tensor:
        for first, second in zip(self.convs1, self.convs2, strict=True):
            x = x + second(F.leaky_relu(first(F.leaky_relu(x, self.slope)), self.slope))
        return x


def _context(rates, upsample_kernels, kernels, dilations) -> int:
    """Frames on either side that can change a frame's sound."""
    reach, samples = 3.0, 1  # in frames; conv_pre
    for rate, kernel in zip(rates, upsample_kernels, strict=True):
        reach += kernel / rate / samples
        samples *= rate
        reach += (
            max((size - 1) / 2 * (sum(steps) + len(steps)) for size, steps in zip(kernels, dilations, strict=True))
            / samples
        )
    return int(reach + 3 / samples) + 1
