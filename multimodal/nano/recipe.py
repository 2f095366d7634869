"""How nano is made: the stages in their order, and the export of what they made.

    multimodal train nano [--stage core] [--out runs/nano] [--device cuda]

A stage that is done is not done again, and one that was killed goes on from its checkpoint.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import GenerationConfig

from ..processor import processor_of
from ..training.loop import train, write_atomically
from .compose import compose_nano, half_precise, nano_config
from .stages.core import CoreStage, core_config
from .stages.ears import BestRqStage, SpellingStage
from .stages.image_adapter import ImageAdapterStage
from .stages.normalizer import VARIANTS, NormalizerStage
from .stages.speech_adapter import SpeechAdapterStage
from .stages.tokenizer import train_tokenizer
from .stages.trunk import TrunkStage

# One file a part: a later part adds a file and leaves the others as they are, byte for byte.
SHARDS = {
    "core.safetensors": ("core.",),
    "vision.safetensors": ("vision.trunk.",),
    "image_adapter.safetensors": ("vision.", "image_projection.", "image.", "extra_embedding."),
    "speech.safetensors": ("speech.",),
    "speech_adapter.safetensors": ("speech_adapter.", "speech_letters."),
}


def _train_core(out: Path, device: str, num_workers: int) -> None:
    train(CoreStage(train_tokenizer(out)), out, device, num_workers=num_workers)


def _train_trunk(out: Path, device: str, num_workers: int) -> None:
    train(TrunkStage(), out, device, num_workers=num_workers)


def _train_image_adapter(out: Path, device: str, num_workers: int) -> None:
    tokenizer = train_tokenizer(out)
    train(ImageAdapterStage(tokenizer, core_config(tokenizer), out), out, device, num_workers=num_workers)


def _train_best_rq(out: Path, device: str, num_workers: int) -> None:
    train(BestRqStage(), out, device, num_workers=num_workers)


def _train_speech_encoder(out: Path, device: str, num_workers: int) -> None:
    train(SpellingStage(out), out, device, num_workers=num_workers)


def _train_speech_adapter(out: Path, device: str, num_workers: int) -> None:
    tokenizer = train_tokenizer(out)
    train(SpeechAdapterStage(tokenizer, core_config(tokenizer), out), out, device, num_workers=num_workers)


def _train_voice_normalizer(out: Path, device: str, num_workers: int) -> None:
    for name in VARIANTS:  # the tagger, and the two that it is measured against
        train(NormalizerStage(name, out), out, device, num_workers=num_workers)


def _train_tokenizer(out: Path, device: str, num_workers: int) -> None:
    train_tokenizer(out)


STAGES: dict[str, Callable[[Path, str, int], None]] = {
    "tokenizer": _train_tokenizer,
    "core": _train_core,
    "trunk": _train_trunk,
    "image-adapter": _train_image_adapter,
    "best-rq": _train_best_rq,
    "speech-encoder": _train_speech_encoder,
    "speech-adapter": _train_speech_adapter,
    "voice-normalizer": _train_voice_normalizer,
}


def train_nano(
    out: Path, stages: list[str] | None = None, device: str = "cpu", num_workers: int = 0, threads: int | None = None
) -> None:
    """Run the stages named, or all, in their order.

    threads: CPU threads a stage computes with (torch's default otherwise); num_workers: processes that
    make batches ahead, worth it where a GPU would wait for them.

    Raises ValueError for a stage that does not exist.
    """
    unknown = sorted(set(stages or ()) - set(STAGES))
    if unknown:
        raise ValueError(f"found stage {', '.join(unknown)}; accepted: {', '.join(STAGES)}")
    if threads:
        torch.set_num_threads(threads)
    for name, run in STAGES.items():
        if not stages or name in stages:
            run(out, device, num_workers)


def export(run: Path, folder: Path) -> None:
    """Write a run's model as a folder that `multimodal.load` and the Auto classes open, weights in float16.

    Ears are in it if the run has trained them. `folder` must not exist yet; it is whole or not there.
    """
    tokenizer = train_tokenizer(run)
    config = nano_config(core_config(tokenizer), with_ears=_ears(run).exists())
    model = compose_nano(config, run)
    trained = _adapter_weights(run) | (_ears_weights(run) if config.speech_config else {})
    missing, unexpected = model.load_state_dict(half_precise(trained), strict=False)
    frozen = ("core.", "vision.trunk.", "extra_embedding.")
    assert not unexpected and all(name.startswith(frozen) for name in missing), (missing, unexpected)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    _write_shards(_without_tied_head(model.state_dict()), partial)
    config.architectures, config.dtype = [type(model).__name__], "float16"
    config.save_pretrained(partial)
    GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=256,
    ).save_pretrained(partial)
    processor_of(config, tokenizer).save_pretrained(partial)
    partial.rename(folder)


def _adapter_weights(run: Path) -> dict[str, Tensor]:
    """What the picture stage trained; the trunk's running statistics, which it stores too, are the trunk's own."""
    trained = load_file(run / "image-adapter" / "final.safetensors")
    return {name: value for name, value in trained.items() if not name.startswith("vision.trunk.")}


def _ears(run: Path) -> Path:
    return run / "speech-adapter" / "final.safetensors"


def _ears_weights(run: Path) -> dict[str, Tensor]:
    """Encoder, adapter and the head that names letters, which tells when they were said."""
    return {name: value for name, value in load_file(_ears(run)).items() if name.startswith("speech")}


def _without_tied_head(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in weights.items() if name != "core.lm_head.weight"}


def _write_shards(weights: dict[str, Tensor], folder: Path) -> None:
    """Each weight into the first shard whose prefix it has, and the index that tells where it is."""
    home = {
        name: next(file for file, prefixes in SHARDS.items() if name.startswith(prefixes)) for name in sorted(weights)
    }
    for file in dict.fromkeys(home.values()):
        shard = {name: _stored(weights[name]) for name, its_file in home.items() if its_file == file}
        write_atomically(shard, folder / file, {"format": "pt"})
    total = sum(_stored(weights[name]).nbytes for name in home)
    index = {"metadata": {"total_size": total}, "weight_map": home}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def _stored(weight: Tensor) -> Tensor:
    return weight.half() if weight.is_floating_point() else weight
