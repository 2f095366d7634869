"""What nano's ears are measured on: what training has never said, in voices, rates and pitches that it never had.

Each utterance is a pure function of its place in the set, and its sound one of the utterance: the same voice
in the same room, without added noise or with noise of a given loudness.
"""

import random
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import product

import torch
from torch import Tensor

from multimodal.languages import LANGUAGES

from ..text.phrases import KINDS, Item, phrase_table, say, say_all
from .rooms import NOISES, record, sample_room
from .spoken_set import sample_voices
from .synthesiser import SAMPLE_RATE_HZ, resampled
from .synthesiser import say as read_aloud
from .utterances import Utterance, in_english, sample_utterance, scored

_PAUSE_S = (0.05, 0.3)  # between two parts of an utterance
_TALKERS = 3  # in a babble

Sound = tuple[Tensor, int]  # samples [T] and their rate in Hz


def held_out_phrases(per_language: int, seed: int = 0) -> list[Utterance]:
    """So many different phrases in each language, language after language; a small set is part of a large one."""
    rng = random.Random(f"held-out phrases {seed}")
    drawn: dict[str, dict[str, Utterance]] = {language.code: {} for language in LANGUAGES}
    while any(len(of_language) < per_language for of_language in drawn.values()):
        one = sample_utterance(rng, held_out=True, kind="phrase")
        drawn[one.language].setdefault(one.text, one)
    return [one for of_language in drawn.values() for one in list(of_language.values())[:per_language]]


def held_out_mixed(number: int, seed: int = 0) -> list[Utterance]:
    """So many different lists that change their language on the way, sorted by the language that they begin in."""
    rng, drawn = random.Random(f"held-out mixed {seed}"), {}
    while len(drawn) < number:
        one = sample_utterance(rng, held_out=True, kind="mixed")
        drawn[one.text] = one
    return sorted(drawn.values(), key=lambda one: one.language)


def spoken_question(text: str) -> Utterance:
    """A written question about a picture as it is asked aloud: in the American spelling that ears were taught."""
    return in_english(text, "question")


def recorded(utterance: Utterance, snr_db: float | None = None) -> Sound:
    """The utterance in a held-out voice and a random room: its echoes, its telephone, its levels.

    snr_db: speech over a noise that is white, pink or of other talkers; None: without added noise.
    """
    rng = random.Random(f"recorded {utterance.language} {utterance.text}")
    speech, room, noise = _speech(utterance, rng), sample_room(rng), rng.choice(NOISES[1:])
    if snr_db is None:
        return record(speech, replace(room, noise="none")), SAMPLE_RATE_HZ
    babble = _babble(rng, len(speech)) if noise == "babble" else None
    return record(speech, replace(room, noise=noise, snr_db=snr_db), babble), SAMPLE_RATE_HZ


def noise_alone(utterance: Utterance) -> Sound:
    """White noise as long as the utterance: what a model says to it, it says without having heard anything."""
    samples, rate = recorded(utterance)
    generator = torch.Generator().manual_seed(len(samples))
    return (0.1 * torch.randn(len(samples), generator=generator)).clamp(-1, 1), rate


def _speech(utterance: Utterance, rng: random.Random) -> Tensor:
    voices, sounds = sample_voices(rng, utterance, held_out=True), []
    for part, voice in zip(utterance.parts, voices, strict=True):
        pause = torch.zeros(round(rng.uniform(*_PAUSE_S) * SAMPLE_RATE_HZ))
        sounds += [pause, resampled(read_aloud(part.spoken, voice).samples)]
    return torch.cat(sounds[1:])


def _babble(rng: random.Random, length: int) -> Tensor:
    """What a few other held-out voices say at the same time: [length]."""
    total = torch.zeros(length)
    for _ in range(_TALKERS):
        speech = _speech(sample_utterance(rng, held_out=True), rng)
        speech = speech / speech.square().mean().sqrt()
        total += speech.repeat(-(-length // len(speech)))[:length].roll(rng.randrange(length))
    return total


def translations(utterance: Utterance, into: str) -> set[str]:
    """The right translations of a phrase into a language (its code): more than one where names sound alike.

    Finnish says China and Chinese alike, and no listener can tell which was meant.
    """
    meant = [_alike(utterance.language).get(_sound(item, utterance.language), (item,)) for item in utterance.items]
    return {say_all(items, into) for items in product(*meant)}


@cache
def _alike(code: str) -> dict[str, tuple[Item, ...]]:
    """The names of a language by what is heard of them."""
    heard: dict[str, tuple[Item, ...]] = {}
    for item in _names():
        heard[_sound(item, code)] = (*heard.get(_sound(item, code), ()), item)
    return heard


def _names() -> Iterable[Item]:
    return (Item(kind, at) for kind in KINDS for at in range(len(phrase_table()["en"][kind])))


def _sound(item: Item, code: str) -> str:
    return scored(say(item, code), code)
