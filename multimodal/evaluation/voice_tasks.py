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
# Names of nano's world that the recogniser's dictionary lacks, in its phones.
_PRONOUNCED = {
    "abuja": "AH B UW JH AH",
    "czechia": "CH EH K IY AH",
    "gujarati": "G UW JH AH R AA T IY",
    "kannada": "K AA N AH D AH",
    "kyiv": "K IY IH V",
    "malayalam": "M AA L AH Y AA L AH M",
    "rabat": "R AH B AA T",
}


def voice_refusal(assistant: Assistant, task: str) -> str | None:
    """Why an assistant cannot do a task of the voice."""
    if task == "tts-intelligibility" and not assistant.has_voice:
        return f"{task} needs a voice, which this model has not"
    return None


class Judge:
    """Hears what a voice said: English by pocketsphinx with a grammar of the texts, other languages by the model.

    The grammar has the texts of all items, numbers written out, so a figure of English tells whether a text is heard
    as itself among the others. It shows that speech is intelligible and cannot rank good voices.
    """

    def __init__(self, assistant: Assistant, items: Iterable[Item]):
        self._assistant = assistant
        texts = [item.prompt or "" for item in items if item.language == "English"]
        self._texts = {_phrase(text): text for text in texts}
        self._decoder = _decoder(self._texts) if texts else None
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
        self._decoder.reinit_feat()  # forgets the noise of what it heard before, which would change its scores
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        heard = re.sub(r"\(\d+\)", "", found.hypstr) if found else ""  # which of two pronunciations does not matter
        return self._texts.get(heard, heard)


def _decoder(phrases: Iterable[str]):
    """pocketsphinx with a grammar of these phrases. Raises ValueError for a word that its dictionary lacks."""
    try:
        from pocketsphinx import Decoder
    except ImportError:
        raise ValueError(
            "tts-intelligibility in English needs pocketsphinx; it comes with: pip install pocketsphinx"
        ) from None
    decoder = Decoder(lm=None, samprate=_HEARD_HZ, loglevel="FATAL")
    for word, phones in _PRONOUNCED.items():
        decoder.add_word(word, phones)
    if unknown := sorted({word for one in phrases for word in one.split() if not decoder.lookup_word(word)}):
        raise ValueError(
            f"tts-intelligibility: the recogniser's dictionary lacks {', '.join(unknown[:5])}; accepted: texts of the "
            "words in its dictionary of English"
        )
    choices = " | ".join(phrase for phrase in phrases if phrase)
    decoder.add_jsgf_string("texts", f"#JSGF V1.0;\ngrammar texts;\npublic <text> = {choices};\n")
    decoder.activate_search("texts")
    return decoder


def _phrase(text: str) -> str:
    """A text as the recogniser's dictionary spells it: small letters, numbers as words, no signs."""
    from tts.rules import spoken_form

    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*", spoken_form(text, "en").lower().replace("’", "'")))


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
    from tts.spoken_text import joined

    tokenizer, tagger = assistant.processor.tokenizer, voice.head.normalizer
    tokens = tokenizer(item.prompt, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    ids = torch.tensor([tokens], device=assistant.model.device)
    states = voice.states.start().push(ids).float()[0] if tagger.core_dim else [None] * len(tokens)
    stream, text = tagger.start(find_language(item.language).code), TextStream(tokenizer)
    pieces = [
        piece for token, state in zip(tokens, states, strict=True) for piece in stream.push(text.push(token), state)
    ]
    return joined(pieces + stream.flush())
