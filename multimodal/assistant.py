"""What a user talks to: ask about pictures and clips, stream the answer, keep a conversation."""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import PreTrainedConfig

from .checkpoint import NANO
from .generation import Context, Sampling, TextStream, is_end, stream_tokens
from .model import MultimodalLlama
from .processor import MultimodalLlamaProcessor, as_list, checked_text
from .transcription import transcribe
from .voice import LateVoice, Speaking, Speech, Spoken, Voice, say

_OF_SPEAKING = {field.name for field in fields(Speaking)}


@dataclass(frozen=True)
class Answer:
    """A whole answer and what it took. Times are seconds of wall clock, from the call on.

    `speech`, and when its first sound was there (None if there is none): where it was to be spoken.
    """

    text: str
    prompt_tokens: int
    new_tokens: int
    time_to_first_token_s: float
    total_s: float
    speech: Speech | None = None
    time_to_first_audio_s: float | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Event:
    """A piece of an answer while it is being written: text or sound; the last one carries the `answer` alone."""

    text: str = ""
    audio: Speech | None = None
    answer: Answer | None = None


def load(
    name: str | Path = "nano",
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    voice: Voice | str | Path | None = None,
) -> "Assistant":
    """The assistant of a composed model: "nano", which ships inside, a folder, or a hub id.

    A Llama 3.2 Vision, as the hub or Meta released it, or a Llama 3 is composed as it is read; see
    `compose`. device: by default the GPU if there is one; dtype: by default bfloat16 on a GPU, else
    float32. voice: another than the model's own; see `Assistant`. Only a hub id reaches the network.

    Raises ValueError if there is no such model or voice, or if it is damaged.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)
    source = NANO if str(name) == "nano" else Path(name)
    is_local = str(name) == "nano" or source.exists()
    if _is_published(source if is_local else str(name), is_local):
        from .compose import compose_published  # which needs the assistant

        return compose_published(name, device=device, dtype=dtype, voice=voice, local_files_only=is_local)
    if is_local and not (source / "config.json").is_file():
        raise ValueError(f"{name}: found no config.json there; accepted: 'nano', a folder of save_pretrained, a hub id")
    where = str(source) if is_local else str(name)
    try:
        model = MultimodalLlama.from_pretrained(where, dtype=dtype, local_files_only=is_local)
        processor = MultimodalLlamaProcessor.from_pretrained(where, local_files_only=is_local)
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{name}: no model could be loaded ({reason}); accepted: 'nano', a folder, a hub id"
        ) from error
    return Assistant(model.to(device).eval(), processor, voice, own_voice=source if is_local else str(name))


def _is_published(where: str | Path, is_local: bool) -> bool:
    """Whether a model is of others' making, to be composed as it is read."""
    if is_local and (Path(where) / "params.json").is_file():
        return True
    try:
        config, _ = PreTrainedConfig.get_config_dict(where, local_files_only=is_local)
    except OSError:
        return False  # the library's loader tells what is missing
    return config.get("model_type") in ("llama", "mllama")


