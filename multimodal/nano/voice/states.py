"""The states of nano's core that condition its voice: a middle layer's, as if the text answered an empty prompt.

Paper 8.3: the output of layer 16 of 32, "as if the text were generated after an empty user prompt". Here it
is layer 3 of 6. The state of a token is that at its own place: what the core knows once it has written it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from multimodal.model import MultimodalLlama

LAYER = 3  # whose output is taken, counted from 1, of 6


def empty_prompt(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens before an answer to nothing."""
    turns = [{"role": "user", "content": ""}]
    return tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=True, return_dict=False)


@torch.no_grad()
def states_of(
    model: MultimodalLlama, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> list[tuple[list[int], Tensor]]:
    """For each text where each of its tokens ends, in characters, and the tokens' states [T, D]."""
    prompt = empty_prompt(tokenizer)
    coded = [tokenizer(text, add_special_tokens=False, return_offsets_mapping=True) for text in texts]
    rows = [prompt + one["input_ids"] for one in coded]
    width = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in rows], device=model.device)
    hidden = model.core.model(ids, use_cache=False, output_hidden_states=True).hidden_states[LAYER]
    ends = [[end for _, end in one["offset_mapping"]] for one in coded]
    return [(end, row[len(prompt) : len(prompt) + len(end)]) for end, row in zip(ends, hidden, strict=True)]
