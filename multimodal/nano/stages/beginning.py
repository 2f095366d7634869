"""Stages that go on from weights that were trained before."""

from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn


def begin(model: nn.Module, path: Path | None, *, some: bool = False) -> int:
    """Put the weights of a stage's file, if there is one, into its model; returns the steps that made them.

    some: whether parts of the model may be missing in the file, and begin afresh.
    """
    if path is None:
        return 0
    missing, unexpected = model.load_state_dict(load_file(path), strict=False)
    assert not unexpected and (some or not missing), (missing, unexpected)
    return steps_of(path)


def steps_of(path: Path) -> int:
    """The steps of training that made a stage's file of weights."""
    with safe_open(path, framework="pt") as file:
        return int((file.metadata() or {}).get("steps", 0))
