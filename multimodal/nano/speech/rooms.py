"""Where it is said and how it is recorded: a room, noise, a telephone, a bad level. [T] float32 at 16 kHz.

Every number is drawn before anything sounds, so that a `Room` tells all that was done; what is drawn, and
how often, is our choice.
"""

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from .synthesiser import SAMPLE_RATE_HZ, resampled

NOISES = ("none", "white", "pink", "babble")
TELEPHONE_HZ = 8000


@dataclass(frozen=True)
class Room:
    """What happens to a sound, in the order of the fields; None where nothing of the kind does."""

    before_s: float  # silence around the speech, which the room and the noise fill
    after_s: float
    rt60_s: float | None  # how long an echo takes to fall by 60 dB
    direct_share: float  # of the energy, how much comes straight to the microphone
    noise: str  # one of NOISES
    snr_db: float  # speech over noise, over the time from the first to the last word
    band_hz: tuple[float, float] | None  # what is kept
    telephone: bool  # through 8 kHz and back
    peak: float  # of the recording; above 1 it is clipped
    seed: int


def sample_room(rng: random.Random) -> Room:
    """A random room; about one in eight is dry, silent and wide-band."""
    return Room(
        before_s=rng.uniform(0.05, 0.5),
        after_s=rng.uniform(0.05, 0.5),
        rt60_s=rng.uniform(0.1, 0.7) if rng.random() < 0.5 else None,
        direct_share=rng.uniform(0.3, 0.9),
        noise=rng.choices(NOISES, (0.35, 0.25, 0.3, 0.1))[0],
        snr_db=rng.uniform(5, 35),
        band_hz=(rng.uniform(50, 300), rng.uniform(3000, 7500)) if rng.random() < 0.2 else None,
        telephone=rng.random() < 0.1,
        peak=rng.uniform(1.0, 2.0) if rng.random() < 0.05 else 10 ** rng.uniform(-1.5, -0.05),
        seed=rng.getrandbits(32),
    )


def sample_quiet_room(rng: random.Random) -> Room:
    """A room without echo, noise or telephone; a beginner's."""
    level = 10 ** rng.uniform(-1.5, -0.05)
    silence = [rng.uniform(0.05, 0.2) for _ in range(2)]
    return Room(*silence, None, 1.0, "none", 35.0, None, False, level, rng.getrandbits(32))


def record(speech: Tensor, room: Room, babble: Tensor | None = None) -> Tensor:
    """The speech as a microphone in the room gives it: [T] -> [T + the silence around it].

    babble [any T] is what others say meanwhile, repeated as long as needed. Equal arguments give equal
    bits. ValueError where the room wants babble and there is none, or the speech is silent.
    """
    if not speech.any():
        raise ValueError(f"speech of {len(speech)} samples is silent")
    if (room.noise == "babble") != (babble is not None):
        raise ValueError(f"babble goes with a room whose noise is 'babble'; this one's is {room.noise!r}")
    random_numbers = torch.Generator().manual_seed(room.seed)
    before, after = (round(seconds * SAMPLE_RATE_HZ) for seconds in (room.before_s, room.after_s))
    sound = pad(speech, (before, after))
    if room.rt60_s is not None:
        sound = _convolved(sound, echoes(room.rt60_s, room.direct_share, random_numbers))
    if room.noise != "none":
        noise = _repeated(babble, len(sound)) if babble is not None else _NOISES[room.noise](len(sound), random_numbers)
        sound = sound + scaled_noise(sound[before : before + len(speech)], noise, room.snr_db)
    if room.band_hz is not None:
        sound = _band(sound, *room.band_hz)
    if room.telephone:
        sound = resampled(resampled(sound, SAMPLE_RATE_HZ, TELEPHONE_HZ), TELEPHONE_HZ, SAMPLE_RATE_HZ)
        sound = pad(sound, (0, before + len(speech) + after - len(sound)))  # or cuts, where one sample too long
    return (sound * (room.peak / sound.abs().max())).clamp(-1, 1)


def scaled_noise(speech: Tensor, noise: Tensor, snr_db: float) -> Tensor:
    """The noise [any T], as loud as makes the speech [any T] snr_db louder; both by their mean power."""
    ratio = _power(speech) / _power(noise) / 10 ** (snr_db / 10)
    return noise * math.sqrt(ratio)


def echoes(rt60_s: float, direct_share: float, random_numbers: torch.Generator) -> Tensor:
    """The answer of a room to a click: the click itself, then noise that falls by 60 dB in rt60_s.

    [rt60_s * 16,000]; direct_share of the energy is in the click. The first echo comes after 2 ms.
    """
    length = round(rt60_s * SAMPLE_RATE_HZ)
    time = torch.arange(length) / SAMPLE_RATE_HZ
    tail = torch.randn(length, generator=random_numbers) * torch.exp(time * (-math.log(1000) / rt60_s))
    tail[: round(0.002 * SAMPLE_RATE_HZ)] = 0
    tail *= math.sqrt((1 - direct_share) / float(tail.double().square().sum()))
    tail[0] = math.sqrt(direct_share)
    return tail


def _power(sound: Tensor) -> float:
    """Of a sound, in float64: a sum whose order of adding could change no bit that is kept."""
    return float(sound.double().square().mean())


def _white(length: int, random_numbers: torch.Generator) -> Tensor:
    return torch.randn(length, generator=random_numbers)


def _pink(length: int, random_numbers: torch.Generator) -> Tensor:
    """As much power in every octave, from 20 Hz on."""
    size = _quick_size(length)
    spectrum = torch.fft.rfft(torch.randn(size, generator=random_numbers))
    frequencies = torch.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ)
    return torch.fft.irfft(spectrum * frequencies.clamp(min=20).rsqrt(), size)[:length]


_NOISES = {"white": _white, "pink": _pink}


def _repeated(sound: Tensor, length: int) -> Tensor:
    return sound.repeat(-(-length // len(sound)))[:length]


def _convolved(sound: Tensor, answer: Tensor) -> Tensor:
    """As long as the sound: what the room answers after its end is cut off."""
    size = _quick_size(len(sound) + len(answer) - 1)
    return torch.fft.irfft(torch.fft.rfft(sound, size) * torch.fft.rfft(answer, size), size)[: len(sound)]


def _band(sound: Tensor, low_hz: float, high_hz: float) -> Tensor:
    """What lies between the two, with edges that fall by 12 dB an octave below and 24 above."""
    size = _quick_size(len(sound))
    frequencies = torch.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ)
    gain = (1 + (low_hz / frequencies.clamp(min=1)) ** 4).rsqrt() * (1 + (frequencies / high_hz) ** 8).rsqrt()
    return torch.fft.irfft(torch.fft.rfft(sound, size) * gain, size)[: len(sound)]


def _quick_size(least: int) -> int:
    """A length at least this and quick to transform: a small multiple of a power of two."""
    step = 1 << max(0, least.bit_length() - 3)
    return -(-least // step) * step
