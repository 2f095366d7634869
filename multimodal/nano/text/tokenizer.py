"""Nano's tokenizer: byte-level BPE with the special tokens and the chat template of Llama 3.

Letters (with the marks that belong to them) keep together, each digit is a token, line breaks keep
apart from what follows, so that a turn's text is encoded alike alone and behind its header.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from multimodal.languages import LANGUAGES
from multimodal.nano.scenes import COLOURS, NUMBERS, PLACES, SHAPES, SIZES, WORDS
from multimodal.nano.text.clips import ACTIONS, DIRECTIONS
from multimodal.nano.text.corpus import as_spoken, sample_conversation
from multimodal.nano.text.phrases import KINDS, phrase_table
from multimodal.nano.text.small_talk import facts

VOCAB_SIZE = 8192  # most of the names in 34 languages in one or two tokens
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
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{{ message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
# Combining marks and joiners belong to the word they stand in; without them Indic words fall apart.
_SPLIT = r" ?[\p{L}\p{M}\x{200c}\x{200d}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+|[\r\n]+|\s+(?!\S)|\s+"
_WORDS = tuple(
    dict.fromkeys(
        [*COLOURS, *SHAPES, *SIZES, *NUMBERS, *WORDS, *DIRECTIONS, *ACTIONS, *"yes no above below left right".split()]
        + [word for row in PLACES for place in row for word in place.split()]
        + [name for kind in KINDS for name in phrase_table()["en"][kind]]
    )
)


def build_tokenizer(seed: int = 0) -> PreTrainedTokenizerFast:
    """Train the tokenizer on a seeded sample of the corpus."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample_texts(seed), trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        pad_token="<|finetune_right_pad_id|>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def _sample_texts(seed: int) -> Iterator[str]:
    """Conversations, and the closed vocabulary in each way it is written: as a beginning and after a space."""
    rng = random.Random(seed)
    for _ in range(4000):
        yield from (text for _, text in sample_conversation(rng).turns)
    for word in _WORDS:
        yield from [word, f" {word}"] * 150
        yield from [as_spoken(word), f" {as_spoken(word)}"] * 40
    for role in ("system", "user", "assistant"):
        yield from [role] * 200
    yield from ["\n\n"] * 200
    for fact in facts():
        yield from [fact.answer, *fact.questions] * 8
    for language in LANGUAGES:
        row = phrase_table()[language.code]
        for kind in ("month", "month_in_date", "weekday", "country", "language"):
            for name in row[kind]:
                yield from [name, row["comma"] + name] * 30


@dataclass(frozen=True)
class EncodedConversation:
    """Token ids, and the ranges [start, stop) of the answers, each with its end-of-turn token."""

    ids: list[int]
    answers: list[tuple[int, int]]


class ConversationEncoder:
    """Turns to ids as the chat template has them, with every text taken as text.

    A text that spells a special token stays text: it is split as any other letters are.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        self._text = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._text.encode_special_tokens = True
        self._cache: dict[str, list[int]] = {}
        start, end, self._end_of_turn, self._begin = (
            tokenizer.convert_tokens_to_ids(token)
            for token in ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin_of_text|>")
        )
        self._headers = {
            role: [start, *self.text(role), end, *self.text("\n\n")] for role in ("system", "user", "assistant")
        }

    def text(self, text: str) -> list[int]:
        """Ids of plain text; short texts, which come again and again, are remembered."""
        if text in self._cache:
            return self._cache[text]
        ids = self._text.encode(text, add_special_tokens=False).ids
        if len(text) < 60 and len(self._cache) < 50_000:
            self._cache[text] = ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, special tokens left out."""
        return self._text.decode(list(ids))

    def conversation(self, turns: Sequence[tuple[str, str]]) -> EncodedConversation:
        ids, answers = [self._begin], []
        for role, text in turns:
            ids += self._headers[role]
            start = len(ids)
            ids += [*self.text(text.strip()), self._end_of_turn]
            if role == "assistant":
                answers.append((start, len(ids)))
        return EncodedConversation(ids, answers)
