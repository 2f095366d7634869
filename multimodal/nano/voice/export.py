"""Nano's voice out of a run's folder: the three networks as one head, in two files.

python -m multimodal.nano.voice.export runs/nano [multimodal/nano/weights]
"""

import sys
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from multimodal.assistant import NANO
from multimodal.languages import LANGUAGES
from tts.head import HeadConfig, SpeechHead, save_head
from tts.prosody import SIZES

from ..stages.voice import ACOUSTIC_SIZE, VOCODER_SIZE
from .recordings import PITCHES, SPEAKERS, recordings

CONFIG, WEIGHTS = "voice.json", "voice.safetensors"


def trained_head(run: Path) -> SpeechHead:
    """The head that a run has trained, in float32."""
    pitches = recordings(run).whole["whole.pitch"][:, PITCHES.index(50)].tolist()
    config = HeadConfig(
        speakers={name: round(pitch, 4) for name, pitch in zip(SPEAKERS, pitches, strict=True)},
        languages={language.code: language.espeak for language in LANGUAGES},
        prosody=SIZES["nano"],
        acoustic=ACOUSTIC_SIZE,
        vocoder=VOCODER_SIZE,
    )
    head = SpeechHead(config)
    for name in ("acoustic", "vocoder", "prosody"):
        _fill(getattr(head, name), run / f"voice-{name}" / "final.safetensors")
    return head.eval().requires_grad_(False)


def _fill(module: nn.Module, path: Path) -> None:
    module.load_state_dict(load_file(path))


def export_voice(run: Path, folder: Path) -> None:
    """Write the head that a run has trained into a folder."""
    save_head(trained_head(run), folder / CONFIG, folder / WEIGHTS)


def main() -> None:
    """Export a run's voice."""
    export_voice(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else NANO))


if __name__ == "__main__":
    main()
