"""A model of one format written as another: streamed, whole or not there at all."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import GenerationConfig, MllamaImageProcessor, MllamaProcessor, PreTrainedTokenizerBase

from vision.tiles import CLIP_MEAN, CLIP_STD

from ..checkpoint import CORE
from ..config import MultimodalLlamaConfig, VisionConfig
from ..processor import processor_of
from . import mllama
from .published import Published, open_published
from .shards import MAX_SHARD_BYTES, write_shards
from .table import Row, to_theirs

FORMATS = ("ours", "hub")


def convert(
    source: str | Path, dest: str | Path, to: str = "ours", *, max_shard_bytes: int = MAX_SHARD_BYTES, **hub
) -> Path:
    """Write the model at `source`, in any format of `convert.published`, into the new folder `dest`.

    to: "ours", which `multimodal.load` opens, or "hub", the hub's layout of Llama 3.2 Vision. Types stay
    as they are; never more than a file of the source and one of the result is in memory. hub: keywords of
    `checkpoint.weights_folder`. Returns `dest`.

    Raises ValueError if `dest` exists, a file of the source is damaged or not what its checksum says, or
    the format cannot hold the model.
    """
    dest = Path(dest)
    if to not in FORMATS:
        raise ValueError(f"found the format {to!r}; accepted: {', '.join(FORMATS)}")
    if dest.exists():
        raise ValueError(f"{dest} exists; accepted: a folder that is not there yet")
    published = open_published(source, **hub)
    if isinstance(published.config, VisionConfig) or not published.has(f"{CORE}."):
        raise ValueError(f"{source}: found {published.format} weights without a text core; compose them with one first")
    config = mllama.hub_config_of(published.config) if to == "hub" else _named(published)
    rows = mllama.rows(published.config) if to == "hub" else published.rows
    published.files.check()
    partial = dest.with_name(dest.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        tensors = _in_hub_layout(published, rows) if to == "hub" else published.tensors()
        count = sum(len(row.theirs if to == "hub" else row.ours) for row in rows)
        bar = tqdm(tensors, total=count, desc=dest.name, unit="tensor")
        types: set[torch.dtype] = set()
        write_shards(_noting(bar, types), partial, max_shard_bytes)
        config.dtype = str(types.pop()).removeprefix("torch.") if len(types) == 1 else None
        config.save_pretrained(partial)
        _write_rest(published, partial, to)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(dest)
    return dest


def _named(published: Published) -> MultimodalLlamaConfig:
    config = published.config
    config.architectures = ["MultimodalLlama"]
    return config


def _in_hub_layout(published: Published, rows: list[Row]) -> Iterator[tuple[str, Tensor]]:
    """The hub's tensors, in the order in which the source gives what they are made of."""
    waiting, row_of = {}, {name: row for row in rows for name in row.ours}
    for name, tensor in published.tensors():
        waiting[name] = tensor
        row = row_of[name]
        if all(one in waiting for one in row.ours):
            yield from to_theirs([row], waiting.pop)


def _noting(tensors: Iterator[tuple[str, Tensor]], types: set[torch.dtype]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors:
        types.add(tensor.dtype)
        yield name, tensor


def _write_rest(published: Published, folder: Path, to: str) -> None:
    """Tokenizer, generation configuration and, in our layout, the processor."""
    source = published.folder
    if (source / "generation_config.json").is_file():
        shutil.copyfile(source / "generation_config.json", folder / "generation_config.json")
    else:
        text = published.config.text_config
        ends = dict(bos_token_id=text.bos_token_id, eos_token_id=text.eos_token_id, pad_token_id=text.pad_token_id)
        GenerationConfig(**ends).save_pretrained(folder)
    tokenizer = published.tokenizer()
    if to == "hub":
        _hub_processor(published, tokenizer).save_pretrained(folder)
        return
    processor_of(published.config, tokenizer, published.pictures).save_pretrained(folder)


def _hub_processor(published: Published, tokenizer: PreTrainedTokenizerBase) -> MllamaProcessor:
    vision = published.config.vision_config
    side = {"height": vision.tile_px, "width": vision.tile_px}
    normalised = dict(image_mean=list(CLIP_MEAN), image_std=list(CLIP_STD)) | published.pictures
    pictures = MllamaImageProcessor(size=side, max_image_tiles=vision.max_tiles, **normalised)
    return MllamaProcessor(pictures, tokenizer, chat_template=tokenizer.chat_template)
