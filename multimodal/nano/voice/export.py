"""Nano's voice out of a run's folder: its networks as one head, in two files.

    python -m multimodal.nano.voice.export runs/nano [multimodal/nano/weights]

Where the folder holds a voice, parts that the run has not trained are kept as they are there: a run that has
trained the tagger of written forms alone changes nothing of the sound.
"""

import sys
from pathlib import Path

from safetensors.torch import load_file

from multimodal.assistant import NANO
from multimodal.languages import LANGUAGES
from tts.head import HeadConfig, SpeechHead, load_head, save_head
from tts.prosody import SIZES
from tts.rules import LABELS

from ..stages.normalizer import VARIANTS
from ..stages.voice import ACOUSTIC_SIZE, VOCODER_SIZE
from .recordings import PITCHES, SPEAKERS, recordings

CONFIG, WEIGHTS = "voice.json", "voice.safetensors"
STAGES = {name: f"voice-{name}" for name in ("normalizer", "acoustic", "vocoder", "prosody")}


def trained_head(run: Path, before: SpeechHead | None = None) -> SpeechHead:
    """The head that a run has trained, in float32; parts that it has not are those of `before`.

    Raises ValueError for a part that is in neither, but for the tagger: without it a head says all by rules.
    """
    found = {part: run / stage / "final.safetensors" for part, stage in STAGES.items()}
    found = {part: path for part, path in found.items() if path.exists()}
    lacks = [part for part in STAGES if part not in found and part != "normalizer" and before is None]
    if lacks:
        raise ValueError(f"{run}: found no trained {' and '.join(lacks)} of a voice")
    tagger = VARIANTS[STAGES["normalizer"]] if "normalizer" in found else before.config.normalizer if before else None
    config = HeadConfig(
        speakers=_speakers(run) if "acoustic" in found else before.config.speakers,
        languages={language.code: language.espeak for language in LANGUAGES},
        prosody=SIZES["nano"],
        acoustic=ACOUSTIC_SIZE,
        vocoder=VOCODER_SIZE,
        normalizer=tagger,
        labels=list(LABELS) if tagger else None,
    )
    head = SpeechHead(config)
    for part in STAGES:
        if part in found:
            getattr(head, part).load_state_dict(load_file(found[part]))
        elif before is not None and getattr(before, part) is not None:
            getattr(head, part).load_state_dict(getattr(before, part).state_dict())
    return head.eval().requires_grad_(False)


def _speakers(run: Path) -> dict[str, float]:
    """Names, and mean log-F0 in the run's recordings."""
    pitches = recordings(run).whole["whole.pitch"][:, PITCHES.index(50)].tolist()
    return {name: round(pitch, 4) for name, pitch in zip(SPEAKERS, pitches, strict=True)}


def export_voice(run: Path, folder: Path) -> None:
    """Write the head that a run has trained into a folder."""
    there = (folder / CONFIG).exists() and (folder / WEIGHTS).exists()
    before = load_head(folder / CONFIG, folder / WEIGHTS) if there else None
    save_head(trained_head(run, before), folder / CONFIG, folder / WEIGHTS)


def main() -> None:
    """Export a run's voice."""
    export_voice(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else NANO))


if __name__ == "__main__":
    main()
