"""Meta's `tokenizer.model`: a line a token, its bytes in base 64 and its rank; the special tokens are in the code."""

import base64
import binascii
from pathlib import Path

from tokenizers import processors
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter

_NAMED = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|step_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
SPECIAL_TOKENS = (*_NAMED, *(f"<|reserved_special_token_{n}|>" for n in range(2, 2 + 256 - len(_NAMED))))


class _Ranks(TikTokenConverter):
    """The library's converter, reading the file by itself."""

    @staticmethod
    def load_tiktoken_bpe(tiktoken_url: str) -> dict[bytes, int]:
        lines = (line.split() for line in Path(tiktoken_url).read_bytes().splitlines() if line.strip())
        return {base64.b64decode(token, validate=True): int(rank) for token, rank in lines}


def read_tokenizer(file: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a `tokenizer.model`, its 256 special tokens behind the ranks as Meta numbers them.

    Meta's own picture token among them is only a sign in a prompt: what the model reads is the first id
    behind all of these, as in the hub's files. Source: Meta's released code (llama-models).

    Raises ValueError if it is no such file.
    """
    try:
        tokenizer = _Ranks(str(file), extra_special_tokens=list(SPECIAL_TOKENS)).converted()
    except (OSError, ValueError, binascii.Error) as error:
        raise ValueError(f"{file}: found no file of ranked tokens ({error})") from error
    begin = "<|begin_of_text|>"
    begins = [(begin, tokenizer.token_to_id(begin))]
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{begin} $A",
                pair=f"{begin} $A {begin} $B",
                special_tokens=begins,
            ),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=begin,
        eos_token="<|eot_id|>",
        pad_token="<|finetune_right_pad_id|>",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
