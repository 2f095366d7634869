"""Who speaks: voices for training and voices that are held out.

The two sets share no variant of espeak-ng, no rate and no pitch. Variants that are clearly made from one
another stand on one side only, and those that are meant to sound like a robot, that clip, or that no throat
could make (the third formant of Lee lies below its first) on neither.
Training voices are also played slower or faster than they speak, which makes throats of other lengths of
them; without that, letter errors were 8% in training voices and 21% in the variants held out. All of this
is our choice. Variants of one synthesiser are no hard test: what is held out shows that ears have not
learnt voices by heart, not that they understand people.
"""

import random
from dataclasses import replace

from .synthesiser import SYNTHESIS_RATE_HZ, Voice

TRAINING_VARIANTS = tuple(
    """m1 m2 m3 m4 m6 m7 Andy Denis Michael pablo boris adam edward klatt klatt2 klatt4 max victor
    f1 f2 f3 f5 Andrea Alicia Annie anika linda belinda grandma Alex AnxiousAndy Diogo Gene Gene2 Henrique Hugo
    Mario Mike Reed RicishayMax benjamin caleb edward2 grandpa gustave ian iven2 iven3 iven4 john kaukovalta
    klatt3 klatt5 klatt6 marcelo michel miguel mike2 norbert pedro quincy rob robert sandro shelby travis
    zac""".split()
)
HELD_OUT_VARIANTS = tuple("m5 m8 david f4 aunty steph steph2".split())
# What is held out lies between rates that are trained, as the rates of people do.
TRAINING_RATES_WPM, HELD_OUT_RATES_WPM = ((100, 104), (126, 204), (231, 250)), ((105, 125), (205, 230))
TRAINING_PITCHES, HELD_OUT_PITCHES = ((25, 70),), ((12, 22), (73, 85))
# Played at this rate, a voice's formants and pitch move by 0.82 to 1.23. Steps of 400 keep resampling quick.
PLAYED_AT_HZ = range(18_000, 27_201, 400)
_PITCH_RANGES = (25, 75)
_VOLUMES = (40, 75)


def sample_voice(rng: random.Random, language: str, held_out: bool = False) -> Voice:
    """A random voice of its set; `language` is a voice of espeak-ng."""
    return Voice(
        language=language,
        variant=rng.choice(HELD_OUT_VARIANTS if held_out else TRAINING_VARIANTS),
        rate_wpm=_within(rng, HELD_OUT_RATES_WPM if held_out else TRAINING_RATES_WPM),
        pitch=_within(rng, HELD_OUT_PITCHES if held_out else TRAINING_PITCHES),
        pitch_range=rng.randint(*_PITCH_RANGES),
        volume=rng.randint(*_VOLUMES),
    )


def sample_playing_hz(rng: random.Random, held_out: bool = False) -> int:
    """The rate at which what a voice says is played: for half of the training voices not its own."""
    return rng.choice(PLAYED_AT_HZ) if not held_out and rng.random() < 0.5 else SYNTHESIS_RATE_HZ


def spoken_for(voice: Voice, playing_hz: int) -> Voice:
    """The voice that speaks as much slower or faster as being played at that rate makes up for."""
    return replace(voice, rate_wpm=round(voice.rate_wpm * SYNTHESIS_RATE_HZ / playing_hz))


def _within(rng: random.Random, ranges: tuple[tuple[int, int], ...]) -> int:
    return rng.randint(*rng.choice(ranges))
