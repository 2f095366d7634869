"""A voice of the hub: any text-to-audio model of the library, clause by clause.

These models want a whole text and give its whole sound, so the first sound comes with the end of the first
clause. VITS (MMS and the like), SpeechT5, Bark and what else `AutoModelForTextToWaveform` and
`AutoModelForTextToSpectrogram` know are run by the library's own pipeline.
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForTextToSpectrogram,
    AutoModelForTextToWaveform,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    SpeechT5HifiGan,
    TextToAudioPipeline,
)

from .checkpoint import files_of
from .voice import BESIDE, CONFIG, Speaking

LONGEST_CLAUSE = 240  # characters; about 15 s of speech, what these models were trained on (our choice)
VOCODER = "vocoder"  # the folder in which that of a model of spectrograms is looked for
DEFAULT_VOCODER = "microsoft/speecht5_hifigan"  # where there is none, as in the library's pipeline
# A sign that ends a clause counts where a blank follows, so that 3.5 and 10:30 stay whole; in scripts without
# blanks it counts at once.
_ENDS = re.compile(r"[.!?…:;,]+[\"'”’)\]]*(?=\s)|[。！？；：，、।؟،؛۔]+|\n")


class HubVoice:
    """A text-to-audio model of the library. It has one language, its own, whatever `Speaking.language` says.

    speaker: where the model was trained with several, "0", "1" ...; for SpeechT5 the path of a safetensors
    file with one vector, by default zeros, as in the library's example. rate: VITS only. pitch: none.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin,
        vocoder: SpeechT5HifiGan | None = None,
        hub_id: str | None = None,
    ):
        """vocoder: of a model of spectrograms; hub_id: by which the voice may be named instead of kept."""
        self.hub_id, self.model, self.processor = hub_id, model.eval(), tokenizer
        self.kind = model.config.model_type
        is_tokenizer = isinstance(tokenizer, PreTrainedTokenizerBase)
        self.tokenizer = tokenizer if is_tokenizer else tokenizer.tokenizer
        parts = dict(tokenizer=self.tokenizer, processor=None if is_tokenizer else tokenizer, vocoder=vocoder)
        self._pipeline = TextToAudioPipeline(model=model, device=model.device, **parts)
        self.sample_rate = int(self._pipeline.sampling_rate)
        self.speakers = tuple(str(one) for one in range(getattr(model.config, "num_speakers", 1)))

    @classmethod
    def load(cls, folder: Path, name: str, device: torch.device) -> "HubVoice":
        """The model in a folder, of safetensors files only. Raises ValueError if there is none that speaks."""
        files_of(folder)
        local = dict(local_files_only=True, trust_remote_code=False)
        try:
            config = AutoConfig.from_pretrained(folder, **local)
            autos = (AutoModelForTextToWaveform, AutoModelForTextToSpectrogram)
            auto = next((one for one in autos if type(config) in one._model_mapping), None)
            if auto is None:
                raise ValueError(f"found a {config.model_type}, which is no text-to-audio model")
            model = auto.from_pretrained(folder, use_safetensors=True, dtype=torch.float32, **local)
            vocoder = _vocoder(folder).to(device) if auto is AutoModelForTextToSpectrogram else None
            hub_id = None if Path(name).is_dir() or name == BESIDE else name
            return cls(model.to(device), _processor(folder, **local), vocoder, hub_id)
        except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"{name}: no voice could be loaded ({reason})") from error

    def start(self, how: Speaking, rows: int = 1) -> "_Clauses":
        """Raises ValueError for a speaker, a rate or a pitch that this model has not."""
        if how.pitch != 1:
            raise ValueError(f"pitch is {how.pitch}; this voice ({self.kind}) has one pitch: accepted is 1.0")
        forward = self._speaker(how.speaker)
        if self.kind == "vits":
            forward["speaking_rate"] = self.model.config.speaking_rate * how.rate
        elif how.rate != 1:
            raise ValueError(f"rate is {how.rate}; this voice ({self.kind}) has one rate: accepted is 1.0")
        return _Clauses(self, rows, forward)

    def _speaker(self, speaker: str | None) -> dict:
        """What tells the model who speaks."""
        if self.kind == "speecht5":
            return {"speaker_embeddings": _speaker_vector(speaker, self.model.config.speaker_embedding_dim)}
        if speaker is None:
            return {"speaker_id": 0} if len(self.speakers) > 1 else {}
        if speaker not in self.speakers or len(self.speakers) == 1:
            have = ", ".join(self.speakers) if len(self.speakers) > 1 else "none: it has one speaker"
            raise ValueError(f"found speaker {speaker!r}; accepted by this voice: {have}")
        return {"speaker_id": int(speaker)}

    def say(self, clause: str, forward: dict) -> Tensor:
        """A clause -> samples [n]; none for what the model's tokenizer has no signs for."""
        if not any(sign.isalnum() for sign in clause):
            return torch.zeros(0)
        if self.tokenizer(clause)["input_ids"] == self.tokenizer("")["input_ids"]:
            return torch.zeros(0)
        cuda = [self.model.device] if self.model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):  # what the voice draws changes nothing of what is written
            sound = self._pipeline(clause, forward_params=dict(forward))["audio"]
        return torch.from_numpy(sound).reshape(-1)

    def save(self, folder: Path, by_name: bool = False) -> None:
        """Beside a model in a folder of its own; by_name: a model of the hub is only named."""
        named = self.hub_id if by_name else None
        if named is None:
            self.model.save_pretrained(folder / BESIDE)
            self.processor.save_pretrained(folder / BESIDE)
            if self._pipeline.vocoder is not None:
                self._pipeline.vocoder.save_pretrained(folder / BESIDE / VOCODER)
        (folder / CONFIG).write_text(json.dumps({"hub_voice": named or BESIDE}) + "\n", "utf-8")


