"""A voice: how an assistant says what it writes, the same face whoever made the voice.

`HeadVoice` (`voice_head.py`) is our streaming head on the core's states, `HubVoice` (`voice_hub.py`) any
text-to-audio model of the library. Both take text as it is written and give sound as soon as there is some.
"""

import io
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .checkpoint import NANO, files_of
from .generation import TextStream
from .languages import find_language

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from .model import MultimodalLlama
    from .processor import MultimodalLlamaProcessor

DECODED_AT_ONCE = 64  # tokens
CONFIG, WEIGHTS = "voice.json", "voice.safetensors"
BESIDE = "voice"  # the folder beside a model in which a hub voice is kept
RATES = PITCHES = (0.5, 2.0)  # beyond these, speech is hard to follow (our choice)
ACCEPTED = "accepted: 'nano', a folder or hub id of a text-to-audio model, or a folder with a voice of ours"
_HUB_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")


@dataclass(frozen=True)
class Speaking:
    """How a text is said: its language (a name or code of the 34), who says it, how fast and how high.

    rate and pitch are factors. Which speakers there are is the voice's matter; None is its first.

    Raises ValueError for an unknown language, and for a rate or a pitch out of range.
    """

    language: str = "English"
    speaker: str | None = None
    rate: float = 1.0
    pitch: float = 1.0

    def __post_init__(self) -> None:
        find_language(self.language)
        for name, value, (low, high) in (("rate", self.rate, RATES), ("pitch", self.pitch, PITCHES)):
            if not low <= value <= high:  # neither is NaN
                raise ValueError(f"{name} is {value}; accepted: {low} to {high}")


@dataclass(frozen=True, eq=False)
class Speech:
    """Sound of a voice: samples [n], float32 in [-1, 1], and how many of them make a second."""

    samples: np.ndarray
    sample_rate: int

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate

    def save(self, path: str | Path) -> None:
        """Write a WAV file of 16 bits; it is whole or not there.

        Raises ValueError if there is no sound, or no such file can be written.
        """
        import soundfile

        path = checked_out(path)
        if not len(self.samples) or not np.isfinite(self.samples).all():
            raise ValueError(
                f"{path}: found {'NaN in the' if len(self.samples) else 'no'} samples; nothing was written"
            )
        file = io.BytesIO()
        soundfile.write(file, np.clip(self.samples, -1, 1), self.sample_rate, subtype="PCM_16", format="WAV")
        part = path.with_name(f".{path.name}.part")
        try:
            part.write_bytes(file.getvalue())
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise ValueError(f"{path}: it cannot be written ({error.strerror})") from error


def checked_out(path: str | Path) -> Path:
    """A path that a sound can be written to; ValueError for any other, before anything is computed."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: found a folder; accepted: the path of a WAV file")
    if path.suffix.lower() != ".wav":
        raise ValueError(f"{path}: found {path.suffix or 'no ending'}; accepted: the path of a WAV file, .wav")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: found no folder {path.parent} to write it in")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"{path}: it may not be written")
    return path


class VoiceStream(Protocol):
    """Texts of some rows on their way to sound."""

    def expect(self, tokens: Sequence[Sequence[int]]) -> None:
        """All tokens that each row is going to be pushed, where they are known: what hangs on them goes faster."""
        ...

    def push(self, texts: Sequence[str], tokens: Sequence[int]) -> list[Tensor]:
        """What each row's newest token adds to its text ("" for nothing), and the token -> new samples [n] a row."""
        ...

    def flush(self) -> list[Tensor]:
        """The texts have ended: the rest of each row's samples."""
        ...


@runtime_checkable
class Voice(Protocol):
    """What an assistant needs of a voice. `speakers` names those that it can be asked for, the first by default."""

    sample_rate: int
    speakers: tuple[str, ...]

    def start(self, how: Speaking, rows: int = 1) -> VoiceStream:
        """Ready to say so many texts at a time. Raises ValueError for what this voice cannot do."""
        ...

    def save(self, folder: Path, by_name: bool = False) -> None:
        """Write it beside a model, in files of its own; by_name: a voice of the hub is only named."""
        ...


