"""Nano's composition: which facts its parts share, and how a run's folder becomes a model."""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import LlamaConfig

from speech.conformer import SIZES as CONFORMERS
from vision.encoder import SIZES

from ..config import MultimodalLlamaConfig, SpeechConfig, VideoConfig
from ..model import MultimodalLlama
from .speech.letters import letters

IMAGE_LAYERS = (2, 3, 4, 5)  # nano is shallow: every layer from the third on has an image block before it
VIDEO_LAYERS = (2, 4)  # before every second image block


def ears_config() -> SpeechConfig:
    """Nano's ears; their letters follow from the phrases of its world."""
    return SpeechConfig(
        encoder="conformer",
        encoder_keywords=CONFORMERS["nano"],
        adapter="rotary",
        adapter_keywords=dict(width=192, num_heads=6, ffn_dim=512),
        letters=list(letters()),
    )


def video_config() -> VideoConfig:
    """Nano's clips: 16 frames, which two aggregated ones tell of."""
    return VideoConfig(width=192, layers=2, heads=6, mlp_ratio=2.0, frames_per_aggregate=8, max_frames=16)


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


def trunk_weights(run: Path) -> dict[str, Tensor]:
    """The vision transformer of a run, named as open_clip names it, rounded.

    Its projection served the contrastive loss, and stays behind.
    """
    trained = load_file(run / "trunk" / "final.safetensors")
    trained.pop("visual.proj", None)
    return half_precise(
        {name.removeprefix("visual."): value for name, value in trained.items() if name.startswith("visual.")}
    )


def compose_nano(config: MultimodalLlamaConfig, run: Path) -> MultimodalLlama:
    """A fresh composition of a run's core and trunk: everything between them is at its start."""
    model = MultimodalLlama(config)
    nn.init.zeros_(model.extra_embedding.weight)
    missing, unexpected = model.core.load_state_dict(core_weights(run), strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)  # the head is the tied table
    model.vision.trunk.load_state_dict(trunk_weights(run))
    return model
