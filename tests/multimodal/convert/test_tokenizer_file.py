"""Meta's tokenizer.model: the ids that tiktoken, which it was written for, gives."""

import base64
from pathlib import Path

import pytest
import tiktoken

from multimodal.convert.tokenizer_file import SPECIAL_TOKENS, read_tokenizer

PATTERN = "|".join(
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
WORDS = ("th", "the", " t", " th", " the", "in", "ing", "12", "123", "re", " re", " red", "é".encode(), "日".encode())
TEXTS = ("the red thing is 12345, isn't it?", "  two\n\nlines \t", "日本 café", "a<b>c", "", "ring the thing")


@pytest.fixture(scope="module")
def ranks() -> dict[bytes, int]:
    """Every byte, then a few merges in order."""
    tokens = [bytes([byte]) for byte in range(256)]
    pieces = [word if isinstance(word, bytes) else word.encode() for word in WORDS]
    pieces.insert(0, b" r")
    pieces += ["é".encode()[:2], "日".encode()[:2]]
    return {token: rank for rank, token in enumerate(dict.fromkeys(tokens + sorted(pieces, key=len)))}


@pytest.fixture(scope="module")
def file(ranks, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("meta") / "tokenizer.model"
    lines = [base64.b64encode(token) + b" " + str(rank).encode() for token, rank in ranks.items()]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_ids_are_those_of_tiktoken(ranks, file):
    special = {token: len(ranks) + at for at, token in enumerate(SPECIAL_TOKENS)}
    theirs = tiktoken.Encoding("tiny", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=special)
    ours = read_tokenizer(file)
    for text in TEXTS:
        ids = theirs.encode(text)
        assert ours(text).input_ids == [ours.bos_token_id, *ids]
        assert ours.decode(ids) == text
    asked = "<|start_header_id|>user<|end_header_id|>\n\nthe thing<|eot_id|>"
    assert ours(asked, add_special_tokens=False).input_ids == theirs.encode(asked, allowed_special="all")


def test_special_tokens_stand_where_meta_has_them(ranks, file):
    """For the released file, of 128,000 ranks, these are 128000 and so on."""
    ours = read_tokenizer(file)
    at = {
        0: "begin_of_text",
        1: "end_of_text",
        4: "finetune_right_pad_id",
        6: "start_header_id",
        8: "eom_id",
        9: "eot_id",
    }
    assert {n: ours.convert_tokens_to_ids(f"<|{name}|>") - len(ranks) for n, name in at.items()} == {n: n for n in at}
    assert len(ours) == len(ranks) + 256


@pytest.mark.parametrize("content", [b"no ranks here", b"dGhl nine", b"\xff\xfe", b"!!! 3"])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(ValueError, match=r"tokenizer\.model: found no file of ranked tokens"):
        read_tokenizer(tmp_path / "tokenizer.model")
    with pytest.raises(ValueError, match="found no file of ranked tokens"):
        read_tokenizer(tmp_path / "absent")
