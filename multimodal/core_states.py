"""The core's states in the middle of its layers, as if a text were its answer to an empty question.

That is what a voice is conditioned on (paper 8.3: after the 16th of 32 layers). The layers are the core's own
modules, run by the library's own forward with a cache apart: what is asked and answered stays as it was.
"""

import copy

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from .model import MultimodalLlama
from .processor import MultimodalLlamaProcessor


class CoreStates:
    """The first half of a core's layers, which have read an empty question."""

    def __init__(self, model: MultimodalLlama, processor: MultimodalLlamaProcessor):
        core = model.core.model
        config = copy.deepcopy(core.config)
        config.num_hidden_layers = core.config.num_hidden_layers // 2
        with torch.device("meta"):
            layers = type(core)(config)
        layers.embed_tokens, layers.rotary_emb, layers.norm = core.embed_tokens, core.rotary_emb, nn.Identity()
        layers.layers = core.layers[: config.num_hidden_layers]
        self._layers = layers.eval()
        self.hidden_dim, self.room, self.device = config.hidden_size, config.max_position_embeddings, model.device
        self.prompt: list[int] = processor.tokenizer.apply_chat_template(
            [{"role": "user", "content": ""}],
            chat_template=processor.chat_template,
            tokenize=True,
            return_dict=False,
            add_generation_prompt=True,
        )
        self._read_prompt: DynamicCache | None = None

    def start(self, rows: int = 1) -> "StateStream":
        """Ready for the first tokens of so many texts."""
        if self._read_prompt is None:
            cache = DynamicCache(config=self._layers.config)
            self.read(torch.tensor([self.prompt], device=self.device), cache)
            self._read_prompt = cache
        return StateStream(self, rows)

    def after_prompt(self, rows: int) -> DynamicCache:
        """A cache that holds the empty question, for so many rows."""
        cache = copy.deepcopy(self._read_prompt)
        if rows > 1:
            cache.batch_repeat_interleave(rows)
        return cache

    @torch.no_grad()
    def read(self, ids: Tensor, cache: DynamicCache) -> Tensor:
        """ids [B, T] -> states [B, T, D], not normalised."""
        return self._layers(input_ids=ids, past_key_values=cache, use_cache=True).last_hidden_state


class StateStream:
    """States of some rows' tokens as they come; where the core's positions end, it begins again after the question."""

    def __init__(self, states: CoreStates, rows: int):
        self._states, self._rows = states, rows
        self._cache = states.after_prompt(rows)

    def push(self, ids: Tensor) -> Tensor:
        """ids [B, T] -> states [B, T, D]."""
        if self._cache.get_seq_length() + ids.shape[1] > self._states.room:
            self._cache = self._states.after_prompt(self._rows)
        return self._states.read(ids.to(self._states.device), self._cache)
