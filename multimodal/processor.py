"""Text and pictures to what the model takes, and back."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from vision.tiles import CLIP_MEAN, CLIP_STD, prepare

IMAGE_TOKEN = "<|image|>"
# Ours follow the core's vocabulary in this order, whatever the core is; the rest of the table is in reserve.
EXTRA_TOKENS = (IMAGE_TOKEN, "<|video|>", "<|speech|>", "<|end_of_speech|>")

# The library marks special tokens in messages with these, and drops them from the messages first.
_MARKS = "\U000f0000\U000f0001"

# Llama 3's chat format without its date header; a picture of a message is one token at its place.
CHAT_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {%- if message['content'] is string %}
        {{- message['content'] | trim }}
    {%- else %}
        {%- for part in message['content'] %}
            {%- if part['type'] == 'image' %}
                {{- '<|image|>' }}
            {%- elif part['type'] == 'text' %}
                {{- part['text'] | trim }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""


class MultimodalLlamaProcessor(ProcessorMixin):
    """A Llama 3 tokenizer with our own tokens behind its vocabulary, and the cutting of pictures into tiles.

    `tile_px` and `max_tiles` as the picture encoder wants them (paper 7.2.1), `image_mean` and
    `image_std` of red, green and blue (0 to 1) as its trunk was trained with.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
        tile_px: int = 336,
        max_tiles: int = 4,
        image_mean: Sequence[float] = CLIP_MEAN,
        image_std: Sequence[float] = CLIP_STD,
    ):
        missing = [token for token in EXTRA_TOKENS if token not in tokenizer.get_vocab()]
        tokenizer.add_special_tokens({"extra_special_tokens": missing}, replace_extra_special_tokens=False)
        tokenizer.padding_side = "left"  # a batch of prompts is continued at its right end
        self.tile_px, self.max_tiles = tile_px, max_tiles
        self.image_mean, self.image_std = list(image_mean), list(image_std)
        self.image_token, self.image_token_id = IMAGE_TOKEN, tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        super().__init__(tokenizer, chat_template=chat_template or CHAT_TEMPLATE)

    def __call__(
        self,
        text: str | Sequence[str],
        images: Any = None,
        *,
        padding: bool | str = True,
        add_special_tokens: bool = True,
        **tokenizer_kwargs,
    ) -> BatchFeature:
        """Prompts in the format of the chat template, `<|image|>` where a picture stands, as tensors.

        images: a picture or a list of them (for lists of texts, a list of lists also serves), in the
        order of their tokens; a picture is a path, bytes, a PIL image, an array or a tensor. -> input_ids
        and attention_mask [B, T], and for pictures those of `pictures`. Special tokens in `text` count:
        for text from outside use `apply_chat_template`, where they stay text.

        Raises MediaError for a picture that cannot be used, ValueError if tokens and pictures do not pair.
        """
        texts = [text] if isinstance(text, str) else list(text)
        begun = bool(texts) and all(one.startswith(self.tokenizer.bos_token) for one in texts)
        encoded = self.tokenizer(
            texts,
            padding=padding,
            add_special_tokens=add_special_tokens and not begun,
            return_tensors="pt",
            **tokenizer_kwargs,
        )
        return self._with_pictures(encoded, images)

    def apply_chat_template(
        self,
        conversation: list,
        chat_template: str | None = None,
        *,
        tokenize: bool = False,
        return_dict: bool = True,
        sanitize_control_tokens: bool = True,
        **kwargs,
    ) -> Any:
        """A conversation, or a list of them, as a prompt or, with `tokenize`, as what the model takes.

        A message's content is a string or a list of {"type": "text", "text": ...} and {"type": "image",
        "image": picture}, pictures as in `__call__`. With `tokenize`, text that spells a special token stays
        text unless `sanitize_control_tokens` is turned off; a prompt in words cannot tell the two apart.

        Raises as `__call__` does.
        """
        chat_template = chat_template or self.chat_template
        plain, images = _without_media(conversation)
        if not tokenize:
            return self.tokenizer.apply_chat_template(plain, chat_template=chat_template, tokenize=False, **kwargs)
        kwargs = {"padding": True} | kwargs
        is_batch = bool(conversation) and isinstance(conversation[0], list | tuple)
        encoded = self.tokenizer.apply_chat_template(
            plain if is_batch else [plain],
            chat_template=chat_template,
            tokenize=True,
            return_dict=True,
            sanitize_control_tokens=sanitize_control_tokens,
            **{**kwargs, "return_tensors": "pt"},
        )
        inputs = self._with_pictures(encoded, images or None)
        return inputs if return_dict else inputs["input_ids"]

    def pictures(self, images: Sequence[Any]) -> dict[str, torch.Tensor]:
        """Open pictures and cut them: pixel_values [K, 3, tile_px, tile_px], tiles_per_picture [P], aspect_ids [P].

        Raises MediaError naming the first picture that cannot be used.
        """
        mean, std = tuple(self.image_mean), tuple(self.image_std)
        tiles = [prepare(image, self.tile_px, self.max_tiles, mean, std) for image in images]
        return {
            "pixel_values": torch.cat([one.pixels for one in tiles]),
            "tiles_per_picture": torch.tensor([len(one.pixels) for one in tiles]),
            "aspect_ids": torch.tensor([one.aspect_id for one in tiles]),
        }

    def _with_pictures(self, encoded: Any, images: Any) -> BatchFeature:
        per_row = (encoded["input_ids"] == self.image_token_id).sum(1).tolist()
        rows = _as_rows(images, len(per_row))
        found = [len(row) for row in rows] if rows is not None else None
        if found is None:
            flat = [] if images is None else list(images) if isinstance(images, list | tuple) else [images]
            if len(flat) != sum(per_row):
                raise ValueError(f"found {len(flat)} pictures for {sum(per_row)} {IMAGE_TOKEN} tokens in the text")
        elif found != per_row:
            raise ValueError(f"found {found} pictures a text for {per_row} {IMAGE_TOKEN} tokens")
        else:
            flat = [image for row in rows for image in row]
        inputs = {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}
        return BatchFeature(inputs | (self.pictures(flat) if flat else {}))


