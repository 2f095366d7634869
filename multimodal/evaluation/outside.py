"""Models from outside, measured by the same ruler: whatever answers a batch of items with a text for each.

Whisper transcribes and translates into English; SeamlessM4T v2 also from English. Both through transformers, from a
folder or a hub id, greedily, in float32 on the CPU unless told otherwise.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoProcessor, SeamlessM4Tv2ForSpeechToText, WhisperForConditionalGeneration

from multimodal.languages import find_language
from speech.audio import open_sound

from .items import Item

_RATE_HZ = 16_000
# SeamlessM4T's codes are ISO 639-3, and it has the macro-language where there is one dialect that counts.
_SEAMLESS_CODES = dict(
    pair.split("=")
    for pair in """ar=arb bn=ben zh=cmn cs=ces nl=nld en=eng fi=fin fr=fra de=deu el=ell gu=guj hi=hin hu=hun id=ind
    it=ita ja=jpn kn=kan ko=kor ml=mal mr=mar fa=pes pl=pol pt=por ro=ron ru=rus es=spa sw=swh sv=swe ta=tam te=tel
    th=tha tr=tur ur=urd vi=vie""".split()
)


class _Listener(ABC):
    """A model that hears sounds of any length that it was made for and writes texts; see `answering.Answers`."""

    tasks: tuple[str, ...]

    def __init__(self, name: str | Path, model: Any, device: str):
        self.name = str(name)
        self.processor = AutoProcessor.from_pretrained(name)
        self.model = model.to(device).eval()

    def refusal(self, task: str) -> str | None:
        """Why it cannot do a task."""
        return None if task in self.tasks else f"{self.name} does not do {task}; it does {', '.join(self.tasks)}"

    def load(self, item: Item) -> Tensor:
        """The sound of an item: [T] at 16 kHz."""
        if item.audio is None:
            raise ValueError(f"item {item.id} has no sound for {self.name} to hear")
        return open_sound(item.audio, _RATE_HZ).samples

    def answer(self, batch: Sequence[Item], loaded: Sequence[Tensor] | None = None) -> list[str]:
        """A text for each item, in order."""
        for item in batch:
            if refused := self.refusal(item.task):
                raise ValueError(refused)
        sounds = [self.load(item) for item in batch] if loaded is None else loaded
        rows: defaultdict[Any, list[int]] = defaultdict(list)
        for row, item in enumerate(batch):
            rows[self._group(item, len(sounds[row]))].append(row)
        texts = [""] * len(batch)
        for some in rows.values():
            answers = self._write([batch[row] for row in some], [sounds[row].numpy() for row in some])
            for row, text in zip(some, answers, strict=True):
                texts[row] = text.strip()
        return texts

    @abstractmethod
    def _group(self, item: Item, samples: int) -> Any:
        """Items of equal groups are written together."""

    @abstractmethod
    def _write(self, items: list[Item], sounds: list[Any]) -> list[str]: ...


class WhisperAnswers(_Listener):
    """Whisper, of any size and version: transcribes, also where the language changes, and translates into English.

    A sound of more than 30 s is read window by window, as its own generation does. ValueError for a task or a
    language that it was not made for.
    """

    tasks = ("asr", "code-switch", "ast-into-english")

    def __init__(self, name: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32):
        super().__init__(name, WhisperForConditionalGeneration.from_pretrained(name, dtype=dtype), device)
        if not getattr(self.model.generation_config, "is_multilingual", False):
            self.tasks = ("asr",)

    def _group(self, item: Item, samples: int) -> tuple[str, bool]:
        return find_language(item.language).code, samples > 30 * _RATE_HZ

    @torch.inference_mode()
    def _write(self, items: list[Item], sounds: list[Any]) -> list[str]:
        code, is_long = self._group(items[0], len(sounds[0]))
        options = dict(truncation=False, padding="longest") if is_long else {}
        inputs = self.processor(
            sounds, sampling_rate=_RATE_HZ, return_tensors="pt", return_attention_mask=True, **options
        ).to(self.model.device, self.model.dtype)
        ids = self.model.generate(
            inputs.input_features,
            attention_mask=inputs.attention_mask,
            do_sample=False,
            num_beams=1,
            return_timestamps=is_long,
            **self._asked(items[0], code),
        )
        return self.processor.batch_decode(ids, skip_special_tokens=True)

    def _asked(self, item: Item, code: str) -> dict[str, str]:
        """Task and language, which a model that knows English alone does not take."""
        known = [token[2:-2] for token in getattr(self.model.generation_config, "lang_to_id", {"<|en|>": 0})]
        if code not in known:
            raise ValueError(f"{self.name} has no {item.language}; it has {', '.join(known)}")
        if len(self.tasks) == 1:
            return {}
        return {"language": code, "task": "translate" if item.task == "ast-into-english" else "transcribe"}


class SeamlessAnswers(_Listener):
    """SeamlessM4T v2, speech to text: transcribes and translates, both ways. A sound is read in one piece."""

    tasks = ("asr", "code-switch", "ast-into-english", "ast-from-english")

    def __init__(self, name: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32):
        super().__init__(name, SeamlessM4Tv2ForSpeechToText.from_pretrained(name, dtype=dtype), device)

    def _group(self, item: Item, samples: int) -> str:
        """The code of the language to write: that of the item but for a translation into English."""
        return _SEAMLESS_CODES["en" if item.task == "ast-into-english" else find_language(item.language).code]

    @torch.inference_mode()
    def _write(self, items: list[Item], sounds: list[Any]) -> list[str]:
        inputs = self.processor(audio=sounds, sampling_rate=_RATE_HZ, return_tensors="pt")
        ids = self.model.generate(
            inputs["input_features"].to(self.model.device, self.model.dtype),
            attention_mask=inputs["attention_mask"].to(self.model.device),
            tgt_lang=self._group(items[0], len(sounds[0])),
            do_sample=False,
            num_beams=1,
        )
        return self.processor.batch_decode(ids, skip_special_tokens=True)
