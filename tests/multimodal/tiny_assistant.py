"""A whole tiny assistant, nothing trained: a tokenizer with Llama 3's special tokens, a random model, a processor.

Its answers are capital letters, which stand in no merge of the tokenizer: an answer written as text
and encoded again gives the tokens it was made of.
"""

import string
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, PreTrainedTokenizerFast

from multimodal import Assistant
from multimodal.processor import processor_of

from .tiny import tiny_config, tiny_model

SPECIAL_TOKENS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|python_tag|>",
    "<|finetune_right_pad_id|>",
)
POSITIONS = 512
_SENTENCES = ("what is in this picture?", "how many red circles are there?", "and left of it?", "system user assistant")


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE, merges from a few sentences in small letters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_SENTENCES * 9, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        pad_token="<|finetune_right_pad_id|>",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def tiny_assistant(ends_at: str = "K", **changes) -> Assistant:
    """The assistant; where the model would write the letter `ends_at`, it ends its answer. changes: of the config."""
    tokenizer = tiny_tokenizer()
    vocabulary = len(tokenizer)
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = tiny_config().text_config.to_dict() | special
    text |= {"vocab_size": vocabulary, "max_position_embeddings": POSITIONS}
    model = tiny_model(text_config=LlamaConfig(**text), **changes)
    model.generation_config.update(**special)
    head = model.core.lm_head.weight
    letters = tokenizer.convert_tokens_to_ids(list(string.ascii_uppercase))
    with torch.no_grad():
        head[[i for i in range(vocabulary) if i not in letters]] = 0.0
        head[tokenizer.eos_token_id] = 1.5 * head[tokenizer.convert_tokens_to_ids(ends_at)]
    return Assistant(model, processor_of(model.config, tokenizer))


def save(assistant: Assistant, folder: Path) -> Path:
    """The assistant as a folder that `multimodal.load` opens."""
    assistant.model.save_pretrained(folder)
    assistant.processor.save_pretrained(folder)
    return folder


def picture(colour: str = "red", side: int = 60) -> Image.Image:
    """A circle on white."""
    image = Image.new("RGB", (side, side), "white")
    ImageDraw.Draw(image).ellipse((side // 4, side // 4, side // 4 * 3, side // 4 * 3), fill=colour)
    return image
