"""Layers that run over a sequence as a whole or piece by piece, with the past handed in and out.

Shapes: B rows, T places, D width. A whole sequence is the special case of one piece, so that there is one
path, and pieces give what the whole gives up to rounding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LookaheadConv(nn.Module):
    """A dense convolution that sees `before` places back and `ahead` places on; beyond both ends there are zeros."""

    def __init__(self, in_dim: int, width: int, before: int, ahead: int):
        super().__init__()
        self.before, self.ahead = before, ahead
        self.linear = nn.Linear(in_dim * (before + 1 + ahead), width)

    def forward(self, x: Tensor, past: Tensor | None = None, last: bool = True) -> tuple[Tensor, Tensor]:
        """x [B, T, D] and what was handed out before -> y of the places that are ready, and the past to hand in next.

        Without `last` the output lags `ahead` places behind the input.
        """
        parts = [x.new_zeros(len(x), self.before, x.shape[2]) if past is None else past, x]
        if last:
            parts.append(x.new_zeros(len(x), self.ahead, x.shape[2]))
        known = torch.cat(parts, 1)
        size = self.before + 1 + self.ahead
        if known.shape[1] < size:
            return x.new_zeros(len(x), 0, self.linear.out_features), known
        windows = known.unfold(1, size, 1).flatten(2)  # [B, T', D * size]
        return self.linear(windows), known[:, known.shape[1] - size + 1 :]


class CausalBlock(nn.Module):
    """A ConvNeXt block that sees no place ahead: one kernel a channel, norm, two linear layers, added to what came in.

    Source: arXiv 2201.03545; causal, and over time, is our choice.
    """

    def __init__(self, width: int, kernel: int, expansion: int = 2):
        super().__init__()
        # A picture one place high: on a CPU several times as quick as Conv1d.
        self.kernel = nn.Conv2d(width, width, (1, kernel), groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)
        self.past = kernel - 1

    def forward(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x [B, T, D] and what was handed out before (None: zeros) -> y [B, T, D], the past to hand in next."""
        if past is None:
            past = x.new_zeros(len(x), self.past, x.shape[2])
        if not x.shape[1]:
            return x, past
        known = torch.cat([past, x], 1)
        mixed = self.kernel(known.transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)
        return x + self.down(F.gelu(self.up(self.norm(mixed)))), known[:, known.shape[1] - self.past :]


class CausalStack(nn.Module):
    """Causal blocks one after another."""

    def __init__(self, width: int, blocks: int, kernel: int):
        super().__init__()
        self.blocks = nn.ModuleList(CausalBlock(width, kernel) for _ in range(blocks))

    def forward(self, x: Tensor, pasts: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        after = []
        for at, block in enumerate(self.blocks):
            x, past = block(x, pasts[at] if pasts else None)
            after.append(past)
        return x, after
