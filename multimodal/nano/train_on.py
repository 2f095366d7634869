"""A part of nano trained further, from the weights that a run's stage ended with.

    python -m multimodal.nano.train_on runs/nano voice-acoustic --steps 4000 [--rate 0.5] [--threads 1]

Eyes and ears go on from the shipped nano where the run's folder is empty. Former weights stay beside
the new ones as `before.safetensors`, and a run that was killed goes on. The steps that made the former weights are
counted with the new ones, so that other batches follow, and the steps in the file of the new weights are all of them.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import load_file

from ..training.loop import Stage, train, write_atomically
from .compose import EYES_AND_EARS, begin_with_shipped
from .stages.beginning import steps_of
from .stages.core import core_config
from .stages.ears import SpellingStage
from .stages.image_adapter import ImageAdapterStage
from .stages.speech_adapter import SpeechAdapterStage
from .stages.speech_places import SpeechPlacesStage
from .stages.tokenizer import train_tokenizer
from .stages.trunk import TrunkStage
from .stages.video import VideoStage
from .stages.voice import VoiceAcousticStage, VoiceProsodyStage, VoiceVocoderStage


def _around_core(stage: Callable[..., Stage]) -> Callable[..., Stage]:
    def make(run: Path, **how) -> Stage:
        tokenizer = train_tokenizer(run)
        return stage(tokenizer, core_config(tokenizer), run, **how)

    return make


def _trunk(run: Path, **how) -> TrunkStage:
    return TrunkStage(**how)


def _video(run: Path, **how) -> VideoStage:
    stage = _around_core(VideoStage)(run, **how)
    stage.see_clips()
    return stage


STAGES: dict[str, Callable[..., Stage]] = {
    TrunkStage.name: _trunk,
    ImageAdapterStage.name: _around_core(ImageAdapterStage),
    VideoStage.name: _video,
    SpellingStage.name: SpellingStage,
    SpeechPlacesStage.name: _around_core(SpeechPlacesStage),
    SpeechAdapterStage.name: _around_core(SpeechAdapterStage),
    VoiceAcousticStage.name: VoiceAcousticStage,
    VoiceVocoderStage.name: VoiceVocoderStage,
    VoiceProsodyStage.name: VoiceProsodyStage,
}


def train_on(run: Path, name: str, steps: int, rate: float = 0.5, keep: str | None = None, **how) -> Path:
    """Train a stage's final weights for so many steps more; how: keywords of `train`. Returns their path.

    rate: share of the learning rates that the stage had at first; keep: of weights whose names begin so, none is
    changed. What the picture adapter adds to the picture encoder (`vision.`) is what the clip stage has learnt from.

    Raises ValueError for a stage that cannot go on, or that the run has not trained.
    """
    if name not in STAGES:
        raise ValueError(f"found stage {name!r}; accepted: {', '.join(STAGES)}")
    if not any(run.glob("*/*.safetensors")):
        begin_with_shipped(run, EYES_AND_EARS)
    final, before = (run / name / file for file in ("final.safetensors", "before.safetensors"))
    if final.exists():
        os.replace(final, before)
    if not before.exists():
        raise ValueError(f"{final}: found no weights to begin from; train the stage first")
    stage = STAGES[name](run, steps=steps, begin_from=before)
    for parameter_name, parameter in stage.model.named_parameters():
        if keep and parameter_name.startswith(keep):
            parameter.requires_grad_(False)
    plan = stage.schedule
    muon = None if plan.muon_lr is None else plan.muon_lr * rate
    stage.schedule = replace(plan, peak_lr=plan.peak_lr * rate, muon_lr=muon)
    train(stage, run, **how)
    done = steps_of(before)
    write_atomically(
        load_file(before) | load_file(final), final, {"steps": str(done + steps), "begun_after": str(done)}
    )
    return final


def main(
    run: Annotated[Path, typer.Argument(help="The folder of the trained stages.")],
    stage: Annotated[str, typer.Argument(help=f"One of {', '.join(STAGES)}.")],
    steps: Annotated[int, typer.Option(help="Steps more.")] = 2000,
    rate: Annotated[float, typer.Option(help="Share of the first training's learning rates.")] = 0.5,
    keep: Annotated[str | None, typer.Option(help="Leave weights alone whose names begin so, such as vision.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
) -> None:
    """Train a part of nano further."""
    torch.set_num_threads(threads)
    typer.echo(train_on(run, stage, steps, rate, keep))


if __name__ == "__main__":
    typer.run(main)
