"""Utterances as they reach a microphone: a training or a held-out set, made as it is asked for."""

import random
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from multimodal.languages import find_language

from .rooms import Room, record, sample_quiet_room, sample_room
from .synthesiser import SAMPLE_RATE_HZ, Voice, resampled, say
from .utterances import Utterance, sample_short_phrase, sample_utterance
from .voices import sample_playing_hz, sample_voice, spoken_for

_TALKERS = 3  # in a babble
_PAUSE_S = (0.05, 0.3)  # between two parts of an utterance


@dataclass(frozen=True)
class Spoken:
    """An utterance, the voice of each of its parts, the room, and the sound: [T] float32 at 16 kHz."""

    utterance: Utterance
    voices: tuple[Voice, ...]
    room: Room
    sound: Tensor


class SpokenSet(Dataset[Spoken]):
    """Endlessly many utterances; number `index` is a pure function of the seed, the set and the index.

    Nothing is stored and nothing is left open, so that it works in any worker process of a DataLoader
    (with a sampler, such as `range(first, last)`, because it has no length). easy: short phrases of the
    training set in quiet rooms, to begin with.
    """

    def __init__(self, seed: int, held_out: bool = False, easy: bool = False):
        assert not (held_out and easy)
        self.seed, self.held_out, self.easy = seed, held_out, easy

    def __getitem__(self, index: int) -> Spoken:
        if self.easy:
            rng = random.Random(f"easy speech {self.seed} {index}")
            utterance, voices, speech = self._speak(rng, sample_short_phrase(rng))
            room = sample_quiet_room(rng)
            return Spoken(utterance, voices, room, record(speech, room))
        rng = random.Random(f"speech {self.seed} {self.held_out} {index}")
        utterance, voices, speech = self._speak(rng, sample_utterance(rng, self.held_out))
        room = sample_room(rng)
        babble = self._babble(rng, len(speech)) if room.noise == "babble" else None
        return Spoken(utterance, voices, room, record(speech, room, babble))

    def _speak(self, rng: random.Random, utterance: Utterance) -> tuple[Utterance, tuple[Voice, ...], Tensor]:
        """An utterance in a clean recording, and who says each part of it."""
        voices = sample_voices(rng, utterance, self.held_out)
        sounds = []
        for part, voice in zip(utterance.parts, voices, strict=True):
            pause = torch.zeros(round(rng.uniform(*_PAUSE_S) * SAMPLE_RATE_HZ))
            playing_hz = sample_playing_hz(rng, self.held_out)
            sounds += [pause, resampled(say(part.spoken, spoken_for(voice, playing_hz)).samples, playing_hz)]
        return utterance, voices, torch.cat(sounds[1:])

    def _babble(self, rng: random.Random, length: int) -> Tensor:
        """What a few others of the same set say at the same time: [length]."""
        total = torch.zeros(length)
        for _ in range(_TALKERS):
            speech = self._speak(rng, sample_utterance(rng, self.held_out))[2]
            speech = speech / speech.square().mean().sqrt()
            total += speech.repeat(-(-length // len(speech)))[:length].roll(rng.randrange(length))
        return total


def sample_voices(rng: random.Random, utterance: Utterance, held_out: bool = False) -> tuple[Voice, ...]:
    """A random voice for each part; half of the time a new part has a new speaker."""
    voices, speaker = [], rng.getrandbits(64)
    for part in utterance.parts:
        voices.append(sample_voice(random.Random(speaker), find_language(part.language).espeak, held_out))
        if rng.random() < 0.5:
            speaker = rng.getrandbits(64)
    return tuple(voices)
