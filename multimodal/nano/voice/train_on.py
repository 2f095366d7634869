"""A part of nano's voice trained further, from the weights that a run's stage ended with.

    python -m multimodal.nano.voice.train_on runs/nano voice-acoustic --steps 4000 [--threads 1]
    python -m multimodal.nano.voice.export runs/nano

Former weights stay beside the new ones as `before.safetensors`, and a run that was killed goes on. The steps that
made the former weights are counted with the new ones, so that other batches follow, and the steps in the file of
the new weights are all of them.
"""

import os
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors import safe_open
from safetensors.torch import load_file

from ...training.loop import train, write_atomically
from ..stages.voice import VoiceAcousticStage, VoiceProsodyStage, VoiceVocoderStage

STAGES = {stage.name: stage for stage in (VoiceAcousticStage, VoiceVocoderStage, VoiceProsodyStage)}


def train_on(run: Path, name: str, steps: int, **how) -> Path:
    """Train a stage's final weights for so many steps more; how: keywords of `train`. Returns their path.

    Raises ValueError for a stage that is none of the voice's, or that the run has not trained.
    """
    if name not in STAGES:
        raise ValueError(f"found stage {name!r}; accepted: {', '.join(STAGES)}")
    final, before = (run / name / file for file in ("final.safetensors", "before.safetensors"))
    if final.exists():
        os.replace(final, before)
    if not before.exists():
        raise ValueError(f"{final}: found no weights to begin from; train the stage first")
    train(STAGES[name](run, steps=steps, begin_from=before), run, **how)
    write_atomically(load_file(final), final, {"steps": str(_steps_of(before) + steps)})
    return final


def _steps_of(path: Path) -> int:
    with safe_open(path, framework="pt") as file:
        return int((file.metadata() or {}).get("steps", 0))


def main(
    run: Annotated[Path, typer.Argument(help="The folder of the trained stages.")],
    stage: Annotated[str, typer.Argument(help=f"One of {', '.join(STAGES)}.")],
    steps: Annotated[int, typer.Option(help="Steps more.")] = 2000,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
) -> None:
    """Train a part of nano's voice further."""
    torch.set_num_threads(threads)
    typer.echo(train_on(run, stage, steps))


if __name__ == "__main__":
    typer.run(main)
