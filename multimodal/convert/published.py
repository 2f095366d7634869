"""A model on disk, in whichever of the formats we know: its configuration in our words, its weights as ours.

hub, modules   Llama 3.2 Vision as the hub stores it, or as transformers 5 names its modules
meta           Llama 3.2 Vision as Meta released it
llama          a Llama 3 text core of the hub
open_clip      a picture trunk of open_clip's layout
whisper, wav2vec2-bert   a speech encoder of the hub
ultravox       Ultravox's projector, with the Whisper encoder that it names
ours           a folder of this package's `save_pretrained`; one of adapters only has no core of its own
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer, LlamaConfig, MllamaConfig, PreTrainedConfig, PreTrainedTokenizerBase

from vision.encoder import PictureEncoder

from ..checkpoint import CORE, files_of, fingerprint, weights_folder
from ..config import MultimodalLlamaConfig, SpeechConfig, VisionConfig
from ..model import MultimodalLlama
from . import meta, mllama, open_clip, speech_towers
from .meta import MetaFiles
from .shards import Shards
from .table import Row, check_names, same, to_ours
from .tokenizer_file import read_tokenizer

HEAD = f"{CORE}.lm_head.weight"
ACCEPTED = (
    "a Llama 3, a Llama 3.2 Vision (the hub's or Meta's files), a ViT of open_clip, Whisper, w2v-BERT, Ultravox, or a "
    "folder of save_pretrained"
)


@dataclass(frozen=True)
class Published:
    """`config` says what there is of the composed model; `rows` is the table that its files were checked against.

    `pictures`: keywords of the processor for pictures that are prepared in another way than usual.
    `elsewhere`: opens a part that its configuration names and that stands in a folder of its own.
    """

    where: str
    folder: Path
    format: str
    config: MultimodalLlamaConfig | VisionConfig | SpeechConfig
    rows: list[Row]
    files: Shards | MetaFiles
    pictures: dict = field(default_factory=dict)
    elsewhere: "Callable[[], Published] | None" = None

    def tensors(
        self, wanted: Callable[[str], bool] = lambda name: True, shapes: Mapping[str, torch.Size] | None = None
    ) -> Iterator[tuple[str, Tensor]]:
        """Our tensors whose names are `wanted`, one after the other, each in memory of its own.

        shapes: those that the model has; by default those of the configuration.

        Raises ValueError that names a tensor of another shape.
        """
        shapes = shapes_of(self.config) if shapes is None else shapes
        if self.elsewhere is not None:
            yield from self.elsewhere().tensors(wanted, shapes)
        rows = [row for row in self.rows if any(map(wanted, row.ours))]
        rows = self.files.in_order(rows) if isinstance(self.files, Shards) else rows
        for name, tensor in to_ours(rows, self.files.read, self.where):
            if name in shapes and tensor.shape != shapes[name]:
                theirs = next(row.theirs for row in rows if name in row.ours)
                found, accepted = list(tensor.shape), list(shapes[name])
                raise ValueError(
                    f"{self.where}: found {' and '.join(theirs)}, which makes {name} of shape {found}; the "
                    f"configuration asks for {accepted}"
                )
            if wanted(name):
                # a part of a table, as the core's rows of an embedding, would keep the whole of it
                yield name, tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor

    def has(self, prefix: str) -> bool:
        """Whether any of our tensors that it has begins so."""
        here = any(name.startswith(prefix) for row in self.rows for name in row.ours)
        return here or (self.elsewhere is not None and self.elsewhere().has(prefix))

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Raises ValueError if the folder has none."""
        if self.format == "meta":
            return read_tokenizer(self.folder / "tokenizer.model")
        return load_tokenizer(self.folder)

    def core_fingerprint(self) -> str | None:
        """That of `checkpoint.fingerprint` for the core, read without loading it; None if there is no core."""
        rows = [row for row in self.rows if any(is_core(name) for name in row.ours)]
        core = {name: t for name, t in to_ours(rows, self.files.view, self.where) if is_core(name)}
        return fingerprint(core) if core else None


def load_tokenizer(name: str | Path, **hub) -> PreTrainedTokenizerBase:
    """Raises ValueError if there is none at that folder or hub id."""
    try:
        return AutoTokenizer.from_pretrained(name, **hub)
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(f"{name}: found no tokenizer that could be read ({str(error).splitlines()[0]})") from error


def is_core(name: str) -> bool:
    """Whether a weight of the composed model belongs to its text core."""
    return name.startswith(f"{CORE}.")


def open_published(name: str | Path, **hub) -> Published:
    """What is at a folder, or at a hub id, which is downloaded unless local_files_only.

    hub: keywords of `checkpoint.weights_folder`.

    Raises ValueError if it is in no format that we know, or its tensors are not those of its format.
    """
    folder = weights_folder(str(name), **hub)
    if (folder / "params.json").is_file():
        return _meta(str(name), folder)
    if (folder / open_clip.CONFIG).is_file():
        return _open_clip(str(name), folder)
    kind = read_json(folder / "config.json").get("model_type") if (folder / "config.json").is_file() else None
    if kind not in (*_BY_MODEL_TYPE, *_SPEECH):
        found = f"a model of type {kind!r}" if kind else "no config.json, params.json or open_clip_config.json"
        raise ValueError(f"{name}: found {found}; accepted: {ACCEPTED}")
    if kind in _SPEECH:
        return _SPEECH[kind](str(name), folder, hub)
    return _BY_MODEL_TYPE[kind](str(name), folder)


