"""Who speaks: voices for training and voices that are held out.

The two sets share no variant of espeak-ng, no rate and no pitch. Variants that are clearly made from one
another stand on one side only, and those that are meant to sound like a robot, or that clip, on neither.
All of this is our choice. Variants of one synthesiser are no hard test: what is held out shows that ears
have not learnt voices by heart, not that they understand people.
"""

import random

from .synthesiser import Voice

TRAINING_VARIANTS = tuple(
    """m1 m2 m3 m4 m6 m7 Andy Denis Michael pablo boris adam edward klatt klatt2 klatt4 max victor
    f1 f2 f3 f5 Andrea Alicia Annie anika linda belinda grandma""".split()
)
HELD_OUT_VARIANTS = tuple("m5 m8 Lee david f4 aunty steph steph2".split())
TRAINING_RATES_WPM, HELD_OUT_RATES_WPM = ((130, 200),), ((105, 125), (205, 230))
TRAINING_PITCHES, HELD_OUT_PITCHES = ((25, 70),), ((12, 22), (73, 85))
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


def _within(rng: random.Random, ranges: tuple[tuple[int, int], ...]) -> int:
    return rng.randint(*rng.choice(ranges))