class Assistant:
    """A composed model and its processor, which are ordinary objects of the library: `model`, `processor`.

    voice: the folder or hub id of a voice, "nano" for that of nano, or a `Voice`; own_voice: the folder or hub id
    of the model itself, whose voice it has if none is given. It is opened when it first speaks.

    Raises ValueError if there is no such voice.
    """

    def __init__(
        self,
        model: MultimodalLlama,
        processor: MultimodalLlamaProcessor,
        voice: Voice | str | Path | None = None,
        *,
        own_voice: str | Path | None = None,
        **hub,
    ):
        self.model, self.processor = model, processor
        self._voice = LateVoice(model, processor, voice, own_voice, **hub)

    @property
    def voice(self) -> Voice:
        """The voice; ValueError if there is none."""
        return self._voice()

    @property
    def has_voice(self) -> bool:
        """Whether it can speak; nothing is opened."""
        return self._voice.there

    def ask(
        self,
        question: str | None = None,
        *,
        image: Any = None,
        audio: Any = None,
        video: Any = None,
        start_s: float | None = None,
        end_s: float | None = None,
        sound: bool = False,
        system: str | None = None,
        speak: bool = False,
        **how,
    ) -> Answer:
        """One question, written or spoken, one answer, nothing remembered.

        image: a picture or a list of them, each a path, bytes, a PIL image, an array or a tensor. audio: a
        sound or a list of them, each a path, bytes or (array, rate). video: a clip or a list of them, each
        a path, bytes, frames or (frames, rate); start_s and end_s take a part of each, and sound lets the
        model hear their own sound tracks as speech. system: a system prompt. speak: say the
        answer, too. The rest are fields of `generation.Sampling`: max_new_tokens, temperature, top_p; and with
        speak of `voice.Speaking`: language, speaker, rate, pitch.

        Raises MediaError for a file that cannot be used, ValueError for a question that cannot.
        """
        media = dict(image=image, audio=audio, video=video, start_s=start_s, end_s=end_s, sound=sound)
        return self.chat(system).ask(question, **media, speak=speak, **how)

    def stream(
        self,
        question: str | None = None,
        *,
        image: Any = None,
        audio: Any = None,
        video: Any = None,
        start_s: float | None = None,
        end_s: float | None = None,
        sound: bool = False,
        system: str | None = None,
        speak: bool = False,
        **how,
    ) -> Iterator[Event]:
        """As `ask`, but an iterator of `Event`s as they come."""
        media = dict(image=image, audio=audio, video=video, start_s=start_s, end_s=end_s, sound=sound)
        return self.chat(system).stream(question, **media, speak=speak, **how)

    def chat(self, system: str | None = None) -> "Chat":
        """A conversation that remembers its turns; a picture, a clip or a sound is encoded once, not once a turn."""
        return Chat(self.model, self.processor, system, self._voice)

    def transcribe(self, audio: Any, *, language: str = "English") -> str:
        """What is said in a sound of any length, as text.

        audio: a path, bytes or (array, rate); language: the name or code of one of the 34, that of the text
        wanted. A long sound is cut at pauses and transcribed piece by piece. Source: paper 8.3 (the prompt).

        Raises MediaError for a sound that cannot be used, ValueError for an unknown language.
        """
        [segments] = transcribe(self.model, self.processor, [audio], language)
        return " ".join(segment.text for segment in segments)

    def translate(self, audio: Any, *, into: str = "English") -> str:
        """What is said in a sound of any length, in another language; arguments as in `transcribe`."""
        [segments] = transcribe(self.model, self.processor, [audio], into, translate=True)
        return " ".join(segment.text for segment in segments)

    def speak(
        self,
        text: str | list[str],
        language: str = "English",
        speaker: str | None = None,
        rate: float = 1.0,
        pitch: float = 1.0,
    ) -> Speech | list[Speech]:
        """A text as sound; several are said side by side. The rest as in `voice.Speaking`.

        Raises ValueError for a text of which nothing can be said, for what this voice cannot do, and where there is
        no voice.
        """
        texts = [text] if isinstance(text, str) else list(text)
        pieces: list[list[np.ndarray]] = [[] for _ in texts]
        for event in self.speak_pieces(texts, language, speaker, rate, pitch):
            for mine, piece in zip(pieces, event, strict=True):
                mine += [] if piece is None else [piece.samples]
        speech = [Speech(np.concatenate(mine), self.voice.sample_rate) for mine in pieces]
        return speech[0] if isinstance(text, str) else speech

    def speak_pieces(
        self,
        texts: list[str],
        language: str = "English",
        speaker: str | None = None,
        rate: float = 1.0,
        pitch: float = 1.0,
    ) -> Iterator[list[Speech | None]]:
        """As `speak`, but as it comes: for each text a piece of sound, or None."""
        how = Speaking(language, speaker, rate, pitch)
        texts = [_checked(text, "text to say") for text in texts]
        if not texts:
            raise ValueError("found no text to say")
        return say(self.voice, self.processor, texts, how)

    def save_pretrained(self, folder: str | Path, adapters_only: bool = False) -> None:
        """Model, processor and voice, as a folder that `load` opens.

        adapters_only: what others made is only named, as `MultimodalLlama.save_pretrained` says, a voice of the hub
        too.
        """
        self.model.save_pretrained(folder, adapters_only=adapters_only)
        self.processor.save_pretrained(folder)
        if self.has_voice:
            self.voice.save(Path(folder), by_name=adapters_only)


