"""The acoustic model: phones with their prosody -> log-mel frames, pitch and voicing, phone by phone.

Shapes: B rows, P phones, F frames, D width. All of the design is our choice; the paper says only that its
synthesiser has a Transformer acoustic model (8.3).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import CausalStack, LookaheadConv
from .mel import HOP, NUM_MELS, SAMPLE_RATE_HZ

FRAME_S = HOP / SAMPLE_RATE_HZ
LOOKAHEAD = 1  # phones whose name and prosody must be known before a phone is sounded
_MEL_MEAN, _MEL_SCALE = -2.5, 1.0  # so that what is predicted is about 0 on average
_LONGEST_S = 0.3  # places in a phone are told apart up to so far from its ends


@dataclass
class Phones:
    """Phones of a batch: ids, log_duration (of seconds), log_f0 and power, all [B, P]."""

    ids: Tensor
    log_duration: Tensor
    log_f0: Tensor  # natural logarithm of Hz, less the speaker's mean
    power: Tensor  # base-10 logarithm of mean square, normalised

    def of(self, places: slice) -> "Phones":
        return Phones(*(value[:, places] for value in vars(self).values()))


@dataclass
class Frames:
    """mel [B, F, 80]; log_f0 [B, F], natural logarithm of Hz less the speaker's mean; voiced [B, F], logits."""

    mel: Tensor
    log_f0: Tensor
    voiced: Tensor


@dataclass
class AcousticState:
    """What the model remembers of a row between two pieces; time is that at which the next phone starts."""

    phones: Tensor | None = None
    phone_blocks: list[Tensor] | None = None
    frame_blocks: list[Tensor] | None = None
    time_s: float = 0.0
    waiting: Phones | None = None  # phones that have come in and whose frames have not been made


class Acoustic(nn.Module):
    """A convolution that sees one phone ahead, causal blocks over phones, then causal blocks over frames."""

    def __init__(
        self, num_phones: int, num_speakers: int, num_languages: int, width: int, phone_blocks: int, frame_blocks: int
    ):
        super().__init__()
        self.phone = nn.Embedding(num_phones, width // 2)
        self.speaker = nn.Embedding(num_speakers, width)
        self.language = nn.Embedding(num_languages, width)
        self.context = LookaheadConv(width // 2 + 3, width, before=1, ahead=LOOKAHEAD)
        self.phone_stack = CausalStack(width, phone_blocks, kernel=3)
        self.place = nn.Linear(6, width)
        self.frame_stack = CausalStack(width, frame_blocks, kernel=7)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, NUM_MELS + 2)

    def forward(self, phones: Phones, starts_s: Tensor, owners: Tensor, speaker: Tensor, language: Tensor) -> Frames:
        """Training: starts_s [B, P]; owners [B, F], the phone that each frame belongs to; speaker and language [B]."""
        coded, _ = self._code(phones, speaker, language, None, None, True)
        times = (torch.arange(owners.shape[1], device=owners.device) + 0.5) * FRAME_S
        since = times - starts_s.gather(1, owners)
        frames, _ = self._decode(coded, phones, owners, since, None)
        return frames

    def _code(self, phones: Phones, speaker: Tensor, language: Tensor, past, blocks, last: bool):
        prosody = torch.stack([phones.log_duration + 2.5, 5 * phones.log_f0, phones.power], -1)
        x, past = self.context(torch.cat([self.phone(phones.ids), prosody], -1), past, last)
        x = x + (self.speaker(speaker) + self.language(language)).unsqueeze(1)
        x, blocks = self.phone_stack(x, blocks)
        return x, (past, blocks)

    def _decode(
        self, coded: Tensor, phones: Phones, owners: Tensor, since: Tensor, blocks
    ) -> tuple[Frames, list[Tensor]]:
        """coded [B, P, D] of the phones; since [B, F]: seconds from the owner's start to the frame's middle."""
        duration = phones.log_duration.exp().gather(1, owners)
        left = duration - since
        place = [since / _LONGEST_S, left / _LONGEST_S, duration / _LONGEST_S, since / duration]
        place += [torch.exp(-since.clamp(min=0) / 0.02), torch.exp(-left.clamp(min=0) / 0.02)]
        x = coded.gather(1, owners.unsqueeze(-1).expand(-1, -1, coded.shape[-1])) + self.place(torch.stack(place, -1))
        x, blocks = self.frame_stack(x, blocks)
        out = self.out(self.norm(x))
        mel = out[..., :NUM_MELS] * _MEL_SCALE + _MEL_MEAN
        log_f0 = phones.log_f0.gather(1, owners) + 0.2 * out[..., NUM_MELS]
        return Frames(mel, log_f0, out[..., NUM_MELS + 1]), blocks

    def push(self, state: AcousticState, phones: Phones, speaker: Tensor, language: Tensor, last: bool) -> Frames:
        """The frames of the phones that are ready, of one row; without `last` the newest phone waits for the next."""
        coded, (state.phones, state.phone_blocks) = self._code(
            phones, speaker, language, state.phones, state.phone_blocks, last
        )
        if state.waiting is not None:
            old = vars(state.waiting)
            phones = Phones(*(torch.cat([old[name], new], 1) for name, new in vars(phones).items()))
        ready = coded.shape[1]
        state.waiting = phones.of(slice(ready, None))
        owners, since = self._places(state, phones.log_duration[0, :ready])
        frames, state.frame_blocks = self._decode(coded, phones.of(slice(ready)), owners, since, state.frame_blocks)
        return frames

    def _places(self, state: AcousticState, log_duration: Tensor) -> tuple[Tensor, Tensor]:
        """Owners and seconds since their start [1, F] of the frames whose middle lies in these phones."""
        owners, since = [], []
        for phone, duration in enumerate(log_duration.double().exp().tolist()):
            end = state.time_s + duration
            for frame in range(_first_frame(state.time_s), _first_frame(end)):
                owners.append(phone)
                since.append((frame + 0.5) * FRAME_S - state.time_s)
            state.time_s = end
        device = log_duration.device
        return (
            torch.tensor([owners], dtype=torch.long, device=device),
            torch.tensor([since], dtype=log_duration.dtype, device=device),
        )


def _first_frame(time_s: float) -> int:
    """The first frame whose middle is not before this time."""
    return max(0, -int((0.5 * FRAME_S - time_s) // FRAME_S))


def acoustic_loss(frames: Frames, mel: Tensor, log_f0: Tensor, voiced: Tensor, keep: Tensor) -> tuple[Tensor, dict]:
    """mel [B, F, 80], log_f0 and voiced [B, F] as measured; keep [B, F]: which frames are there."""
    there = keep.float()
    count = there.sum()
    mel_error = ((frames.mel - mel).abs().mean(-1) * there).sum() / count
    both = there * voiced
    pitch_error = ((frames.log_f0 - log_f0).abs() * both).sum() / both.sum().clamp(min=1)
    voicing = (F.binary_cross_entropy_with_logits(frames.voiced, voiced, reduction="none") * there).sum() / count
    figures = {"mel": mel_error.item(), "pitch": pitch_error.item(), "voicing": voicing.item()}
    return mel_error + 2 * pitch_error + 0.2 * voicing, figures
