"""Stages of nano's voice: acoustic model, vocoder and prosody model, each on what espeak-ng said.

The three are trained apart, on true inputs: phones with their measured prosody give frames, frames and pitch
give sound, text and the core's states give prosody. Sizes, rates and lengths are our choice. A stage that
begins from trained weights (`begin_from`) goes on with the batches that come next.
"""

import random
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from multimodal.languages import LANGUAGES
from tts.acoustic import FRAME_S, Acoustic, Phones, acoustic_loss
from tts.mel import HOP, log_mel
from tts.phones import PHONES
from tts.prosody import SIZES, Linguistic, Prosody, Speaking, prosody_loss
from tts.vocoder import Vocoder, spectral_loss

from ...training.loop import Schedule
from ..voice.recordings import RATE_WPM, SPEAKERS, Recordings, recordings
from .beginning import begin

ACOUSTIC_SIZE = dict(width=192, phone_blocks=2, frame_blocks=5)
VOCODER_SIZE = dict(width=192, blocks=5)
_UTTERANCES, _GROUP = 8, 8  # a step, and steps whose utterances are drawn together and parted by length
_CROPS, _CROP_FRAMES = 8, 48
_COUNTS = (len(PHONES), len(SPEAKERS), len(LANGUAGES))


class VoiceAcousticStage:
    """Phones with true prosody -> frames; see `multimodal.training.loop.Stage`."""

    name = "voice-acoustic"

    def __init__(self, run: Path, steps: int = 2000, seed: int = 0, begin_from: Path | None = None):
        torch.manual_seed(seed)
        self.model = Acoustic(*_COUNTS, **ACOUSTIC_SIZE)
        self.schedule, self._done = _schedule(steps, 1e-3), begin(self.model, begin_from)
        self._set, self.held_out = recordings(run), recordings(run, held_out=True)

    def batch(self, step: int) -> dict[str, Tensor]:
        return acoustic_batch(self._set, _numbers(self._set, self._done + step, "acoustic"))

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        return acoustic_loss(
            acoustic_frames(self.model, batch), *(batch[k] for k in ("mel", "log_f0", "voiced", "keep"))
        )

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Errors on held-out texts: mel in units of log10, pitch in nepers, voicing in nats."""
        batches = [acoustic_batch(self.held_out, range(at, at + 16)) for at in range(0, 96, 16)]
        figures = [self.loss(batch)[1] for batch in batches]
        return {name: sum(one[name] for one in figures) / len(figures) for name in figures[0]}


class VoiceVocoderStage:
    """True frames and pitch -> sound; see `multimodal.training.loop.Stage`."""

    name = "voice-vocoder"

    def __init__(self, run: Path, steps: int = 1800, seed: int = 0, begin_from: Path | None = None):
        torch.manual_seed(seed)
        self.model = Vocoder(**VOCODER_SIZE)
        with torch.no_grad():  # filters start soft and flat
            self.model.filters.weight.mul_(0.3)
            self.model.filters.bias.zero_().unflatten(0, (-1, 128))[:, 0] = -4.0
        self.schedule, self._done = _schedule(steps, 1e-3), begin(self.model, begin_from)
        self._set, self.held_out = recordings(run), recordings(run, held_out=True)

    def batch(self, step: int) -> dict[str, Tensor]:
        return _crops(self._set, random.Random(f"vocoder {self._done + step}"), _CROPS)

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        wave = self.model(batch["mel"], batch["pitch"], batch["voiced"])
        return spectral_loss(wave[:, HOP:-HOP], batch["wave"][:, HOP:-HOP]), {}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """The spectral loss on held-out texts."""
        return {"loss": self.loss(_crops(self.held_out, random.Random("held out"), 48))[0].item()}


class VoiceProsodyStage:
    """Text and core states -> prosody; see `multimodal.training.loop.Stage`.

    with_states and streaming: variants to compare with. Their names are the folders they are trained in.
    """

    name = "voice-prosody"

    def __init__(
        self,
        run: Path,
        steps: int = 1500,
        seed: int = 0,
        with_states: bool = True,
        streaming: bool = True,
        begin_from: Path | None = None,
    ):
        torch.manual_seed(seed)
        self.name += ("" if with_states else "-no-states") + ("" if streaming else "-whole")
        size = SIZES["nano"] | ({} if with_states else {"state_dim": None}) | ({} if streaming else {"lookahead": None})
        self.model = Prosody(*_COUNTS, **size)
        self.schedule, self._done = _schedule(steps, 2e-3), begin(self.model, begin_from)
        self._set, self.held_out = recordings(run), recordings(run, held_out=True)

    def batch(self, step: int) -> dict[str, Tensor]:
        at = self._done + step
        batch = prosody_batch(self._set, _numbers(self._set, at, "prosody", 16))
        # small errors in what was told, so that its own do not lead it astray
        rough = torch.randn(batch["values"].shape, generator=torch.Generator().manual_seed(at))
        return batch | {"told": batch["values"] + rough * torch.tensor([0.1, 0.03, 0.2])}

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        told = self._tell(batch, batch["told"])
        errors = (told - batch["values"]).abs().flatten(0, 1).mean(0)
        figures = dict(zip(("duration", "pitch", "power"), errors.tolist(), strict=True))
        return prosody_loss(told, batch["values"], batch["weights"]), figures

    def _tell(self, batch: dict[str, Tensor], told: Tensor) -> Tensor:
        text = Linguistic(batch["ids"], batch["place"], batch["ending"])
        speaking = Speaking(batch["speaker"], batch["language"], batch["log_rate"])
        if self.model.states is None:
            return self.model(text, told, speaking)
        return self.model(text, told, speaking, batch["states"], batch["seen"])

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Mean errors on held-out texts with the truth told before: log seconds, log-F0, power."""
        totals, weights = torch.zeros(3), torch.zeros(3)
        for first in range(0, len(self.held_out), 24):
            batch = prosody_batch(self.held_out, range(first, first + 24))
            error = (self._tell(batch, batch["values"]) - batch["values"]).abs() * batch["weights"]
            totals, weights = totals + error.sum((0, 1)), weights + batch["weights"].sum((0, 1))
        return dict(zip(("duration", "pitch", "power"), (totals / weights).tolist(), strict=True))


