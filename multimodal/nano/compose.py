"""Nano's composition: which facts its parts share, and how a run's folder becomes a model."""

import json
from collections.abc import Iterable
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import LlamaConfig

from speech.conformer import SIZES as CONFORMERS
from vision.encoder import SIZES

from ..checkpoint import NANO, read_weights
from ..config import MultimodalLlamaConfig, SpeechConfig, VideoConfig
from ..model import MultimodalLlama
from ..training.loop import write_atomically
from .speech.letters import letters

IMAGE_LAYERS = (2, 3, 4, 5)  # nano is shallow: every layer from the third on has an image block before it
VIDEO_LAYERS = (2, 3, 4, 5)  # as many: what comes after what takes several looks


def ears_config() -> SpeechConfig:
    """Nano's ears; their letters follow from the phrases of its world."""
    return SpeechConfig(
        encoder="conformer",
        encoder_keywords=CONFORMERS["nano"],
        adapter="tokens",
        adapter_keywords=dict(width=192, num_layers=4, num_heads=6, ffn_dim=512, memory_width=320),
        letters=list(letters()),
    )


def video_config() -> VideoConfig:
    """Nano's clips: 16 frames of one tile, which one aggregated one tells of, as in the paper's pre-training."""
    return VideoConfig(width=192, layers=3, heads=6, mlp_ratio=2.0, frames_per_aggregate=16, max_frames=16, max_tiles=1)


def nano_config(text_config: LlamaConfig, with_ears: bool = False, with_video: bool = False) -> MultimodalLlamaConfig:
    """The configuration of the composed nano around the core's."""
    return MultimodalLlamaConfig(
        text_config=text_config,
        vision_config=SIZES["nano"],
        video_config=video_config() if with_video else None,
        speech_config=ears_config() if with_ears else None,
        image_layers=list(IMAGE_LAYERS),
        video_layers=list(VIDEO_LAYERS) if with_video else None,
        sources={"core": {"id": "nano"}, "vision.trunk": {"id": "nano"}},
    )


def half_precise(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rounded to what the shipped float16 file holds, so that later stages train on what they will meet."""
    return {name: tensor.half().float() for name, tensor in tensors.items()}


def core_weights(run: Path) -> dict[str, Tensor]:
    """The text core of a run, named as in `LlamaForCausalLM`, rounded."""
    return half_precise(load_file(run / "core" / "final.safetensors"))


def spelling_weights(run: Path) -> dict[str, Tensor]:
    """The speech encoder of a run and its head of letters, named as in the composed model."""
    homes = {"conformer": "speech.conformer", "head": "speech_letters"}
    trained = load_file(run / "speech-encoder" / "final.safetensors")
    return {homes[name.split(".")[0]] + name[name.index(".") :]: value for name, value in trained.items()}


def places_weights(run: Path) -> dict[str, Tensor]:
    """What stands around the tokens that the speech adapter of a run names."""
    trained = load_file(run / "speech-places" / "final.safetensors")
    return {name: value for name, value in trained.items() if name.startswith("speech_adapter.")}


def trunk_weights(run: Path) -> dict[str, Tensor]:
    """The vision transformer of a run, named as open_clip names it, rounded.

    Its projection served the contrastive loss, and stays behind.
    """
    trained = load_file(run / "trunk" / "final.safetensors")
    trained.pop("visual.proj", None)
    return half_precise(
        {name.removeprefix("visual."): value for name, value in trained.items() if name.startswith("visual.")}
    )


def picture_weights(run: Path) -> dict[str, Tensor]:
    """What the picture stage trained, rounded; the trunk's running statistics, which it stores too, are the trunk's."""
    trained = load_file(run / "image-adapter" / "final.safetensors")
    return half_precise({name: value for name, value in trained.items() if not name.startswith("vision.trunk.")})


# Of each stage that the shipped nano can stand for: the prefixes of its weights there, and in the stage's own file.
_SHIPPED = {
    "core": {"core.": ""},
    "trunk": {"vision.trunk.": "visual."},
    "image-adapter": {name: name for name in ("vision.", "image_projection.", "image.")},
    "video": {name: f"nano.{name}" for name in ("video_encoder.", "video.")},
    "speech-encoder": {"speech.conformer.": "conformer.", "speech_letters.": "head."},
    "speech-places": {f"speech_adapter.{name}": f"speech_adapter.{name}" for name in ("filler", "lead", "tail")},
    "speech-adapter": {"speech_adapter.": "speech_adapter."},
}
_HOMES = [(prefix, stage, new) for stage, names in _SHIPPED.items() for prefix, new in names.items()]
EYES = ("core", "trunk", "image-adapter")
EYES_AND_EARS = tuple(_SHIPPED)


def begin_with_shipped(run: Path, stages: Iterable[str] = EYES) -> None:
    """Put weights of the shipped nano into a run as if its stages had trained them.

    The tokenizer follows from the corpus, and is the shipped one.
    """
    steps = json.loads((NANO / "figures.json").read_text("utf-8"))["stages"]
    parts: dict[str, dict[str, Tensor]] = {stage: {} for stage in _SHIPPED}
    for name, weight in read_weights(NANO).items():
        if homes := [home for home in _HOMES if name.startswith(home[0])]:
            prefix, stage, new = max(homes, key=lambda home: len(home[0]))  # the trunk is of the vision, too
            parts[stage][new + name.removeprefix(prefix)] = weight.float() if weight.is_floating_point() else weight
    for stage in stages:
        (run / stage).mkdir(parents=True, exist_ok=True)
        write_atomically(parts[stage], run / stage / "final.safetensors", {"steps": str(steps[stage]["steps"])})


def compose_nano(config: MultimodalLlamaConfig, run: Path) -> MultimodalLlama:
    """A fresh composition of a run's core and trunk: everything between them is at its start."""
    model = MultimodalLlama(config)
    nn.init.zeros_(model.extra_embedding.weight)
    missing, unexpected = model.core.load_state_dict(core_weights(run), strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)  # the head is the tied table
    model.vision.trunk.load_state_dict(trunk_weights(run))
    return model