def _processor(folder: Path, **local) -> PreTrainedTokenizerBase | ProcessorMixin:
    try:
        return AutoProcessor.from_pretrained(folder, **local)
    except (ValueError, OSError):  # a folder with a tokenizer and nothing else
        return AutoTokenizer.from_pretrained(folder, **local)


def _vocoder(folder: Path) -> SpeechT5HifiGan:
    beside = folder / VOCODER
    if beside.is_dir():
        files_of(beside)
        return SpeechT5HifiGan.from_pretrained(beside, use_safetensors=True, local_files_only=True)
    return SpeechT5HifiGan.from_pretrained(DEFAULT_VOCODER, use_safetensors=True)


def _speaker_vector(speaker: str | None, dim: int) -> Tensor:
    if speaker is None:
        return torch.zeros(1, dim)
    try:
        [vector] = load_file(speaker).values()
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"speaker {speaker}: accepted is a safetensors file with one vector ({reason})") from error
    if vector.numel() != dim:
        raise ValueError(f"speaker {speaker}: found {vector.numel()} numbers; this voice takes {dim}")
    return vector.reshape(1, dim).float()


class _Clauses:
    """Rows of text, each said when a clause of it is whole."""

    def __init__(self, voice: HubVoice, rows: int, forward: dict):
        self._voice, self._forward = voice, forward
        self._waiting = [""] * rows

    def expect(self, tokens: Sequence[Sequence[int]]) -> None:
        """Nothing here hangs on tokens."""

    def push(self, texts: Sequence[str], tokens: Sequence[int]) -> list[Tensor]:
        """Samples of the clauses that these texts end."""
        sounds = []
        for row, text in enumerate(texts):
            clauses, self._waiting[row] = cut(self._waiting[row] + text)
            sounds.append(self._said(clauses))
        return sounds

    def flush(self) -> list[Tensor]:
        """Samples of what was waiting for its end."""
        rows, self._waiting = self._waiting, [""] * len(self._waiting)
        return [self._said([row]) for row in rows]

    def _said(self, clauses: list[str]) -> Tensor:
        return torch.cat([torch.zeros(0), *(self._voice.say(_speakable(clause), self._forward) for clause in clauses)])


def cut(text: str) -> tuple[list[str], str]:
    """The whole clauses of a text, and what is not one yet; a very long one is cut at a blank, or where it must."""
    clauses, at = [], 0
    for end in _ENDS.finditer(text):
        clauses += _short(text[at : end.end()])
        at = end.end()
    *more, rest = _short(text[at:]) or [""]
    return [*clauses, *more], rest


def _short(text: str) -> list[str]:
    pieces = []
    while len(text) > LONGEST_CLAUSE:
        at = text.rfind(" ", LONGEST_CLAUSE // 2, LONGEST_CLAUSE) + 1 or LONGEST_CLAUSE
        pieces.append(text[:at])
        text = text[at:]
    return [*pieces, text] if text else pieces


def _speakable(text: str) -> str:
    """Control characters are blanks."""
    return " ".join("".join(" " if unicodedata.category(sign) in ("Cc", "Cs") else sign for sign in text).split())
