"""Text and the states of the language model that writes it in, sound out, while it is still being written.

Text is put into its spoken form (`normalizer`, `rule_stream`), becomes phones (`reader`), gets its prosody, and
then frames and sound, each as soon as it is sure; no module waits for the end. What a stream gives in pieces is
what it gives at once, to 1e-4, and a row of a batch what it gives alone.
"""

import json
from bisect import bisect_left
from dataclasses import asdict, dataclass
from math import log
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .acoustic import Acoustic, AcousticState, Phones
from .mel import SAMPLE_RATE_HZ
from .normalizer import Normalizer
from .phones import PHONES
from .prosody import Linguistic, Prosody, ProsodyStream, Speaking
from .reader import Read, Reader
from .rule_stream import RuleStream
from .rules import LABELS
from .vocoder import Vocoder

RATES, PITCHES = (0.5, 2.0), (0.5, 2.0)  # times an ordinary rate and the speaker's own pitch
_PREFIX = "voice."


@dataclass(frozen=True)
class HeadConfig:
    """What a head is made of: tables of its speakers and languages, and the sizes of its three networks."""

    speakers: dict[str, float]  # name: mean log-F0
    languages: dict[str, str]  # code: espeak-ng's voice
    prosody: dict[str, int | None]
    acoustic: dict[str, int]
    vocoder: dict[str, int]
    normalizer: dict[str, float] | None = None  # the tagger's; None: rules alone
    labels: list[str] | None = None  # of the tagger, in its order
    phones: int = len(PHONES)
    sample_rate: int = SAMPLE_RATE_HZ


class SpeechHead(nn.Module):
    """The voice as one module: tagger of written forms, prosody, acoustic model and vocoder.

    A vocoder of others may take the place of ours: anything with `start()` and `push(state, mel, log_f0,
    voiced, last)`, such as `hifigan.HifiGan`.
    """

    def __init__(self, config: HeadConfig, vocoder: nn.Module | None = None):
        """Raises ValueError for a table of phones of another length, another sampling rate, or other rules."""
        super().__init__()
        if (config.phones, config.sample_rate) != (len(PHONES), SAMPLE_RATE_HZ):
            raise ValueError(
                f"this voice was made for {config.phones} phones at {config.sample_rate} Hz; "
                f"accepted are {len(PHONES)} at {SAMPLE_RATE_HZ}"
            )
        if config.normalizer is not None and config.labels != list(LABELS):
            raise ValueError("this voice's tagger belongs to another list of rules; train the tagger again")
        self.config = config
        counts = (config.phones, len(config.speakers), len(config.languages))
        self.normalizer = None if config.normalizer is None else Normalizer(**config.normalizer)
        self.prosody = Prosody(*counts, **config.prosody)
        self.acoustic = Acoustic(*counts, **config.acoustic)
        self.vocoder = vocoder or Vocoder(**config.vocoder)

    @property
    def sample_rate(self) -> int:
        """Of the sound, in Hz."""
        return SAMPLE_RATE_HZ

    @property
    def hidden_dim(self) -> int | None:
        """Width of the core's states that it wants; None if it wants none."""
        return self.prosody.state_dim

    @property
    def speakers(self) -> tuple[str, ...]:
        """Names of the speakers, the default first."""
        return tuple(self.config.speakers)

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages."""
        return tuple(self.config.languages)

    def start(
        self,
        rows: int = 1,
        language: str = "en",
        speaker: str | None = None,
        rate: float = 1.0,
        pitch: float = 1.0,
    ) -> "SpeechStream":
        """A stream of so many texts at once.

        Raises ValueError for a language or speaker that it does not have, and for a rate or pitch out of range.
        """
        speaker = self.speakers[0] if speaker is None else speaker
        for what, found, accepted in (
            ("language", language, self.languages),
            ("speaker", speaker, self.speakers),
        ):
            if found not in accepted:
                raise ValueError(f"found {what} {found!r}; accepted by this voice: {', '.join(accepted)}")
        for what, found, (least, most) in (("rate", rate, RATES), ("pitch", pitch, PITCHES)):
            if not least <= found <= most:
                raise ValueError(f"{what} is {found}; accepted are {least} to {most}")
        return SpeechStream(self, [_Row(self, language, speaker, rate, pitch) for _ in range(rows)])


class SpeechStream:
    """Texts that are being written, each a row, and the sound that is ready of each."""

    def __init__(self, head: SpeechHead, rows: "list[_Row]"):
        self._head, self._rows = head, rows

    @torch.no_grad()
    def push(self, texts: list[str], hidden: Tensor | None = None) -> list[Tensor]:
        """What the newest token adds to each text ("" if nothing), and its states [B, D] -> samples [n] a row.

        Raises ValueError if texts or states do not fit the stream.
        """
        if len(texts) != len(self._rows):
            raise ValueError(f"found {len(texts)} texts; this stream has {len(self._rows)} rows")
        if hidden is not None:
            wanted = [len(self._rows), self._head.hidden_dim]
            if list(hidden.shape) != wanted:
                raise ValueError(f"states are {list(hidden.shape)}; this voice takes {wanted}")
        states = [None] * len(texts) if hidden is None else [one[None, None] for one in hidden]
        return [row.push(text, state) for row, text, state in zip(self._rows, texts, states, strict=True)]

    @torch.no_grad()
    def flush(self) -> list[Tensor]:
        """The rest of each row's sound: nothing for a text without anything to say."""
        return [row.flush() for row in self._rows]