class Spoken:
    """One text on its way to sound, and all the sound that it made so far."""

    def __init__(self, voice: Voice, how: Speaking):
        self.sample_rate = voice.sample_rate
        self._stream, self._pieces = voice.start(how), []

    def push(self, text: str, token: int) -> Speech | None:
        """The sound that a token gave, if any."""
        return self._added(self._stream.push([text], [token]))

    def flush(self) -> Speech | None:
        """The last sound, if any."""
        return self._added(self._stream.flush())

    def whole(self) -> Speech:
        samples = np.concatenate(self._pieces) if self._pieces else np.zeros(0, dtype=np.float32)
        return Speech(samples, self.sample_rate)

    def _added(self, rows: list[Tensor]) -> Speech | None:
        [samples] = (_as_array(row) for row in rows)
        if not len(samples):
            return None
        self._pieces.append(samples)
        return Speech(samples, self.sample_rate)


def say(voice: Voice, processor: "MultimodalLlamaProcessor", texts: Sequence[str], how: Speaking) -> Iterator[list]:
    """Texts side by side, token by token as a core would write them -> now and then a `Speech` or None for each.

    A text that spells a special token stays text.

    Raises ValueError, at the end, for a text of which the voice can say nothing.
    """
    tokenizer = processor.tokenizer
    tokens = [tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"] for text in texts]
    longest = max(map(len, tokens))
    written = [chain(_added(tokenizer, row), repeat("")) for row in tokens]
    tokens = [row + row[-1:] * (longest - len(row)) for row in tokens]  # a row that has ended adds nothing more
    stream, heard = voice.start(how, len(texts)), [0] * len(texts)
    stream.expect(tokens)

    def given(rows: list[Tensor]) -> list[Speech | None]:
        arrays = [_as_array(row) for row in rows]
        for at, samples in enumerate(arrays):
            heard[at] += len(samples)
        return [Speech(samples, voice.sample_rate) if len(samples) else None for samples in arrays]

    for column in zip(*tokens, strict=True):
        yield given(stream.push([next(one) for one in written], column))
    yield given(stream.flush())
    for text, samples in zip(texts, heard, strict=True):
        if not samples:
            raise ValueError(f"found nothing that this voice can say in {text[:80]!r}")


def _added(tokenizer: "PreTrainedTokenizerBase", tokens: Sequence[int]) -> Iterator[str]:
    """What each token adds to a text. Decoding begins again now and then: a long text would take its square."""
    stream = TextStream(tokenizer)
    for at, token in enumerate(tokens):
        text = stream.push(token)
        yield text
        if text and at % DECODED_AT_ONCE == 0:
            stream = TextStream(tokenizer)


def _as_array(samples: Tensor) -> np.ndarray:
    return samples.detach().float().cpu().numpy()


class LateVoice:
    """The voice of an assistant, looked up at once if it was asked for by name, and opened when it first speaks."""

    def __init__(
        self,
        model: "MultimodalLlama",
        processor: "MultimodalLlamaProcessor",
        voice: Voice | str | Path | None = None,
        own: str | Path | None = None,
        **hub,
    ):
        """own: the folder or hub id of the model, which may hold a voice; hub: keywords of `find_voice`."""
        self.model, self.processor, self._hub = model, processor, hub
        self._voice = voice if isinstance(voice, Voice) else None
        self._name = None if voice is None or self._voice else str(voice)
        self._folder = find_voice(self._name, **hub) if self._name else None
        self._own = own

    def __call__(self) -> Voice:
        """Raises ValueError if there is none, or it fits this core not."""
        if self._voice is None:
            if self._folder is None:
                self._folder, self._name = self._own_folder(), str(self._own)
            with torch.random.fork_rng(
                devices=[]
            ):  # fresh weights are drawn before they are loaded: so no token changes
                self._voice = open_voice(self._folder, self._name, self.model, self.processor, **self._hub)
        return self._voice

    @property
    def there(self) -> bool:
        """Whether this assistant can speak."""
        return not (self._voice is None and self._folder is None) or self._has_own()

    def _has_own(self) -> bool:
        try:
            self._own_folder()
        except ValueError:
            return False
        return True

    def _own_folder(self) -> Path:
        if self._own is not None:
            folder = NANO if str(self._own) == "nano" else Path(self._own)
            folder = (
                folder
                if folder.is_dir()
                else _downloaded(str(self._own), (CONFIG, WEIGHTS, f"{BESIDE}/*"), **self._hub)
            )
            if (folder / CONFIG).is_file():
                return folder
        raise ValueError(f"this model has no voice: give it one with voice=, or --voice; {ACCEPTED}")


def find_voice(name: str, **hub) -> Path:
    """The folder of a voice, checked as far as its files tell; a hub id is downloaded.

    hub: local_files_only, token and cache_dir.

    Raises ValueError if there is none, or it has no weights in safetensors.
    """
    folder = NANO if name == "nano" else Path(name)
    if not folder.is_dir():
        if folder.exists():
            raise ValueError(f"{name}: found a file; {ACCEPTED}")
        folder = _downloaded(name, _HUB_FILES, **hub)
    if (folder / CONFIG).is_file():
        if not (folder / WEIGHTS).is_file() and hub_voice_of(folder) is None:
            raise ValueError(f"{name}: found {CONFIG} without its weights, {WEIGHTS}")
        return folder
    if not (folder / "config.json").is_file():
        raise ValueError(f"{name}: found no voice there; {ACCEPTED}")
    files_of(folder)  # its error names pickled weights
    return folder


def open_voice(
    folder: Path, name: str, model: "MultimodalLlama", processor: "MultimodalLlamaProcessor", **hub
) -> Voice:
    """The voice in a folder that `find_voice` found; name is for errors, and for a voice of the hub its id.

    Raises ValueError if it is damaged, is of no known kind, or was made for another core.
    """
    if not (folder / CONFIG).is_file():
        from .voice_hub import HubVoice

        return HubVoice.load(folder, name, model.device)
    if (hub_voice := hub_voice_of(folder)) is not None:
        where = str(folder / BESIDE) if hub_voice == BESIDE else hub_voice
        return open_voice(find_voice(where, **hub), hub_voice, model, processor)
    from .voice_head import HeadVoice

    return HeadVoice.load(folder, model, processor)


def hub_voice_of(folder: Path) -> str | None:
    """The hub id of the voice that a folder names, or where in the folder it is; None for a head of ours."""
    try:
        return json.loads((folder / CONFIG).read_text("utf-8")).get("hub_voice")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{folder / CONFIG}: found no description of a voice ({error})") from error


def voice_in_words(folder: Path) -> str | None:
    """What the configuration in a model's folder tells of its voice; None if it has none."""
    if not (folder / CONFIG).is_file():
        return None
    if (hub_voice := hub_voice_of(folder)) is not None:
        return "a text-to-audio model, in its folder" if hub_voice == BESIDE else f"{hub_voice}, a text-to-audio model"
    noted = json.loads((folder / CONFIG).read_text("utf-8"))
    speakers, languages = noted.get("speakers", {}), noted.get("languages", {})
    return f"streams as text is written; speakers {', '.join(speakers)}; {len(languages)} languages"


def voice_weights(folder: Path) -> tuple[int, int] | None:
    """Parameters of the head in a model's folder, and their bytes there; None if there is none."""
    if not (folder / WEIGHTS).is_file():
        return None
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS}: found no readable safetensors file ({error})") from error
    return sum(map(math.prod, shapes)), (folder / WEIGHTS).stat().st_size


def _downloaded(name: str, patterns: Sequence[str], **hub) -> Path:
    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns), **hub))
    except (OSError, ValueError) as error:  # the hub's own errors are of these kinds
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{name}: found neither such a folder nor such a model on the hub ({reason}); {ACCEPTED}"
        ) from error