class Chat:
    """A conversation: `messages` is its history in the library's format, media left out."""

    def __init__(
        self,
        model: MultimodalLlama,
        processor: MultimodalLlamaProcessor,
        system: str | None = None,
        voice: LateVoice | None = None,
    ):
        self.model, self.processor = model, processor
        self._voice = voice or LateVoice(model, processor)
        self.messages: list[dict] = []
        if system is not None:
            self.messages.append({"role": "system", "content": _checked(system, "system prompt")})
        self._context = Context.empty(model)
        self._answering: Generator | None = None

    def ask(self, question: str | None = None, **media_and_how) -> Answer:
        """The answer to the next turn; arguments as in `Assistant.ask`."""
        *_, last = self.stream(question, **media_and_how)
        return last.answer

    def stream(
        self,
        question: str | None = None,
        *,
        image: Any = None,
        audio: Any = None,
        video: Any = None,
        start_s: float | None = None,
        end_s: float | None = None,
        sound: bool = False,
        speak: bool = False,
        **how,
    ) -> Iterator[Event]:
        """The next turn's answer as it comes; arguments as in `Assistant.ask`.

        A reader who stops early leaves the part he read in the history, and so does one who asks on.
        A turn of which the model read nothing, as one that is too long, leaves the conversation as it was.
        """
        started, of_voice = time.perf_counter(), {name: how.pop(name) for name in _OF_SPEAKING & how.keys()}
        sampling, speaking = Sampling(**how), Speaking(**of_voice)
        if of_voice and not speak:
            raise ValueError(f"found {', '.join(sorted(of_voice))} without speak=True; they are of the voice")
        images, clips, sounds = as_list(image), as_list(video), as_list(audio)
        part = dict(start_s=start_s, end_s=end_s)
        if not clips and (sound or part != dict(start_s=None, end_s=None)):
            raise ValueError("found start_s, end_s or sound without a clip; they are of a clip, which video= takes")
        of_clip = [{"type": "video"}, {"type": "audio"}] if sound else [{"type": "video"}]
        content = [{"type": "image"} for _ in images] + [dict(one) for _ in clips for one in of_clip]
        content += [{"type": "audio"} for _ in sounds]
        if question is not None:
            content.append({"type": "text", "text": _checked(question, "question")})
        if not content:
            raise ValueError("found no question, picture, clip or sound; at least one of them is needed")
        media = self.processor.pictures(images) if images else {}
        media |= self.processor.clips(clips, **part) if clips else {}
        sounds = [*(self.processor.sound_track(clip, **part) for clip in clips if sound), *sounds]
        spoken, places = self.processor.sounds(sounds) if sounds else ({}, [])
        if self._answering is not None:
            self._answering.close()
        spoken_answer = Spoken(self._voice(), speaking) if speak else None
        self._answering = self._turn(content, media | spoken, places, sampling, spoken_answer, started)
        return self._answering

    def _turn(
        self,
        content: list[dict],
        media: dict,
        places: list[int],
        sampling: Sampling,
        spoken: Spoken | None,
        started: float,
    ) -> Generator[Event]:
        before = self._ids(self.messages) if self.messages and self.messages[-1]["role"] == "assistant" else []
        asked = [*self.messages, {"role": "user", "content": content}]
        turn = self.processor.opened(self._ids(asked, add_generation_prompt=True)[len(before) :], places)
        context, unread = self._context, self._context.unread
        context.unread = [*_end_of_answer(unread, before), *turn]
        prompt_tokens, new_tokens, first_s = context.cache.get_seq_length() + len(context.unread), 0, 0.0
        heard_s: float | None = None
        written = TextStream(self.processor.tokenizer)
        try:
            for token in stream_tokens(self.model, context, sampling, media):
                new_tokens += 1
                first_s = first_s or time.perf_counter() - started
                if text := written.push(token):
                    yield Event(text)
                if spoken and (text or not is_end(self.model, token)) and (piece := spoken.push(text, token)):
                    heard_s = heard_s or time.perf_counter() - started
                    yield Event(audio=piece)
            if text := written.close():
                yield Event(text)
            if spoken and (piece := spoken.flush()):
                heard_s = heard_s or time.perf_counter() - started
                yield Event(audio=piece)
        finally:
            if new_tokens:
                self.messages += [asked[-1], {"role": "assistant", "content": written.text}]
            else:
                context.unread = unread
        speech, total_s = spoken.whole() if spoken else None, time.perf_counter() - started
        yield Event(answer=Answer(written.text, prompt_tokens, new_tokens, first_s, total_s, speech, heard_s))

    def _ids(self, messages: list[dict], **kwargs) -> list[int]:
        return self.processor.tokenizer.apply_chat_template(
            messages,
            chat_template=self.processor.chat_template,
            tokenize=True,
            return_dict=False,
            sanitize_control_tokens=True,
            **kwargs,
        )


def _end_of_answer(unread: list[int], before: list[int]) -> list[int]:
    """What closes the last answer: its unread tokens, and the end of turn that a cut answer lacks.

    `before` is the history up to there as the template writes it, so its last token ends a turn.
    """
    if not before:
        return []
    return unread if unread[-1:] == before[-1:] else [*unread, before[-1]]


def _checked(text: str, what: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"the {what} is {text!r}; accepted: text that is not blank")
    return checked_text(text, what)
