"""Training goes on after `kill -9` as if nothing had happened."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from multimodal.training.loop import Schedule, train, write_atomically

from .slow_stage import STEPS, SlowStage

SCRIPT = Path(__file__).with_name("slow_stage.py")


def run(out: Path, seconds_a_step: float) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.multimodal.training.slow_stage", str(out), str(seconds_a_step)],
        cwd=SCRIPT.parents[3],
        stderr=subprocess.DEVNULL,
    )


def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    whole = load_file(train(SlowStage(), tmp_path / "whole"))
    out = tmp_path / "killed"
    process, checkpoint = run(out, seconds_a_step=0.05), out / "slow" / "checkpoint.safetensors"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with safe_open(checkpoint, "pt") as file:
        assert 0 < int(file.metadata()["progress"].split(":")[1].strip(" }")) < STEPS
    resumed = load_file(train(SlowStage(), out))
    assert resumed.keys() == whole.keys() and all(torch.equal(resumed[name], whole[name]) for name in whole)
    assert not checkpoint.exists() and list((out / "slow" / "logs").iterdir())


def test_a_finished_stage_is_not_trained_again(tmp_path):
    final = train(SlowStage(), tmp_path)
    before = final.stat().st_mtime_ns
    assert train(SlowStage(), tmp_path) == final and final.stat().st_mtime_ns == before


def test_workers_make_the_same_batches(tmp_path):
    alone, helped = (load_file(train(SlowStage(), tmp_path / str(n), num_workers=n)) for n in (0, 2))
    assert all(torch.equal(alone[name], helped[name]) for name in alone)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    write_atomically({"model.other": torch.zeros(2)}, _folder(tmp_path) / "checkpoint.safetensors", {"progress": "{}"})
    with pytest.raises(ValueError, match="belongs to another model: it lacks"):
        train(SlowStage(), tmp_path)


def test_frozen_parameters_are_neither_trained_nor_saved(tmp_path):
    stage = SlowStage()
    stage.model[0].requires_grad_(False)
    before = stage.model[0].weight.clone()
    trained = {name for name in load_file(train(stage, tmp_path)) if not name.startswith("1.")}
    assert trained == {"3.weight", "3.bias"}
    assert torch.equal(stage.model[0].weight, before)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    stage = SlowStage()
    nn.init.constant_(stage.model[0].weight, torch.nan)
    with pytest.raises(RuntimeError, match="non-finite"):
        train(stage, tmp_path)


def test_the_learning_rate_warms_up_and_falls_to_its_share():
    schedule = Schedule(steps=100, peak_lr=1.0, warmup_steps=10, final_lr_share=0.1)
    rates = [schedule.share(step) for step in range(101)]
    assert rates[0] == 0.1 and max(rates) == rates[9] == 1.0 and rates[-1] == pytest.approx(0.1)
    assert rates[9:] == sorted(rates[9:], reverse=True)


def _folder(out: Path) -> Path:
    folder = out / "slow"
    folder.mkdir(parents=True)
    return folder