def _schedule(steps: int, peak_lr: float) -> Schedule:
    return Schedule(steps=steps, peak_lr=peak_lr, muon_lr=2e-3, warmup_steps=100)


def _numbers(of: Recordings, step: int, purpose: str, number: int = _UTTERANCES) -> list[int]:
    """The recordings of a step, about equally long."""
    group, turn = divmod(step, _GROUP)
    rng = random.Random(f"{purpose} {group}")
    drawn = sorted(rng.sample(range(len(of)), number * _GROUP), key=of.length)
    first = rng.sample(range(_GROUP), _GROUP)[turn] * number
    return drawn[first : first + number]


def _who(of: Recordings, rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    who = torch.stack([row["who"] for row in rows])
    base = of.whole["whole.pitch"][who[:, 0], who[:, 3]]
    rate = (who[:, 2].float() / RATE_WPM).log()
    return {"speaker": who[:, 0], "language": who[:, 1], "log_rate": rate, "base": base}


def acoustic_batch(of: Recordings, numbers) -> dict[str, Tensor]:
    """Phones [B, P] with their prosody, and frames [B, F] as they should become; keep [B, F]."""
    rows = [of[number] for number in numbers]
    who = _who(of, rows)
    wave = _padded(rows, "wave").float() / 2**15
    frames = torch.tensor([len(row["pitch"]) for row in rows])
    times = (torch.arange(int(frames.max())) + 0.5) * FRAME_S
    starts = pad_sequence([row["start_s"] for row in rows], True, float("inf"))
    return who | {
        "ids": _padded(rows, "ids").long(),
        "log_s": pad_sequence([row["log_s"] for row in rows], True, -2.5),
        "phone_f0": _padded(rows, "log_f0") - who["base"][:, None],
        "power": _padded(rows, "power"),
        "start_s": starts.nan_to_num(posinf=0.0),
        "owners": torch.searchsorted(starts, times.expand(len(rows), -1).contiguous(), right=True) - 1,
        "mel": log_mel(wave),
        "log_f0": _padded(rows, "pitch") - who["base"][:, None],
        "pitch": pad_sequence([row["pitch"] for row in rows], True, 5.0),
        "voiced": _padded(rows, "voiced").float(),
        "keep": torch.arange(int(frames.max())) < frames[:, None],
        "wave": wave,
    }


def acoustic_frames(model: Acoustic, batch: dict[str, Tensor]):
    """The model's frames for a batch of `acoustic_batch`."""
    phones = Phones(batch["ids"], batch["log_s"], batch["phone_f0"], batch["power"])
    return model(phones, batch["start_s"], batch["owners"], batch["speaker"], batch["language"])


def _crops(of: Recordings, rng: random.Random, number: int) -> dict[str, Tensor]:
    """Frames [B, F, 80] with pitch and voicing, and their sound [B, F * HOP], from random places."""
    waves, mels, pitches, voices = [], [], [], []
    while len(waves) < number:
        row = of[rng.randrange(len(of))]
        frames = len(row["pitch"])
        if frames <= _CROP_FRAMES:
            continue
        first = rng.randrange(frames - _CROP_FRAMES)
        more = slice(max(0, first - 2) * HOP, (first + _CROP_FRAMES + 2) * HOP)
        mel = log_mel(row["wave"][more].float()[None] / 2**15)[0]
        mels.append(mel[min(2, first) :][:_CROP_FRAMES])
        waves.append(row["wave"][first * HOP : (first + _CROP_FRAMES) * HOP].float() / 2**15)
        pitches.append(row["pitch"][first : first + _CROP_FRAMES])
        voices.append(row["voiced"][first : first + _CROP_FRAMES].float())
    names = ("wave", "mel", "pitch", "voiced")
    return {name: torch.stack(values) for name, values in zip(names, (waves, mels, pitches, voices), strict=True)}


def prosody_batch(of: Recordings, numbers) -> dict[str, Tensor]:
    """Linguistic features, states and true values [B, P, 3], and how much each of these counts."""
    rows = [of[number] for number in numbers]
    who = _who(of, rows)
    there = pad_sequence([torch.ones(len(row["ids"])) for row in rows], True)
    values = torch.stack(
        [
            pad_sequence([row["log_s"] for row in rows], True, -2.5),
            (_padded(rows, "log_f0") - who["base"][:, None]) * there,
            _padded(rows, "power"),
        ],
        -1,
    )
    share = _padded(rows, "share")
    weights = torch.stack([there, share.clamp(min=0.05) * there, 0.5 * there], -1)
    return who | {
        **{name: _padded(rows, name).long() for name in ("ids", "place", "ending")},
        "seen": pad_sequence([row["seen"] for row in rows], True, 1),
        "states": pad_sequence([row["states"] for row in rows], True).float(),
        "values": values,
        "weights": weights,
    }


def _padded(rows: list[dict[str, Tensor]], name: str) -> Tensor:
    return pad_sequence([row[name] for row in rows], True)
