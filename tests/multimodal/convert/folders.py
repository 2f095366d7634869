"""Tiny published models on disk, as a hub's cache would hold them, each with a tokenizer."""

from pathlib import Path

import torch
from transformers import LlamaForCausalLM, MllamaForConditionalGeneration

from multimodal.convert import mllama
from multimodal.convert.table import to_ours

from ..tiny_assistant import tiny_tokenizer
from .tiny_mllama import tiny_mllama

VOCABULARY = len(tiny_tokenizer())


def hub_model() -> MllamaForConditionalGeneration:
    return tiny_mllama(vocab=VOCABULARY)


def hub_folder(folder: Path, model: MllamaForConditionalGeneration | None = None) -> Path:
    """Llama 3.2 Vision as the library saves it, in several files."""
    (model or hub_model()).save_pretrained(folder, max_shard_size="40KB")
    tiny_tokenizer().save_pretrained(folder)
    return folder


def core_of(model: MllamaForConditionalGeneration) -> LlamaForCausalLM:
    """The text core in it as a Llama of its own."""
    config, weights = mllama.config_of(model.config), model.state_dict()
    rows = mllama.rows(config, mllama.MODULES)
    core = LlamaForCausalLM(config.text_config).eval()
    ours = dict(to_ours(rows, weights.__getitem__, "tiny"))
    core.load_state_dict({n.removeprefix("core."): t for n, t in ours.items() if n.startswith("core.")})
    return core


def text_folder(folder: Path, core: LlamaForCausalLM | None = None) -> Path:
    """A Llama 3 with the core of `hub_model`."""
    (core or core_of(hub_model())).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def other_core(change: str) -> LlamaForCausalLM:
    """A core that the adapters of `hub_model` were not trained around."""
    core = core_of(hub_model())
    if change == "weights":
        with torch.no_grad():
            core.model.layers[2].mlp.up_proj.weight[0, 0] += 1
        return core
    config = core.config
    fields = {"hidden_size": 40, "num_hidden_layers": 5, "vocab_size": VOCABULARY + 8}
    setattr(config, change, fields[change])
    return LlamaForCausalLM(config)
