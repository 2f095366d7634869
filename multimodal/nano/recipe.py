"""How nano is made: the stages in their order, and the export of what they made.

    multimodal train nano [--stage core] [--out runs/nano] [--device cuda]

A stage that is done is not done again, and one that was killed goes on from its checkpoint.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerFast

from ..checkpoint import INDEX, some_of
from ..config import MultimodalLlamaConfig
from ..model import MultimodalLlama
from ..processor import processor_of
from ..training.loop import train, write_atomically
from .compose import (
    VIDEO_LAYERS,
    begin_with_shipped,
    compose_nano,
    ears_config,
    half_precise,
    nano_config,
    picture_weights,
    places_weights,
    spelling_weights,
    video_config,
)
from .stages.core import CoreStage, core_config
from .stages.ears import BestRqStage, SpellingStage
from .stages.image_adapter import ImageAdapterStage
from .stages.normalizer import VARIANTS, NormalizerStage
from .stages.speech_adapter import SpeechAdapterStage
from .stages.speech_places import SpeechPlacesStage
from .stages.tokenizer import train_tokenizer
from .stages.trunk import TrunkStage
from .stages.video import VideoStage
from .stages.voice import VoiceAcousticStage, VoiceProsodyStage, VoiceVocoderStage
from .voice.export import export_voice

# One file a part: a later part adds a file and leaves the others as they are, byte for byte.
SHARDS = {
    "core.safetensors": ("core.",),
    "vision.safetensors": ("vision.trunk.",),
    "image_adapter.safetensors": ("vision.", "image_projection.", "image.", "extra_embedding."),
    "video.safetensors": ("video_encoder.", "video."),
    "speech.safetensors": ("speech.",),
    "speech_adapter.safetensors": ("speech_adapter.", "speech_letters."),
}
# So that all of nano keeps within 30 MB: matrices of these files have 8 bits (float8 e4m3). 98 of 100 answers about
# clips are what they were in 16, and ears hear as well.
EIGHT_BIT_SHARDS = {"video.safetensors", "speech.safetensors", "speech_adapter.safetensors"}


def _train_core(out: Path, device: str, num_workers: int) -> None:
    train(CoreStage(train_tokenizer(out)), out, device, num_workers=num_workers)


def _train_trunk(out: Path, device: str, num_workers: int) -> None:
    train(TrunkStage(), out, device, num_workers=num_workers)


def _train_image_adapter(out: Path, device: str, num_workers: int) -> None:
    tokenizer = train_tokenizer(out)
    train(ImageAdapterStage(tokenizer, core_config(tokenizer), out), out, device, num_workers=num_workers)


def _train_video(out: Path, device: str, num_workers: int) -> None:
    """Around the shipped nano where the run has no core, trunk and picture adapter of its own."""
    if not any((out / stage / "final.safetensors").exists() for stage in ("core", "trunk", "image-adapter")):
        begin_with_shipped(out)
    tokenizer = train_tokenizer(out)
    stage = VideoStage(tokenizer, core_config(tokenizer), out)
    stage.see_clips()
    train(stage, out, device, num_workers=num_workers)


def _train_best_rq(out: Path, device: str, num_workers: int) -> None:
    train(BestRqStage(), out, device, num_workers=num_workers)


def _train_speech_encoder(out: Path, device: str, num_workers: int) -> None:
    train(SpellingStage(out), out, device, num_workers=num_workers)


def _train_speech_places(out: Path, device: str, num_workers: int) -> None:
    tokenizer = train_tokenizer(out)
    train(SpeechPlacesStage(tokenizer, core_config(tokenizer), out), out, device, num_workers=num_workers)


def _train_speech_adapter(out: Path, device: str, num_workers: int) -> None:
    tokenizer = train_tokenizer(out)
    train(SpeechAdapterStage(tokenizer, core_config(tokenizer), out), out, device, num_workers=num_workers)


def _train_voice_acoustic(out: Path, device: str, num_workers: int) -> None:
    train(VoiceAcousticStage(out), out, device, num_workers=num_workers)


def _train_voice_vocoder(out: Path, device: str, num_workers: int) -> None:
    train(VoiceVocoderStage(out), out, device, num_workers=num_workers)


def _train_voice_prosody(out: Path, device: str, num_workers: int) -> None:
    train(VoiceProsodyStage(out), out, device, num_workers=num_workers)


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
    "video": _train_video,
    "best-rq": _train_best_rq,
    "speech-encoder": _train_speech_encoder,
    "speech-places": _train_speech_places,
    "speech-adapter": _train_speech_adapter,
    "voice-normalizer": _train_voice_normalizer,
    "voice-acoustic": _train_voice_acoustic,
    "voice-vocoder": _train_voice_vocoder,
    "voice-prosody": _train_voice_prosody,
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
    """Write a run's model as a folder that `multimodal.load` and the Auto classes open.

    Weights are in float16, matrices for clips and speech in 8 bits. Clips, ears and a voice are in it if the run
    has trained them. `folder` must not exist; it is whole or not there.
    """
    tokenizer = train_tokenizer(run)
    config = nano_config(core_config(tokenizer), with_ears=_ears(run).exists(), with_video=_video(run).exists())
    model = compose_nano(config, run)
    trained = picture_weights(run) | _later_weights(run)
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
    if (run / VoiceProsodyStage.name / "final.safetensors").exists():
        export_voice(run, partial)
    partial.rename(folder)


def add_parts(folder: Path, run: Path) -> None:
    """Add what a run trained later, clips and ears, to a folder of `export`: its other weights keep their bytes.

    Parts that are there already are replaced; configuration and index are written anew.

    Raises ValueError if the run has trained neither, or something else than the configuration wants.
    """
    weights, config = _later_weights(run), MultimodalLlamaConfig.from_pretrained(folder)
    if not weights:
        raise ValueError(f"{run}: found neither {_video(run)} nor {_ears(run)}; train a stage first")
    if _video(run).exists():
        config.video_config, config.video_layers = video_config(), list(VIDEO_LAYERS)
    if _ears(run).exists():
        config.speech_config = ears_config()
    files = {_home(name) for name in weights}
    wanted = {name for name in MultimodalLlama(config).state_dict() if _home(name) in files}
    if wanted != set(weights):
        raise ValueError(f"{run}: found other weights than the configuration's: {some_of(wanted ^ set(weights))}")
    _write_shards(weights, folder)
    config.architectures, config.dtype = [MultimodalLlama.__name__], "float16"
    config.save_pretrained(folder)
    with tempfile.TemporaryDirectory() as made:  # the tokenizer is the folder's, and stays
        processor_of(config, PreTrainedTokenizerFast.from_pretrained(folder)).save_pretrained(made)
        for name in ("processor_config.json", "chat_template.jinja"):
            shutil.copy(Path(made) / name, folder)


def _later_weights(run: Path) -> dict[str, Tensor]:
    """What a run trained around the finished eyes, rounded: for clips without the head that only training needs."""
    weights: dict[str, Tensor] = {}
    if _video(run).exists():
        clips = {name.removeprefix("nano."): value for name, value in load_file(_video(run)).items()}
        weights |= {name: value for name, value in clips.items() if name.startswith(SHARDS["video.safetensors"])}
    return half_precise(weights | (_ears_weights(run) if _ears(run).exists() else {}))


def _video(run: Path) -> Path:
    return run / "video" / "final.safetensors"


def _ears(run: Path) -> Path:
    return run / "speech-adapter" / "final.safetensors"


def _ears_weights(run: Path) -> dict[str, Tensor]:
    """Encoder and head of letters, what stands around the tokens that the adapter names, and the adapter."""
    return spelling_weights(run) | places_weights(run) | load_file(_ears(run))


def _without_tied_head(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in weights.items() if name != "core.lm_head.weight"}


def _write_shards(weights: dict[str, Tensor], folder: Path) -> None:
    """Each weight into the first shard whose prefix it has, and the index that tells where it is.

    Shards of the folder that get no weight stay as they are.
    """
    home = {name: _home(name) for name in sorted(weights)}
    for file in dict.fromkeys(home.values()):
        shard = {name: _stored(name, weights[name]) for name, its_file in home.items() if its_file == file}
        write_atomically(shard, folder / file, {"format": "pt"})
    total = sum(_stored(name, weights[name]).nbytes for name in home)
    if (folder / INDEX).exists():
        before = json.loads((folder / INDEX).read_text("utf-8"))["weight_map"]
        kept = {name: file for name, file in before.items() if file not in home.values()}
        for file in dict.fromkeys(kept.values()):
            total += sum(weight.nbytes for weight in load_file(folder / file).values())
        home = dict(sorted((home | kept).items()))
    index = {"metadata": {"total_size": total}, "weight_map": home}
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")


def _home(name: str) -> str:
    """The file that holds this weight."""
    return next(file for file, prefixes in SHARDS.items() if name.startswith(prefixes))


def _stored(name: str, weight: Tensor) -> Tensor:
    """The weight as its file holds it; what reads the file widens it to its parameter's type."""
    if not weight.is_floating_point():
        return weight
    return weight.to(torch.float8_e4m3fn) if weight.ndim > 1 and _home(name) in EIGHT_BIT_SHARDS else weight.half()