def _as_rows(images: Any, rows: int) -> list[list] | None:
    """Pictures a text, where they are given so: a list of as many lists as there are texts."""
    nested = isinstance(images, list | tuple) and images and all(isinstance(row, list | tuple) for row in images)
    return [list(row) for row in images] if nested and len(images) == rows else None


def checked_text(text: str, what: str) -> str:
    """Text that a prompt can hold letter for letter.

    Raises ValueError for a lone surrogate, and for the two private-use characters that the library
    would drop silently.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"the {what} holds half a surrogate pair, which is no text; accepted: any Unicode text")
    if found := sorted(set(text) & set(_MARKS)):
        raise ValueError(f"the {what} holds the private-use character U+{ord(found[0]):X}; accepted: text without it")
    return text


def _without_media(conversation: list) -> tuple[list, list]:
    """The conversation with its pictures taken out, and the pictures in reading order.

    Texts that stand side by side in a message become one, trimmed as the template trims each: the
    library looks for special tokens in one text at a time and would miss one that two of them spell.
    """
    images = []

    def plain(message: Any) -> Any:
        if isinstance(message, list | tuple):
            return [plain(one) for one in message]
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str):
            return {**message, "content": checked_text(content, "message")}
        if not isinstance(content, list | tuple):
            raise ValueError(f"found the message {message!r:.200}; accepted: {{'role': str, 'content': str or parts}}")
        parts = []
        for part in map(part_of, content):
            if part["type"] == "text" and parts and parts[-1]["type"] == "text":
                parts[-1] = {"type": "text", "text": parts[-1]["text"].strip() + part["text"].strip()}
            else:
                parts.append(part)
        return {**message, "content": parts}

    def part_of(part: Any) -> dict:
        if isinstance(part, dict):
            if part.get("type") == "text" and isinstance(part.get("text"), str):
                return {"type": "text", "text": checked_text(part["text"], "message")}
            if part.get("type") == "image" and "image" in part:
                images.append(part["image"])
                return {"type": "image"}
        raise ValueError(
            f"a message holds the part {part!r:.200}; accepted: {{'type': 'text', 'text': str}} and "
            "{'type': 'image', 'image': picture}"
        )

    return [plain(message) for message in conversation], images
