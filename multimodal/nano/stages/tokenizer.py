"""Stage 1: the tokenizer, from a seeded sample of the corpus. Takes seconds."""

from pathlib import Path

from transformers import PreTrainedTokenizerFast

from multimodal.nano.text.tokenizer import build_tokenizer


def train_tokenizer(out: Path, seed: int = 0) -> PreTrainedTokenizerFast:
    """The tokenizer in `out/tokenizer`, made there first if it is not there yet."""
    folder = Path(out) / "tokenizer"
    if not (folder / "tokenizer_config.json").exists():
        build_tokenizer(seed).save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)
