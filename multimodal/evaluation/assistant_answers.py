"""Our own assistant, asked as the paper asks: its prompts, greedy, in batches."""

import re
import time
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import StoppingCriteria, StoppingCriteriaList

from ..assistant import Assistant
from ..transcription import TRANSCRIBE, TRANSLATE
from .answering import Reply
from .items import SPEECH_TASKS, Item
from .voice_tasks import Judge, say_and_hear, voice_refusal, write_out

# Paper 7.7: the two prompts of its picture and clip benchmarks. Nano's own questions are asked as they are.
CHOOSE = "Select the correct answer from the following options: {question}"
ONE_LETTER = "Answer with the correct option letter and nothing else."
SHORT = "Answer the question using a single word or phrase. {question}"
_SHORT_METRICS = ("vqa", "anls", "relaxed")
_PLACE = re.compile(r"<image (\d+)>")  # of a picture in a question, as MMMU writes it
MAX_NEW_TOKENS = 448


class AssistantAnswers:
    """Measures an assistant. `max_new_tokens`: of each answer."""

    def __init__(self, assistant: Assistant, max_new_tokens: int = MAX_NEW_TOKENS):
        self.assistant, self.max_new_tokens = assistant, max_new_tokens
        self._judge: Judge | None = None

    def refusal(self, task: str) -> str | None:
        """Why it cannot do a task."""
        config = self.assistant.model.config
        if task in SPEECH_TASKS and config.speech_config is None:
            return f"{task} needs ears, a speech encoder, which this model has not"
        if task == "image-qa" and config.vision_config is None:
            return f"{task} needs eyes, a picture encoder, which this model has not"
        if task == "video-qa" and config.video_config is None:
            return f"{task} needs a clip encoder, which this model has not"
        return voice_refusal(self.assistant, task)

    def prepare(self, items: Sequence[Item]) -> None:
        """What is needed once for all items of a task: a judge of speech knows all texts that may be said."""
        if items[0].task == "tts-intelligibility":
            self._judge = Judge(self.assistant, items)

    def load(self, item: Item) -> dict[str, Any]:
        """What the model takes of an item's media; no tokenizer runs here, since it is not for several threads."""
        processor = self.assistant.processor
        found: dict[str, Any] = {}
        if item.images:
            found |= processor.pictures([part for part in question_parts(item) if isinstance(part, Path)])
        if item.video is not None:
            found |= processor.clips([item.video], item.extra.get("start_s"), item.extra.get("end_s"))
        if item.audio is not None:
            spoken, found["places"] = processor.sounds([item.audio])
            found |= spoken
        return found

    @torch.no_grad()
    def answer(self, batch: Sequence[Item], loaded: Sequence[dict[str, Any]]) -> list[Reply]:
        """A greedy answer to each item, all in one batch."""
        if batch[0].task == "tts-intelligibility":
            return say_and_hear(self.assistant, batch, self._judge)
        if batch[0].task == "text-normalization":
            return write_out(self.assistant, batch)
        started = time.perf_counter()
        model, tokenizer = self.assistant.model, self.assistant.processor.tokenizer
        rows = [self._ids(item, media.get("places", [])) for item, media in zip(batch, loaded, strict=True)]
        padded = tokenizer.pad({"input_ids": rows}, padding=True, return_tensors="pt")
        inputs = {"input_ids": padded["input_ids"], "attention_mask": padded["attention_mask"]} | together(loaded)
        inputs = {name: value.to(model.device) for name, value in inputs.items()}
        first = _FirstToken()
        criteria = StoppingCriteriaList([first])
        written = model.generate(
            **inputs, max_new_tokens=self.max_new_tokens, do_sample=False, stopping_criteria=criteria
        )
        texts = tokenizer.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [Reply(text.strip(), first_token_s=first.at - started) for text in texts]

    def _ids(self, item: Item, places: list[int]) -> list[int]:
        processor = self.assistant.processor
        ids = processor.tokenizer.apply_chat_template(
            conversation(item),
            chat_template=processor.chat_template,
            tokenize=True,
            return_dict=False,
            sanitize_control_tokens=True,
            add_generation_prompt=True,
        )
        return processor.opened(ids, places)


def conversation(item: Item) -> list[dict[str, Any]]:
    """The messages that ask an item: for speech tasks the paper's system prompt and the sound (8.3)."""
    media = [{"type": kind} for kind in ("video", "audio") if getattr(item, kind) is not None]
    if item.task in ("asr", "code-switch"):
        system = TRANSCRIBE.format(language=item.language)
    elif item.task in ("ast-into-english", "ast-from-english"):
        system = TRANSLATE.format(language="English" if item.task == "ast-into-english" else item.language)
    else:
        parts = question_parts(item)
        shown = len(list(takewhile(lambda part: isinstance(part, Path), parts)))  # before anything is said
        content = [{"type": "image"} if isinstance(one, Path) else {"type": "text", "text": one} for one in parts]
        return [{"role": "user", "content": content[:shown] + media + content[shown:]}]
    return [{"role": "system", "content": system}, {"role": "user", "content": media}]


def question_of(item: Item) -> str:
    """The question in the words of the paper's prompt for its data set's metric."""
    metric = item.extra.get("metric", "exact")
    if metric == "choice":
        options = "\n".join(f"{chr(65 + at)}. {option}" for at, option in enumerate(item.extra["options"]))
        return f"{CHOOSE.format(question=item.prompt)}\n{options}\n{ONE_LETTER}"
    return SHORT.format(question=item.prompt) if metric in _SHORT_METRICS else item.prompt


def question_parts(item: Item) -> list[Path | str]:
    """Texts and pictures of a question in reading order: a picture stands where the text first names its place.

    Pictures without a place come before it.
    """
    text, images = question_of(item) if item.prompt else "", item.images
    parts: list[Path | str] = []
    placed, begin = set(), 0
    for found in _PLACE.finditer(text):
        at = int(found[1]) - 1
        if at in range(len(images)) and at not in placed:
            parts += [text[begin : found.start()], images[at]]
            placed.add(at)
            begin = found.end()
    parts = [*(image for at, image in enumerate(images) if at not in placed), *parts, text[begin:]]
    return [part for part in parts if isinstance(part, Path) or part.strip()]


def together(loaded: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """The media of several items as one batch, in their order: clips of sound padded, everything else end to end."""
    found: dict[str, Tensor] = {}
    for name in dict.fromkeys(name for one in loaded for name in one if name != "places"):
        parts = [one[name] for one in loaded if name in one]
        if name == "speech_samples":
            found[name] = pad_sequence([clip for part in parts for clip in part], batch_first=True)
        else:
            found[name] = torch.cat(parts)
    return found


class _FirstToken(StoppingCriteria):
    """Never stops; remembers when it was asked first, which is after the first token."""

    at: float | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        if self.at is None:
            self.at = time.perf_counter()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
