"""Text, pictures, clips and sounds to what the model takes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from vision.tiles import CLIP_MEAN, CLIP_STD, prepare

from .config import MultimodalLlamaConfig
from .speech_embeddings import with_places

IMAGE_TOKEN, VIDEO_TOKEN, SPEECH_TOKEN = "<|image|>", "<|video|>", "<|speech|>"
# Ours follow the core's vocabulary in this order, whatever the core is; the rest of the table is in reserve.
EXTRA_TOKENS = (IMAGE_TOKEN, VIDEO_TOKEN, SPEECH_TOKEN, "<|end_of_speech|>", "<|speech_place|>")

# The library marks special tokens in messages with these, and drops them from the messages first.
_MARKS = "\U000f0000\U000f0001"

# Llama 3's chat format without its date header; a picture, clip or sound of a message is one token at its place.
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
            {%- elif part['type'] == 'video' %}
                {{- '<|video|>' }}
            {%- elif part['type'] == 'audio' %}
                {{- '<|speech|>' }}
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
    """A Llama 3 tokenizer with our own tokens behind its vocabulary, and the cutting of pictures and frames into tiles.

    `tile_px` and `max_tiles` as the picture encoder wants them (paper 7.2.1), `image_mean` and
    `image_std` of red, green and blue (0 to 1) as its trunk was trained with. `speech`: the encoder's name
    ("encoder"), how many of its frames make an embedding ("stride") and whether our two tokens stand around
    speech ("enclosed"); None for a model without ears. `max_frames`: so many are sampled of a clip; None for
    a model without clips. `max_tiles_of_frame`: None for as many as a picture has.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
        tile_px: int = 336,
        max_tiles: int = 4,
        image_mean: Sequence[float] = CLIP_MEAN,
        image_std: Sequence[float] = CLIP_STD,
        speech: dict | None = None,
        max_frames: int | None = None,
        max_tiles_of_frame: int | None = None,
    ):
        missing = [token for token in EXTRA_TOKENS if token not in tokenizer.get_vocab()]
        tokenizer.add_special_tokens({"extra_special_tokens": missing}, replace_extra_special_tokens=False)
        tokenizer.padding_side = "left"  # a batch of prompts is continued at its right end
        self.tile_px, self.max_tiles = tile_px, max_tiles
        self.image_mean, self.image_std = list(image_mean), list(image_std)
        self.speech, self.max_frames, self.max_tiles_of_frame = speech, max_frames, max_tiles_of_frame
        self.image_token, self.image_token_id = IMAGE_TOKEN, tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        self.video_token, self.video_token_id = VIDEO_TOKEN, tokenizer.convert_tokens_to_ids(VIDEO_TOKEN)
        self.speech_token, self.speech_token_id = SPEECH_TOKEN, tokenizer.convert_tokens_to_ids(SPEECH_TOKEN)
        super().__init__(tokenizer, chat_template=chat_template or CHAT_TEMPLATE)

    def __call__(
        self,
        text: str | Sequence[str],
        images: Any = None,
        audio: Any = None,
        videos: Any = None,
        *,
        padding: bool | str = True,
        add_special_tokens: bool = True,
        **tokenizer_kwargs,
    ) -> BatchFeature:
        """Prompts in the chat template's format as tensors; `<|image|>`, `<|video|>` and `<|speech|>` stand for media.

        images, audio, videos: one or a list of them (for lists of texts, a list of lists also serves), in the
        order of their tokens; a picture is a path, bytes, a PIL image, an array or a tensor, a sound a path,
        bytes or (array, rate), a clip as in `clips`. -> input_ids and attention_mask [B, T], and for media
        what `pictures`, `sounds` and `clips` give. Special tokens in `text` count: for text from outside use
        `apply_chat_template`, where they stay text.

        Raises MediaError for a file that cannot be used, ValueError if tokens and media do not pair.
        """
        texts = [text] if isinstance(text, str) else list(text)
        begun = bool(texts) and all(one.startswith(self.tokenizer.bos_token) for one in texts)
        add_special_tokens = add_special_tokens and not begun
        ids = self.tokenizer(texts, add_special_tokens=add_special_tokens, **tokenizer_kwargs)["input_ids"]
        return self._with_media(ids, images, audio, videos, padding)

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

        A message's content is a string or a list of {"type": "text", "text": ...}, {"type": "image",
        "image": picture}, {"type": "video", "video": clip} and {"type": "audio", "audio": sound}, media as in
        `__call__`. With `tokenize`, text that spells a special token stays text unless
        `sanitize_control_tokens` is turned off; a prompt in words cannot tell the two apart.

        Raises as `__call__` does.
        """
        chat_template = chat_template or self.chat_template
        plain, media = _without_media(conversation)
        if not tokenize:
            return self.tokenizer.apply_chat_template(plain, chat_template=chat_template, tokenize=False, **kwargs)
        padding = kwargs.pop("padding", True)
        kwargs.pop("return_tensors", None)
        is_batch = bool(conversation) and isinstance(conversation[0], list | tuple)
        ids = self.tokenizer.apply_chat_template(
            plain if is_batch else [plain],
            chat_template=chat_template,
            tokenize=True,
            return_dict=False,
            sanitize_control_tokens=sanitize_control_tokens,
            **kwargs,
        )
        inputs = self._with_media(ids, *(media[kind] or None for kind in ("image", "audio", "video")), padding)
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

    def clips(
        self, videos: Sequence[Any], start_s: float | None = None, end_s: float | None = None
    ) -> dict[str, torch.Tensor]:
        """Read clips and cut their frames: what `MultimodalLlama.watch` takes, in the order of the clips.

        A clip is a path or bytes, of which start_s and end_s take a part, a `video.reader.Clip`, or frames
        [F, 3, H, W] or [F, H, W, 3] as an array or a tensor, alone (then taken to be a second apart) or in a
        pair with their rate in frames a second. At most `max_frames` are sampled, evenly spread.

        Raises MediaError naming the first clip that cannot be used, ValueError if the model has no clips.
        """
        self._refuse_without_clips()
        from video.frames import clip_from, cut_frames  # reads clips, which text and pictures do not need

        mean, std = tuple(self.image_mean), tuple(self.image_std)
        most = self.max_tiles_of_frame or self.max_tiles
        canvas_px = most * self.tile_px  # the longest side that tiles can make
        clips = [clip_from(one, self.max_frames, start_s, end_s, canvas_px) for one in videos]
        cut = [cut_frames(clip, self.tile_px, self.max_tiles, mean, std, most) for clip in clips]
        return {
            "frame_values": torch.cat([one.pixels for one in cut]),
            "frames_per_clip": torch.tensor([len(one.times_s) for one in cut]),
            "clip_aspect_ids": torch.tensor([one.aspect_id for one in cut]),
            "frame_times_s": torch.cat([one.times_s for one in cut]),
        }

    def sound_track(
        self, video: Any, start_s: float | None = None, end_s: float | None = None
    ) -> tuple[torch.Tensor, int]:
        """The sound of a clip, or of a part of it, as `sounds` takes it: samples and their rate.

        Raises MediaError if the clip is not a file or has no sound, ValueError if the model has no ears.
        """
        self._refuse_without_ears()
        from video.reader import read_sound_track

        samples, rate = read_sound_track(video)
        start, end = (None if at is None else round(at * rate) for at in (start_s, end_s))
        return samples[start:end], rate

    def _refuse_without_clips(self) -> None:
        if self.max_frames is None:
            raise ValueError(f"found a clip; this model has no video encoder; accepted: {self._accepted}")

    def sounds(self, audio: Sequence[Any]) -> tuple[dict[str, torch.Tensor], list[int]]:
        """Open sounds: speech_samples [C, T] at 16 kHz and speech_lengths [C], and how many embeddings each sound has.

        A sound longer than the encoder takes is several clips, one directly behind the other.

        Raises MediaError naming the first sound that cannot be used, ValueError if the model has no ears.
        """
        self._refuse_without_ears()
        # not needed for text and pictures, and a second to import
        from speech.audio import open_sound
        from speech.encoders import ENCODERS, SAMPLE_RATE

        encoder = ENCODERS[self.speech["encoder"]]
        most = int(encoder.max_seconds * SAMPLE_RATE)
        sounds = [open_sound(one, SAMPLE_RATE).samples.split(most) for one in audio]
        # the shortest clip that makes features: what is shorter is followed by silence
        sounds = [[pad(clip, (0, max(0, encoder.min_samples - len(clip)))) for clip in one] for one in sounds]
        places = [sum(-(-encoder.num_frames(len(clip)) // self.speech["stride"]) for clip in one) for one in sounds]
        clips = [clip for sound in sounds for clip in sound]
        lengths = torch.tensor([len(clip) for clip in clips])
        return {"speech_samples": pad_sequence(clips, batch_first=True), "speech_lengths": lengths}, places

    def _refuse_without_ears(self) -> None:
        if self.speech is None:
            raise ValueError(f"found a sound; this model has no speech encoder; accepted: {self._accepted}")

    @property
    def _accepted(self) -> str:
        """What the model takes, in words."""
        has = {"text": True, "pictures": True, "clips": self.max_frames is not None, "sounds": self.speech is not None}
        *others, last = (name for name, is_there in has.items() if is_there)
        return f"{', '.join(others)} and {last}"

    def opened(self, ids: Sequence[int], places: Sequence[int]) -> list[int]:
        """ids with each `<|speech|>` opened up for the embeddings of its sound; see `speech_embeddings`."""
        begin, end, place = self.tokenizer.convert_tokens_to_ids(list(EXTRA_TOKENS[2:]))
        enclosed = self.speech is not None and self.speech["enclosed"]
        return with_places(ids, places, begin, place, end if enclosed else None)

    def _with_media(
        self, ids: list[list[int]], images: Any, audio: Any, videos: Any, padding: bool | str
    ) -> BatchFeature:
        if videos is not None:
            self._refuse_without_clips()
        clips = _in_order(videos, [row.count(self.video_token_id) for row in ids], "clips", VIDEO_TOKEN)
        pictures = _in_order(images, [row.count(self.image_token_id) for row in ids], "pictures", IMAGE_TOKEN)
        if audio is not None:
            self._refuse_without_ears()
        per_row = [row.count(self.speech_token_id) for row in ids]
        sounds = _in_order(audio, per_row, "sounds", SPEECH_TOKEN)
        media = (self.pictures(pictures) if pictures else {}) | (self.clips(clips) if clips else {})
        if sounds:
            spoken, places = self.sounds(sounds)
            media |= spoken
            left = iter(places)
            ids = [self.opened(row, [next(left) for _ in range(n)]) for row, n in zip(ids, per_row, strict=True)]
        padded = self.tokenizer.pad({"input_ids": ids}, padding=padding, return_tensors="pt")
        return BatchFeature({"input_ids": padded["input_ids"], "attention_mask": padded["attention_mask"]} | media)


def processor_of(
    config: MultimodalLlamaConfig, tokenizer: PreTrainedTokenizerBase, pictures: dict | None = None
) -> MultimodalLlamaProcessor:
    """The processor of a model of this configuration; pictures: keywords that it does not tell."""
    vision, speech = config.vision_config, config.speech_config
    sizes = {} if vision is None else dict(tile_px=vision.tile_px, max_tiles=vision.max_tiles)
    if speech is not None:
        sizes["speech"] = dict(encoder=speech.encoder, stride=speech.stride, enclosed=speech.enclosed)
    if config.video_config is not None:
        sizes["max_frames"] = config.video_config.max_frames
        sizes["max_tiles_of_frame"] = config.video_config.max_tiles
    return MultimodalLlamaProcessor(tokenizer, **sizes, **(pictures or {}))


def _in_order(media: Any, per_row: list[int], what: str, token: str) -> list:
    """Media in reading order: one, several, or a list of lists where there are as many of these as texts."""
    flat = as_list(media)
    if flat and len(flat) == len(per_row) and all(_is_list(row) for row in flat):
        if (found := [len(row) for row in flat]) != per_row:
            raise ValueError(f"found {found} {what} a text for {per_row} {token} tokens")
        return [one for row in flat for one in row]
    if len(flat) != sum(per_row):
        raise ValueError(f"found {len(flat)} {what} for {sum(per_row)} {token} tokens in the text")
    return flat


def as_list(media: Any) -> list:
    """None, one of the media, or several, as a list; a sound or frames may be a pair of an array and its rate."""
    if media is None:
        return []
    return list(media) if _is_list(media) else [media]


def _is_list(media: Any) -> bool:
    has_rate = isinstance(media, tuple) and len(media) == 2 and isinstance(media[1], int | float)
    return isinstance(media, list | tuple) and not has_rate


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


def _without_media(conversation: list) -> tuple[list, dict[str, list]]:
    """The conversation with its media taken out, and its pictures, clips and sounds in reading order.

    Texts that stand side by side in a message become one, trimmed as the template trims each: the
    library looks for special tokens in one text at a time and would miss one that two of them spell.
    """
    media = {"image": [], "video": [], "audio": []}

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
            kind = part.get("type")
            if isinstance(kind, str) and kind in media and kind in part:
                media[kind].append(part[kind])
                return {"type": kind}
        raise ValueError(
            f"a message holds the part {part!r:.200}; accepted: {{'type': 'text', 'text': str}}, "
            "{'type': 'image', 'image': picture}, {'type': 'video', 'video': clip}, {'type': 'audio', 'audio': sound}"
        )

    return [plain(message) for message in conversation], media
