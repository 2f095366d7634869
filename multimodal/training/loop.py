"""The loop that every stage shares: what is trained and on what is the stage's; how it goes on is here.

A stage's batch is a pure function of its step, and everything else that decides the next step stands
in the checkpoint, so a run that was killed ends with the same weights as one that was not.
"""

import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from .optimizers import build_optimizers, load_state_tensors, state_tensors

AHEAD = 16  # batches that a worker makes ahead: some stages make those of many steps at once


@dataclass(frozen=True)
class Schedule:
    """Learning rates by step: linear warm-up, then cosine down to `final_lr_share` of the peak.

    `muon_lr`: the peak for the weights of linear layers, which Muon trains then; None leaves all to AdamW.
    """

    steps: int
    peak_lr: float
    warmup_steps: int
    muon_lr: float | None = None
    final_lr_share: float = 0.02
    weight_decay: float = 0.01
    clip_norm: float = 1.0

    def share(self, step: int) -> float:
        """Of the peak, the learning rate at this step."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.final_lr_share + (1 - self.final_lr_share) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class Stage(Protocol):
    """One stage of a recipe. Parameters of `model` that require a gradient are trained, the rest is frozen."""

    name: str
    model: nn.Module
    schedule: Schedule

    def batch(self, step: int) -> Any:
        """The step's batch, on the CPU: a pure function of the stage's seed and the step."""

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """The loss to minimise, and figures to log."""

    def evaluate(self) -> dict[str, float]:
        """Figures on held-out data."""


def train(
    stage: Stage,
    out: Path,
    device: torch.device | str = "cpu",
    *,
    save_every_s: float = 120.0,
    eval_every: int = 500,
    num_workers: int = 0,
) -> Path:
    """Train a stage to the end of its schedule, going on from its checkpoint where there is one.

    Returns the path of the final weights, `out/<stage.name>/final.safetensors`; a stage that has them
    already is not trained again. TensorBoard logs go to `out/<stage.name>/logs`.
    """
    folder = Path(out) / stage.name
    folder.mkdir(parents=True, exist_ok=True)
    final, checkpoint = folder / "final.safetensors", folder / "checkpoint.safetensors"
    if final.exists():
        return final
    model = stage.model.to(device)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    buffers = _persistent_buffers(model)
    plan = stage.schedule
    optimizers = build_optimizers(model, plan.peak_lr, plan.muon_lr, plan.weight_decay)
    first = _resume(checkpoint, trained, buffers, optimizers) if checkpoint.exists() else 0
    steps = plan.steps
    ahead = AHEAD if num_workers else None
    made = DataLoader(_Steps(stage, first, steps), batch_size=None, num_workers=num_workers, prefetch_factor=ahead)
    batches = iter(made)
    log = SummaryWriter(str(folder / "logs"), purge_step=first)
    bar = tqdm(range(first, steps), initial=first, total=steps, desc=stage.name, mininterval=5.0)
    saved = time.monotonic()
    for step in bar:
        figures = _step(stage, batches, trained, optimizers, step, device)
        if step % 20 == 0:
            bar.set_postfix({name: f"{value:.3f}" for name, value in figures.items()}, refresh=False)
            _log(log, "train", figures, step)
        done = step + 1
        if done % eval_every == 0 or done == steps:
            model.eval()
            held_out = stage.evaluate()
            model.train()
            _log(log, "held-out", held_out, done)
            bar.write(f"{stage.name} {done}/{steps} " + " ".join(f"{k}={v:.3f}" for k, v in held_out.items()))
        if time.monotonic() - saved > save_every_s and done < steps:
            _save(checkpoint, trained, buffers, optimizers, done)
            saved = time.monotonic()
    log.close()
    write_atomically({name: p.detach() for name, p in trained.items()} | buffers, final, {"steps": str(steps)})
    checkpoint.unlink(missing_ok=True)
    return final


def write_atomically(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file that is either whole or not there, whenever the process is killed."""
    partial = path.with_name(path.name + ".partial")
    save_file({name: t.contiguous().cpu() for name, t in tensors.items()}, partial, metadata or {})
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


class _Steps(Dataset):
    """Step numbers as a dataset, so that a DataLoader's workers make batches ahead and in order."""

    def __init__(self, stage: Stage, first: int, steps: int):
        self.stage, self.first, self.steps = stage, first, steps

    def __len__(self) -> int:
        return self.steps - self.first

    def __getitem__(self, index: int) -> Any:
        if index >= len(self):
            raise IndexError(index)
        return self.stage.batch(self.first + index)


def _step(
    stage: Stage,
    batches: Iterator[Any],
    trained: dict[str, nn.Parameter],
    optimizers: list[torch.optim.Optimizer],
    step: int,
    device: torch.device | str,
) -> dict[str, float]:
    torch.manual_seed(step)  # dropout and the like: a function of the step, as the batch is
    share = stage.schedule.share(step)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * share
    loss, figures = stage.loss(to_device(next(batches), device))
    loss.backward()
    norm = nn.utils.clip_grad_norm_(trained.values(), stage.schedule.clip_norm, error_if_nonfinite=True)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return {"loss": loss.item(), "lr": stage.schedule.peak_lr * share, "gradient": norm.item(), **figures}


def to_device(batch: Any, device: torch.device | str) -> Any:
    """A batch of tensors, however nested in dicts, lists and tuples, on the device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


def _persistent_buffers(model: nn.Module) -> dict[str, Tensor]:
    """What a model learns without a gradient: the running statistics of normalisations."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return {name: value for name, value in model.state_dict().items() if name not in parameters}


def _save(
    path: Path,
    trained: dict[str, nn.Parameter],
    buffers: dict[str, Tensor],
    optimizers: list[torch.optim.Optimizer],
    step: int,
) -> None:
    tensors = {f"buffer.{name}": value for name, value in buffers.items()}
    tensors |= {f"model.{name}": parameter.detach() for name, parameter in trained.items()}
    tensors |= {f"optimizer.{key}": value for key, value in state_tensors(optimizers, trained).items()}
    write_atomically(tensors, path, {"progress": json.dumps({"step": step})})


def _resume(
    path: Path, trained: dict[str, nn.Parameter], buffers: dict[str, Tensor], optimizers: list[torch.optim.Optimizer]
) -> int:
    """Load parameters, buffers and optimizer state; returns the step to go on with."""
    with safe_open(path, framework="pt") as file:
        keys = set(file.keys())
        stored = {name.removeprefix("model.") for name in keys if name.startswith("model.")}
        if stored != set(trained):
            raise ValueError(
                f"{path} belongs to another model: it lacks {sorted(set(trained) - stored)[:3]} and has "
                f"{sorted(stored - set(trained))[:3]} besides; delete it or choose another folder"
            )
        for name, value in buffers.items():
            value.copy_(file.get_tensor(f"buffer.{name}"))
        for name, parameter in trained.items():
            parameter.data.copy_(file.get_tensor(f"model.{name}"))
        state = {name: file.get_tensor(name) for name in keys if name.startswith("optimizer.")}
        load_state_tensors(
            optimizers, trained, {name.removeprefix("optimizer."): value for name, value in state.items()}
        )
        return json.loads(file.metadata()["progress"])["step"]


def _log(log: SummaryWriter, group: str, figures: dict[str, float], step: int) -> None:
    for name, value in figures.items():
        log.add_scalar(f"{group}/{name}", value, step)
