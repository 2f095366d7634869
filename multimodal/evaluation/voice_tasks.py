"""A voice measured: what it says is heard by a recogniser, or what it is to say is written out."""

import re
import time
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from ..assistant import Assistant
from ..generation import TextStream
from ..languages import find_language
from ..voice_head import HeadVoice
from .answering import Reply
from .items import Item

_HEARD_HZ = 16_000
_SILENCE_S = 0.3  # before and behind: the recogniser cuts off what begins at once
_DITHER = 1e-3  # it wants no exact zeros


def voice_refusal(assistant: Assistant, task: str) -> str | None:
    """Why an assistant cannot do a task of the voice."""
    if task == "tts-intelligibility" and not assistant.has_voice:
        return f"{task} needs a voice, which this model has not"
    return None


class Judge:
    """Hears what a voice said: English by pocketsphinx with a grammar of the texts, other languages by the model.

    The grammar names the texts of all items as they are, so a figure of English tells whether a text is heard as
    itself among the others. It shows that speech is intelligible and cannot rank good voices.
    """

    def __init__(self, assistant: Assistant, items: Iterable[Item]):
        self._assistant = assistant
        texts = [item.prompt or "" for item in items if item.language == "English"]
        self._decoder = _decoder(texts) if texts else None
        if self._decoder is None and assistant.model.config.speech_config is None:
            raise ValueError("tts-intelligibility in other languages than English needs ears, which this model has not")

    def hear(self, samples: np.ndarray, rate_hz: int, language: str) -> str:
        """samples [T] in -1..1 -> what was heard."""
        if language != "English":
            return self._assistant.transcribe((samples, rate_hz), language=language)
        from speech.audio import open_sound

        sound = open_sound((samples, rate_hz), _HEARD_HZ).samples
        silence = torch.zeros(int(_SILENCE_S * _HEARD_HZ))
        sound = torch.cat([silence, sound, silence])
        noise = torch.randn(len(sound), generator=torch.Generator().manual_seed(0))
        pcm = ((sound + _DITHER * noise).clamp(-1, 1) * 32767).to(torch.int16).numpy().tobytes()
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return found.hypstr if found else ""


def _decoder(texts: Sequence[str]):
    """pocketsphinx with a grammar of these texts. Raises ValueError for a word that its dictionary lacks."""
    try:
        from pocketsphinx import Decoder
    except ImportError:
        raise ValueError(
            "tts-intelligibility in English needs pocketsphinx; it comes with: pip install pocketsphinx"
        ) from None
    decoder = Decoder(lm=None, samprate=_HEARD_HZ, loglevel="FATAL")
    phrases = [_words(text) for text in texts]
    if unknown := sorted({word for phrase in phrases for word in phrase if not decoder.lookup_word(word)}):
        raise ValueError(
            f"tts-intelligibility: the recogniser's dictionary lacks {', '.join(unknown[:5])}; accepted: English texts "
            "with every number written out"
        )
    choices = " | ".join(dict.fromkeys(" ".join(phrase) for phrase in phrases if phrase))
    decoder.add_jsgf_string("texts", f"#JSGF V1.0;\ngrammar texts;\npublic <text> = {choices};\n")
    decoder.activate_search("texts")
    return decoder


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower().replace("’", "'"))


def say_and_hear(assistant: Assistant, batch: Sequence[Item], judge: Judge) -> list[Reply]:
    """Each text said, one after the other as a user hears it, and what was heard of it."""
    replies = []
    for item in batch:
        started, first_s, pieces = time.perf_counter(), None, []
        for [piece] in assistant.speak_pieces([item.prompt], language=item.language):
            if piece is not None:
                first_s = first_s or time.perf_counter() - started
                pieces.append(piece.samples)
        samples, rate = np.concatenate(pieces), assistant.voice.sample_rate
        text = judge.hear(samples, rate, item.language)
        replies.append(Reply(text, first_audio_s=first_s, made_audio_s=len(samples) / rate))
    return replies


def write_out(assistant: Assistant, batch: Sequence[Item]) -> list[Reply]:
    """The spoken form of each written one, as the voice's front end gives it: its tagger's, or by rules alone."""
    from tts.rules import spoken_form

    voice = assistant.voice if assistant.has_voice else None
    if isinstance(voice, HeadVoice) and voice.head.normalizer is not None:
        return [Reply(_as_tagged(assistant, voice, item)) for item in batch]
    return [Reply(spoken_form(item.prompt, find_language(item.language).code)) for item in batch]


@torch.no_grad()
def _as_tagged(assistant: Assistant, voice: HeadVoice, item: Item) -> str:
    """A text through the tagger, token by token with the core's states, as when it is said."""
    tokenizer, tagger = assistant.processor.tokenizer, voice.head.normalizer
    tokens = tokenizer(item.prompt, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    ids = torch.tensor([tokens], device=assistant.model.device)
    states = voice.states.start().push(ids).float()[0] if tagger.core_dim else [None] * len(tokens)
    stream, text = tagger.start(find_language(item.language).code), TextStream(tokenizer)
    pieces = [stream.push(text.push(token), state) for token, state in zip(tokens, states, strict=True)]
    return "".join([*pieces, stream.flush()])
