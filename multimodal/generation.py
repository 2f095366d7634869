"""Tokens one after the other: the one loop that asking, streaming and chatting share.

`model.generate` stays the library's, with its beams and strategies; this loop is for a reader who
wants each token when it is there and may stop at any time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache, LogitsProcessorList, PreTrainedTokenizerBase
from transformers.generation import TemperatureLogitsWarper, TopPLogitsWarper

from .image_memory import ImageMemory
from .model import MultimodalLlama


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen: the likeliest at temperature 0, else drawn from the likeliest `top_p` mass.

    Raises ValueError for values out of range.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        for name, value, accepted, right in (
            ("max_new_tokens", self.max_new_tokens, "1 or more", self.max_new_tokens >= 1),
            ("temperature", self.temperature, "0 (greedy) or more", 0 <= self.temperature < float("inf")),
            ("top_p", self.top_p, "more than 0, at most 1", 0 < self.top_p <= 1),
        ):
            if not right:
                raise ValueError(f"{name} is {value}; accepted: {accepted}")

    def choose(self, ids: Tensor, logits: Tensor) -> Tensor:
        """ids [1, T], logits [1, V] -> the next token [1, 1]."""
        if self.temperature == 0:
            return logits.argmax(-1, keepdim=True)
        warpers = LogitsProcessorList([TemperatureLogitsWarper(self.temperature), TopPLogitsWarper(self.top_p)])
        return torch.multinomial(warpers(ids, logits.float()).softmax(-1), 1)


@dataclass
class Context:
    """What the model has read so far: its text cache, its pictures and clips, and the ids it has not read yet."""

    cache: DynamicCache
    images: ImageMemory | None = None
    clips: ImageMemory | None = None
    unread: list[int] = field(default_factory=list)

    @classmethod
    def empty(cls, model: MultimodalLlama) -> "Context":
        return cls(DynamicCache(config=model.config.text_config))


def stream_tokens(
    model: MultimodalLlama, context: Context, sampling: Sampling, media: dict[str, Tensor] | None = None
) -> Iterator[int]:
    """Read `context.unread`, with the media whose tokens are among it, then give one token at a time.

    Ends after an end-of-turn token, which is given too, or after `max_new_tokens`. Whenever the
    caller stops, the context can go on from there: the last token given is the unread one.

    Raises ValueError if prompt and answer do not fit the positions that the core was trained on.
    """
    ends = end_tokens(model)
    read, room = context.cache.get_seq_length(), model.config.text_config.max_position_embeddings
    if read + len(context.unread) >= room:
        raise ValueError(
            f"the conversation has {read + len(context.unread)} tokens; this model reads at most {room - 1}"
        )
    for _ in range(min(sampling.max_new_tokens, room - read - len(context.unread))):
        token = _read(model, context, sampling, media)
        media = None
        yield token
        if token in ends:
            return


@torch.no_grad()
def _read(model: MultimodalLlama, context: Context, sampling: Sampling, media: dict[str, Tensor] | None) -> int:
    ids = torch.tensor([context.unread], device=model.device)
    read = context.cache.get_seq_length()
    try:
        output = model(
            ids,
            past_key_values=context.cache,
            image_memory=context.images,
            video_memory=context.clips,
            use_cache=True,
            logits_to_keep=1,
            **{name: value.to(model.device) for name, value in (media or {}).items()},
        )
    except BaseException:  # interrupted, or out of memory: the layers that have read these ids forget them
        for layer in context.cache.layers:
            layer.crop(read - layer.get_seq_length())
        raise
    if media and "pixel_values" in media:
        context.images = output.image_memory
    if media and "frame_values" in media:
        context.clips = output.video_memory
    token = sampling.choose(ids, output.logits[:, -1]).item()
    context.unread = [token]
    return token


def is_end(model: MultimodalLlama, token: int) -> bool:
    """Whether a token ends an answer."""
    return token in end_tokens(model)


def end_tokens(model: MultimodalLlama) -> set[int]:
    """The tokens that end an answer."""
    ends = model.generation_config.eos_token_id
    return set(ends) if isinstance(ends, list) else {ends}


class TextStream:
    """Tokens to text as they come: what can no longer change is given, half a character is held back."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self.text = ""

    def push(self, token: int) -> str:
        """The text that this token adds, perhaps none yet."""
        self._ids.append(token)
        whole = self._decoded()
        if whole.endswith("\N{REPLACEMENT CHARACTER}"):  # the rest of a character's bytes is in the next token
            return ""
        added, self.text = whole[len(self.text) :], whole
        return added

    def close(self) -> str:
        """What was held back: bytes that never became a character."""
        whole = self._decoded()
        added, self.text = whole[len(self.text) :], whole
        return added

    def _decoded(self) -> str:
        # Cleaning up would change text that has been given already ("I '" and then "I'm").
        return self._tokenizer.decode(self._ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