class _Row:
    """One text on its way through the modules."""

    def __init__(self, head: SpeechHead, language: str, speaker: str, rate: float, pitch: float):
        self._head = head
        self._like = head.acoustic.out.weight
        self._speaker, self._language = (
            torch.tensor([table.index(name)], device=self._like.device)
            for table, name in ((head.speakers, speaker), (head.languages, language))
        )
        log_rate = torch.tensor([log(rate)], device=self._like.device, dtype=self._like.dtype)
        self._prosody = ProsodyStream(head.prosody, Speaking(self._speaker, self._language, log_rate))
        self._base = head.config.speakers[speaker] + log(pitch)
        self._text = head.normalizer.start(language) if head.normalizer else RuleStream(language)
        self._reader = Reader(head.config.languages[language])
        self._acoustic, self._vocoder = AcousticState(), head.vocoder.start()
        self._ids: list[int] = []  # of phones whose prosody is still to come
        self._token_ends: list[int] = []  # in characters of the written text
        self._written, self._any = 0, False

    def push(self, text: str, state: Tensor | None) -> Tensor:
        self._written += len(text)
        if state is not None:
            self._token_ends.append(self._written)
            self._prosody.hear(state.to(self._like))
        return self._say(self._reader.push(self._text.push(text, None if state is None else state[0, 0])))

    def flush(self) -> Tensor:
        groups = self._reader.push(self._text.flush())
        *rest, pause = self._reader.flush()
        groups += [rest] if rest else []
        if not self._any and not groups:
            return self._like.new_zeros(0)
        return torch.cat([self._say(groups), self._sound([pause], last=True)])

    def _say(self, groups: list[list[Read]]) -> Tensor:
        """Group by group, however many come at once: the same sums in the same order, and so the same bits.

        A pitch that is off by one bit would be heard as another phase of the pulses a minute later.
        """
        return torch.cat([self._like.new_zeros(0), *(self._sound(group, last=False) for group in groups)])

    def _sound(self, read: list[Read], last: bool) -> Tensor:
        """The samples that these phones make ready."""
        self._any = True
        values = self._prosody.push(self._linguistic(read), [self._seen(one) for one in read], last)
        self._ids += [one.id for one in read]
        ready = values.shape[1]
        ids, self._ids = self._ids[:ready], self._ids[ready:]
        ids = torch.tensor([ids], dtype=torch.long, device=self._like.device)
        phones = Phones(ids, values[..., 0], values[..., 1], values[..., 2])
        frames = self._head.acoustic.push(self._acoustic, phones, self._speaker, self._language, last)
        return self._wave(frames.mel, frames.log_f0 + self._base, frames.voiced.sigmoid(), last)

    def _wave(self, mel: Tensor, log_f0: Tensor, voiced: Tensor, last: bool) -> Tensor:
        wave = self._head.vocoder.push(self._vocoder, mel, log_f0, voiced, last)
        return wave[0].clamp(-1, 1)

    def _linguistic(self, read: list[Read]) -> Linguistic:
        rows = ([getattr(one, name) for one in read] for name in ("id", "place", "ending"))
        return Linguistic(*(torch.tensor([row], dtype=torch.long, device=self._like.device) for row in rows))

    def _seen(self, phone: Read) -> int:
        """How many tokens a phone may see: up to that in which its word ends, of those that have come."""
        return min(bisect_left(self._token_ends, phone.end) + 1, len(self._token_ends))


def save_head(head: SpeechHead, config: Path, weights: Path) -> None:
    """Write a head as two files, weights in float16 under names that begin with `voice.`."""
    tensors = {_PREFIX + name: value.half().contiguous().cpu() for name, value in head.state_dict().items()}
    save_file(tensors, weights, {"format": "pt"})
    config.write_text(json.dumps(asdict(head.config), indent=1) + "\n", "utf-8")


def load_head(config: Path, weights: Path) -> SpeechHead:
    """The head in two files, in float32, ready to speak.

    Raises ValueError if the files do not belong together.
    """
    try:
        head = SpeechHead(HeadConfig(**json.loads(config.read_text("utf-8"))))
    except (TypeError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{config} is no configuration of a voice: {error}") from error
    tensors = {name.removeprefix(_PREFIX): value.float() for name, value in load_file(weights).items()}
    wanted = {name: list(value.shape) for name, value in head.state_dict().items()}
    found = {name: list(value.shape) for name, value in tensors.items()}
    if wanted != found:
        wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise ValueError(f"{weights} does not fit {config}: {len(wrong)} tensors differ, such as {wrong[:3]}")
    head.load_state_dict(tensors)
    return head.eval().requires_grad_(False)
