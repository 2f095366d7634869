"""Llama 3.2 Vision as Meta released it: `consolidated.*.pth`, `params.json`, and their table of weights.

A large model comes in several files; each holds a slice of every matrix, cut where Meta's parallel
layers cut it. Source: Meta's released code (llama-models), peers' converters agree.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import LlamaConfig

from vision.llama_tower import RELEASED
from vision.tiles import arrangements

from ..config import MultimodalLlamaConfig, VisionConfig
from .mllama import tower_stacks
from .table import Row, joined, left_behind, same, shaped
from .tokenizer_file import SPECIAL_TOKENS

CORE_LAYER = {
    "input_layernorm.weight": "attention_norm.weight",
    "self_attn.v_proj.weight": "attention.wv.weight",
    "self_attn.o_proj.weight": "attention.wo.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "feed_forward.w1.weight",
    "mlp.up_proj.weight": "feed_forward.w3.weight",
    "mlp.down_proj.weight": "feed_forward.w2.weight",
}
IMAGE_BLOCK = {
    "attention_norm.weight": "attention_norm.weight",
    "q.weight": "attention.wq.weight",
    "q_norm.weight": "attention.q_norm.weight",
    "memory.k.weight": "attention.wk.weight",
    "memory.k_norm.weight": "attention.k_norm.weight",
    "memory.v.weight": "attention.wv.weight",
    "out.weight": "attention.wo.weight",
    "attention_gate.openness": "gate_attn",
    "ffn_norm.weight": "ffn_norm.weight",
    "ffn.gate.weight": "feed_forward.w1.weight",
    "ffn.up.weight": "feed_forward.w3.weight",
    "ffn.down.weight": "feed_forward.w2.weight",
    "ffn_gate.openness": "gate_ffwd",
}
TOWER = {
    "class_embedding": "class_embedding",
    "position": "positional_embedding",
    "position_gate.openness": "gated_positional_embedding_gate",
    "tile_before_gate.openness": "pre_tile_pos_embed.gate",
    "tile_after_gate.openness": "post_tile_pos_embed.gate",
    "norm_before.weight": "ln_pre.weight",
    "norm_before.bias": "ln_pre.bias",
    "norm_after.weight": "ln_post.weight",
    "norm_after.bias": "ln_post.bias",
}
TOWER_TABLES = {
    "tile_before": "pre_tile_pos_embed.embedding",
    "tile_position": "gated_positional_embedding",
    "tile_after": "post_tile_pos_embed.embedding",
}
TOWER_LAYER = {
    "attention_norm.weight": "ln_1.weight",
    "attention_norm.bias": "ln_1.bias",
    "out.weight": "attn.wo.weight",
    "mlp_norm.weight": "ln_2.weight",
    "mlp_norm.bias": "ln_2.bias",
    "mlp.0.weight": "mlp.c_fc.weight",
    "mlp.0.bias": "mlp.c_fc.bias",
    "mlp.2.weight": "mlp.c_proj.weight",
    "mlp.2.bias": "mlp.c_proj.bias",
}
TOWER_GATES = {"attention_gate.openness": "gate_attn", "mlp_gate.openness": "gate_ffn"}

# How a tensor is cut over several files: along its rows, along its columns, or every file has it whole.
_CUT_BY_ROWS = (
    *("tok_embeddings.weight", "learnable_embedding.weight", "output.weight", "wq.weight", "wk.weight", "wv.weight"),
    *("w1.weight", "w3.weight", "conv1._linear.weight", "c_fc.weight", "c_fc.bias"),
    *("vision_projection.weight", "vision_projection.bias"),
)
_CUT_BY_COLUMNS = ("wo.weight", "w2.weight", "c_proj.weight")
ROTARY_TABLE = "rope.freqs"  # computed, not learned; some files carry it


def rows(config: MultimodalLlamaConfig, names: set[str]) -> list[Row]:
    """The table of a model of this configuration; names: those of the files, which may carry a rotary table."""
    computed = [left_behind(name) for name in sorted(names) if name.endswith(ROTARY_TABLE)]
    return [*_text_rows(config), *_vision_rows(config.vision_config), *computed]


def _text_rows(config: MultimodalLlamaConfig) -> Iterator[Row]:
    text = config.text_config
    yield same("core.model.embed_tokens.weight", "text_model.tok_embeddings.weight")
    yield same("extra_embedding.weight", "text_model.learnable_embedding.weight")
    for i in range(text.num_hidden_layers):
        ours, theirs = f"core.model.layers.{i}.", f"text_model.layers.{i}."
        yield _half_turned(f"{ours}self_attn.q_proj.weight", f"{theirs}attention.wq.weight", text.num_attention_heads)
        yield _half_turned(f"{ours}self_attn.k_proj.weight", f"{theirs}attention.wk.weight", text.num_key_value_heads)
        for our_name, their_name in CORE_LAYER.items():
            yield same(ours + our_name, theirs + their_name)
    for number, i in enumerate(config.image_layers):
        for our_name, their_name in IMAGE_BLOCK.items():
            yield same(f"image.{i}.{our_name}", f"text_model.cross_attention_layers.{number}.{their_name}")
    yield same("core.model.norm.weight", "text_model.norm.weight")
    yield same("core.lm_head.weight", "text_model.output.weight")


def _vision_rows(vision: VisionConfig) -> Iterator[Row]:
    tower = "vision_model.vision_encoder."
    flat = (vision.width, 3 * vision.patch_px**2)
    patch = (vision.width, 3, vision.patch_px, vision.patch_px)
    yield shaped("vision.patch_embedding.weight", f"{tower}conv1._linear.weight", patch, flat)
    for ours, theirs in TOWER.items():
        yield same(f"vision.{ours}", tower + theirs)
    for ours, theirs in TOWER_TABLES.items():
        yield _by_arrangement(f"vision.{ours}", tower + theirs, vision.max_tiles)
    for our_stack, their_stack, count in tower_stacks(vision):
        for i in range(count):
            ours, theirs = f"vision.{our_stack}.{i}.", f"{tower}{their_stack}.resblocks.{i}."
            yield joined(f"{ours}qkv.weight", [f"{theirs}attn.w{part}.weight" for part in "qkv"])
            for our_name, their_name in (TOWER_LAYER | (TOWER_GATES if our_stack == "global_layers" else {})).items():
                yield same(ours + our_name, theirs + their_name)
    for name in ("weight", "bias"):
        yield same(f"image_projection.{name}", f"vision_model.vision_projection.{name}")


def _half_turned(ours: str, theirs: str, heads: int) -> Row:
    """Meta rotates neighbouring channels of a head, the library channel i and i + half: rows change places."""

    def to_ours(tensors):
        pairs = tensors[0].unflatten(0, (heads, -1, 2))
        return [pairs.transpose(1, 2).reshape(tensors[0].shape)]

    return Row((ours,), (theirs,), to_ours)


def _by_arrangement(ours: str, theirs: str, max_tiles: int) -> Row:
    """Meta keeps one entry for each row and column; here each arrangement of tiles has its own, row by row."""

    def to_ours(tensors):
        grid = tensors[0]  # [max_tiles, max_tiles, 1 or places, D]
        if tuple(grid.shape[:2]) != (max_tiles, max_tiles):
            raise RuntimeError("no square grid of tiles")
        table = grid.new_zeros(len(arrangements(max_tiles)) + 1, max_tiles, *grid.shape[2:])
        for aspect_id, (height, width) in enumerate(arrangements(max_tiles), start=1):
            table[aspect_id, : height * width] = grid[:height, :width].flatten(0, 1)
        return [table.squeeze(2)]

    return Row((ours,), (theirs,), to_ours)


def config_of(folder: Path) -> MultimodalLlamaConfig:
    """Our configuration of the model that `params.json` describes.

    Raises ValueError if it is no Llama 3.2 Vision.
    """
    try:
        params = json.loads((folder / "params.json").read_text("utf-8"))
        params = params.get("model", params)
        dim, layers, blocks = (params[name] for name in ("dim", "n_layers", "vision_num_cross_attention_layers"))
        hidden = int(params["ffn_dim_multiplier"] * int(2 * 4 * dim / 3))
        multiple = params["multiple_of"]
        text = LlamaConfig(
            vocab_size=params["vocab_size"],
            hidden_size=dim,
            num_hidden_layers=layers,
            num_attention_heads=params["n_heads"],
            num_key_value_heads=params["n_kv_heads"],
            intermediate_size=multiple * math.ceil(hidden / multiple),
            max_position_embeddings=131_072,
            rms_norm_eps=params["norm_eps"],
            rope_parameters=_rope(params),
            **_tokens(params["vocab_size"]),
        )
        vision = VisionConfig(
            encoder="llama-3.2", **RELEASED | {"taps": list(RELEASED["taps"]), "tile_px": params["vision_chunk_size"]}
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StrictDataclassError) as error:
        found = f"{type(error).__name__} {' '.join(str(error).split())}"
        raise ValueError(
            f"{folder / 'params.json'}: found {found}; accepted: that of a Llama 3.2 Vision model"
        ) from error
    every = math.ceil(layers / blocks)
    return MultimodalLlamaConfig(
        text_config=text,
        vision_config=vision,
        image_layers=sorted(range(layers - 1, -1, -every)[:blocks]),
    )


def _tokens(vocab_size: int) -> dict:
    """The ids that begin, end and pad a text, counted from the first special token."""
    first = vocab_size - len(SPECIAL_TOKENS)
    begin, end, end_message, end_turn, pad = (
        first + SPECIAL_TOKENS.index(f"<|{name}|>")
        for name in ("begin_of_text", "end_of_text", "eom_id", "eot_id", "finetune_right_pad_id")
    )
    return dict(bos_token_id=begin, eos_token_id=[end, end_message, end_turn], pad_token_id=pad)


def _rope(params: dict) -> dict:
    if not params.get("use_scaled_rope"):
        return {"rope_type": "default", "rope_theta": params["rope_theta"]}
    return {
        "rope_type": "llama3",
        "rope_theta": params["rope_theta"],
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }


class MetaFiles:
    """The tensors of `consolidated.*.pth`, put together from their slices when they are read.

    The files are pickles, opened with torch's loader that builds tensors and nothing else, and mapped,
    not read. Raises ValueError if a file is damaged, or lacks a tensor that the first one has.
    """

    def __init__(self, folder: Path):
        self.files = sorted(folder.glob("consolidated*.pth"))
        if not self.files:
            raise ValueError(f"{folder}: found no consolidated.*.pth; accepted: a folder as Meta released it")
        self._shards = [_open(file) for file in self.files]
        for file, shard in zip(self.files, self._shards, strict=True):
            if shard.keys() != self._shards[0].keys():
                raise ValueError(f"{file}: found other tensors than in {self.files[0].name}")

    @property
    def names(self) -> set[str]:
        return set(self._shards[0])

    def check(self) -> None:
        """Compare every file with Meta's list of MD5 sums, where the folder has it; reads all of them."""
        check_md5(self.files)

    def read(self, name: str) -> Tensor:
        """A copy of one tensor, in memory of its own."""
        return self.view(name).clone()

    def view(self, name: str) -> Tensor:
        """One tensor, mapped if one file holds the whole of it."""
        slices = [shard[name] for shard in self._shards]
        if len(slices) == 1 or not name.endswith((*_CUT_BY_ROWS, *_CUT_BY_COLUMNS)):
            return slices[0]
        return torch.cat(slices, dim=0 if name.endswith(_CUT_BY_ROWS) else 1)


def _open(file: Path) -> dict[str, Tensor]:
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, ValueError, EOFError, UnpicklingError) as error:
        raise ValueError(f"{file}: found no readable file of tensors ({str(error).splitlines()[0]})") from error


def check_md5(files: list[Path]) -> None:
    """Compare files of one folder with Meta's list of their MD5 sums, where it has that.

    Raises ValueError that names the first file which is not the one that was released.
    """
    told = files[0].with_name("checklist.chk")
    if not told.is_file():
        return
    sums = {name: md5 for md5, name in (line.split() for line in told.read_text("utf-8").splitlines() if line.strip())}
    for file in files:
        with open(file, "rb") as opened:
            found = hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if sums.get(file.name, found) != found:
            raise ValueError(f"{file}: found MD5 {found}; {told.name} says {sums[file.name]}")