def read_json(file: Path) -> dict:
    """Raises ValueError if it holds no JSON object."""
    try:
        read = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: found no JSON ({error})") from error
    if not isinstance(read, dict):
        raise ValueError(f"{file}: found {type(read).__name__}; accepted: a JSON object")
    return read


def _mllama(where: str, folder: Path) -> Published:
    config = mllama.config_of(MllamaConfig.from_pretrained(folder, local_files_only=True))
    files = Shards(files_of(folder))
    layout = mllama.layout_of(files.names)
    rows = mllama.rows(config, layout)
    check_names(rows, files.names, where)
    kind = "hub" if layout is mllama.HUB else "modules"
    return Published(where, folder, kind, config, rows, files, _normalisation(folder / "preprocessor_config.json"))


def _meta(where: str, folder: Path) -> Published:
    config, files = meta.config_of(folder), MetaFiles(folder)
    rows = meta.rows(config, files.names)
    check_names(rows, files.names, where)
    return Published(where, folder, "meta", config, rows, files)


def _llama(where: str, folder: Path) -> Published:
    config = MultimodalLlamaConfig(text_config=LlamaConfig.from_pretrained(folder, local_files_only=True))
    files = Shards(files_of(folder))
    names = [name for name in shapes_of(config) if is_core(name)]
    rows = _own_rows(config, [(name, name.removeprefix(f"{CORE}.")) for name in names], files.names)
    check_names(rows, files.names, where)
    return Published(where, folder, "llama", config, rows, files)


def _ours(where: str, folder: Path) -> Published:
    config, files = MultimodalLlamaConfig.from_pretrained(folder, local_files_only=True), Shards(files_of(folder))
    elsewhere = tuple(f"{part}." for part in config.left_out)
    names = [name for name in shapes_of(config) if not name.startswith(elsewhere)]
    rows = _own_rows(config, [(name, name) for name in names], files.names)
    check_names(rows, files.names, where)
    return Published(where, folder, "ours", config, rows, files, _normalisation(folder / "processor_config.json"))


def _ultravox(where: str, folder: Path, hub: dict) -> Published:
    told, files = read_json(folder / "config.json"), Shards(files_of(folder))
    name, encoder = told.get("audio_model_id"), None
    audio = PreTrainedConfig.get_config_dict(name, **hub)[0] if name else told.get("audio_config") or {}
    if name and not any(one.startswith("audio_tower.") for one in files.names):
        encoder = cache(lambda: open_published(name, **hub))
    config = speech_towers.ultravox_config(told, audio)
    rows = speech_towers.ultravox_rows(config, files.names)
    check_names(rows, files.names, where)
    return Published(where, folder, "ultravox", config, rows, files, elsewhere=encoder)


def _speech_encoder(where: str, folder: Path, hub: dict) -> Published:
    """An encoder alone: the adapter behind it is the paper's, fresh, to be trained."""
    told, files = read_json(folder / "config.json"), Shards(files_of(folder))
    is_whisper = told["model_type"] == "whisper"
    keywords = speech_towers.whisper_keywords(told) if is_whisper else speech_towers.w2v_bert_keywords(told)
    config = SpeechConfig(
        encoder="whisper" if is_whisper else "w2v-bert",
        encoder_keywords=keywords,
        adapter_keywords=dict(width=3072, num_heads=24, ffn_dim=4096),  # paper 8.2
    )
    rows = speech_towers.encoder_rows(config, files.names)
    check_names(rows, files.names, where)
    return Published(where, folder, told["model_type"], config, rows, files)


def _normalisation(file: Path) -> dict:
    told = read_json(file) if file.is_file() else {}
    return {name: told[name] for name in ("image_mean", "image_std") if name in told}


def _own_rows(config: MultimodalLlamaConfig, pairs: list[tuple[str, str]], found: set[str]) -> list[Row]:
    """Rows of our name and theirs; a head that is the embedding's table need not stand in a file."""
    tied = config.text_config.tie_word_embeddings
    return [same(*pair) for pair in pairs if not (tied and pair[0] == HEAD and pair[1] not in found)]


def shapes_of(config: MultimodalLlamaConfig | VisionConfig) -> dict[str, torch.Size]:
    """The weights of a model of this configuration, or of a trunk alone, by name."""
    with torch.device("meta"):
        if isinstance(config, VisionConfig):
            trunk = PictureEncoder(**config.keywords).trunk.state_dict()
            return {f"{open_clip.OURS}{name}": weight.shape for name, weight in trunk.items()}
        return {name: weight.shape for name, weight in MultimodalLlama(config).state_dict().items()}


def _open_clip(where: str, folder: Path) -> Published:
    told = open_clip.read_config(folder)
    if not (folder / open_clip.WEIGHTS).is_file():
        others = sorted(one.name for one in folder.glob("open_clip*") if one.name != open_clip.CONFIG)
        raise ValueError(f"{where}: found {', '.join(others) or 'no weights'}; accepted: {open_clip.WEIGHTS}")
    vision, files = VisionConfig(**open_clip.vision_config(told)), Shards({folder / open_clip.WEIGHTS: None})
    rows = open_clip.rows(told, files.names)
    check_names(rows, files.names, where)
    mean, std = open_clip.normalisation(told)
    pictures = dict(image_mean=list(mean), image_std=list(std))
    return Published(where, folder, "open_clip", vision, rows, files, pictures)


_SPEECH = {"ultravox": _ultravox, "whisper": _speech_encoder, "wav2vec2-bert": _speech_encoder}
_BY_MODEL_TYPE = {"mllama": _mllama, "llama": _llama, MultimodalLlamaConfig.model_type: _ours}
