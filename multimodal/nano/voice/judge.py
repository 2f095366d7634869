"""An outside listener: pocketsphinx with a grammar of what nano answers in English.

It has learnt from people, not from espeak-ng or from us. With a grammar it tells whether each word of an
answer can be made out; it saturates, and so cannot rank good voices.
"""

import random
import re
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from ..scenes import COLOURS, NUMBERS, SHAPES, SIZES, describe, sample_scene
from ..speech.utterances import scored
from ..text.clips import DIRECTIONS, ask_about_clip, narrate, sample_clip
from ..text.small_talk import facts

SAMPLE_RATE_HZ = 16_000
_PAUSE_S, _DITHER = 0.3, 1e-3  # the recogniser wants quiet before and after, and never exact zeros
_ROWS = ("top", "bottom", "left", "right")


@cache
def _decoder():
    from pocketsphinx import Decoder

    with tempfile.TemporaryDirectory() as folder:
        grammar = Path(folder) / "answers.jsgf"
        grammar.write_text(_grammar())
        return Decoder(jsgf=str(grammar), samprate=SAMPLE_RATE_HZ, loglevel="FATAL")


@cache
def _known_words() -> frozenset[str]:
    from pocketsphinx import get_model_path

    lines = Path(get_model_path("en-us/cmudict-en-us.dict")).read_text("utf-8").splitlines()
    return frozenset(line.partition(" ")[0] for line in lines)


def _can_be_heard(text: str) -> bool:
    return all(word in _known_words() for word in text.split())


@cache
def _short_answers() -> tuple[str, ...]:
    """Those of small talk that are words the recogniser knows."""
    answers = {scored(fact.answer, "en") for fact in facts()} | set(NUMBERS)
    return tuple(sorted(answer for answer in answers if answer and _can_be_heard(answer)))


def _grammar() -> str:
    """Descriptions and tales of one or two things, what one thing does, and short answers."""

    def one_of(words) -> str:
        return "(" + " | ".join(words) + ")"

    sides = [f"on the {side}" for side in ("left", "right")] + ["in the center"]
    places = sides + [f"at the {row}" for row in ("top", "bottom")]
    places += [f"at the {row} {side}" for row in ("top", "bottom") for side in ("left", "right")]
    deeds = [f"moves {way}" for way in DIRECTIONS] + ["appears", "vanishes", "turns", "grows", "shrinks", "stays"]
    return f"""#JSGF V1.0;
grammar answers;
<colour> = {one_of(COLOURS)};
<shape> = {one_of(SHAPES)};
<name> = {one_of(("an " if colour[0] in "aeiou" else "a ") + colour for colour in COLOURS)};
<thing> = a {one_of(SIZES)} <colour> <shape> {one_of(places)};
<deed> = {one_of(deeds)} | becomes <colour>;
<actor> = <name> <shape> <deed>;
<scene> = <thing> [<thing>];
<tale> = <actor> [(then | and) <actor>];
public <answer> = <scene> | <tale> | the <colour> <shape> <deed> | {one_of(_short_answers())};
"""


def answers(number: int, seed: int = 0) -> list[str]:
    """Different English answers of nano's that the grammar covers, four fifths of them sentences."""
    rng, chosen = random.Random(f"answers to be judged {seed}"), {}
    while len(chosen) < number:
        kind = rng.choice(("scene", "tale", "tale", "deed", "short"))
        if kind == "scene":
            scene = sample_scene(rng, max_things=2)
            text = "" if scene.inscription else describe(scene)
        elif kind == "short":
            text = rng.choice(_short_answers())
        else:
            clip = sample_clip(rng, 2)
            asked = [one.answer for one in ask_about_clip(clip, rng, 6) if one.kind == "order"]
            text = narrate(clip) if kind == "tale" else max(asked, key=len, default="")
        if text and _can_be_heard(scored(text, "en")):
            chosen[text] = None
    return list(chosen)


def hear(wave: Tensor) -> str:
    """wave [n] at 16 kHz -> the words that are made out, "" if none."""
    generator = torch.Generator().manual_seed(0)
    quiet = torch.zeros(round(_PAUSE_S * SAMPLE_RATE_HZ))
    sound = torch.cat([quiet, 0.5 * wave / wave.abs().max().clamp(min=1e-4), quiet])
    sound = sound + _DITHER * torch.randn(len(sound), generator=generator)
    decoder = _decoder()
    decoder.reinit_feat()  # forgets the noise of what it heard before, which would change its scores
    decoder.start_utt()
    decoder.process_raw((sound * 2**15).clamp(-(2**15), 2**15 - 1).short().numpy().tobytes(), full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return re.sub(r"\(\d+\)", "", found.hypstr) if found else ""
