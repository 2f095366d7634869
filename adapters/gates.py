"""A learned gate that is closed at the start."""

import torch
from torch import Tensor, nn


class TanhGate(nn.Module):
    """Scale by tanh of one learned number that starts at 0, so that a fresh layer changes nothing.

    Source: paper 7.2 names the gates' effect only; shape and start are those of the released code.
    """

    def __init__(self):
        super().__init__()
        self.openness = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.openness.tanh() * x
