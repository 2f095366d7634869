"""A stage small enough to train in a test, run as a process of its own: `python slow_stage.py OUT SECONDS_A_STEP`."""

import sys
import time
from pathlib import Path

import torch
from torch import nn

from multimodal.training.loop import Schedule, train

STEPS = 60


class SlowStage:
    name = "slow"
    schedule = Schedule(steps=STEPS, peak_lr=1e-2, muon_lr=1e-2, warmup_steps=5)

    def __init__(self, seconds_a_step: float = 0.0):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.seconds_a_step = seconds_a_step

    def batch(self, step):
        time.sleep(self.seconds_a_step)
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        return {"x": x, "y": x.sum(1, keepdim=True)}

    def loss(self, batch):
        return (self.model(batch["x"]) - batch["y"]).square().mean(), {}

    def evaluate(self):
        return {"weight": self.model[0].weight.abs().mean().item()}


if __name__ == "__main__":
    train(SlowStage(float(sys.argv[2])), Path(sys.argv[1]), save_every_s=0.0, eval_every=20)
