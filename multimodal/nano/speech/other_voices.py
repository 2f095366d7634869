"""English voices of other synthesisers than espeak-ng: nano's own world in throats that no training came near.

They are programs of the system, each behind its command line: flite, festival (`text2wave`) and pico
(`pico2wave`); on Debian, `apt-get install flite festival festvox-us-slt-hts`. flite's awb_time, which knows the
words of a clock only, is left out.
"""

import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jiwer
from rich.console import Console
from rich.progress import track
from torch.nn.functional import pad

from speech.audio import open_sound

from ...assistant import Assistant
from ...transcription import transcribe
from .held_out import Sound, recorded
from .synthesiser import SAMPLE_RATE_HZ
from .utterances import Utterance, sample_utterance, scored

_LIMIT_S = 60  # for a sentence; each takes a second or less
_SILENCE = round(0.2 * SAMPLE_RATE_HZ)  # around what is said
_KINDS = ("phrase", "question")  # half of the utterances are of each


def installed_voices() -> dict[str, Callable[[str], Sound]]:
    """Each voice that is installed, and what reads a text aloud in it.

    Raises ValueError if none is.
    """
    voices: dict[str, Callable[[str], Sound]] = {}
    if shutil.which("flite"):
        listed = _output(["flite", "-lv"]).partition(":")[2].split()
        voices |= {f"flite {one}": partial(_flite, one) for one in listed if one != "awb_time"}
    if shutil.which("festival") and shutil.which("text2wave"):
        listed = _output(["festival", "-b", "(print (voice.list))"]).strip().strip("()").split()
        voices |= {f"festival {one}": partial(_festival, one) for one in sorted(listed) if _is_english(one)}
    if shutil.which("pico2wave"):
        voices |= {f"pico {one}": partial(_pico, one) for one in ("en-US", "en-GB")}
    if not voices:
        raise ValueError(
            "found none of the programs flite, festival and pico2wave; accepted: at least one of them installed, "
            "for example by apt-get install flite"
        )
    return voices


def _is_english(festival_voice: str) -> bool:
    return festival_voice.startswith(("cmu_us_", "kal_", "ked_", "rab_", "don_"))


def _flite(voice: str, text: str) -> Sound:
    return _sound_of(lambda file: ["flite", "-voice", voice, "-t", text, "-o", str(file)])


def _festival(voice: str, text: str) -> Sound:
    return _sound_of(lambda file: ["text2wave", "-eval", f"(voice_{voice})", "-o", str(file)], text)


def _pico(language: str, text: str) -> Sound:
    return _sound_of(lambda file: ["pico2wave", "-l", language, "-w", str(file), text])


def _sound_of(command: Callable[[Path], list[str]], text: str | None = None) -> Sound:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "said.wav"
        _output(command(file), text)
        samples = open_sound(file, SAMPLE_RATE_HZ).samples
    return pad(samples, (_SILENCE, _SILENCE)), SAMPLE_RATE_HZ


def _output(command: list[str], text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, check=True, text=True, timeout=_LIMIT_S)
    return done.stdout


def english_utterances(number: int, seed: int = 0) -> list[Utterance]:
    """So many different ones of nano's world that training never says: lists, and questions about pictures."""
    rng, drawn = random.Random(f"other voices {seed}"), {}
    while len(drawn) < number:
        one = sample_utterance(rng, held_out=True, kind=_KINDS[len(drawn) % len(_KINDS)])
        if one.language == "en":
            drawn[one.text] = one
    return list(drawn.values())


def measure_voices(assistant: Assistant, number: int) -> dict[str, dict[str, Any]]:
    """Words recognised of each voice, and beside them of the same said by held-out voices of espeak-ng."""
    utterances = english_utterances(number)
    voices = {"espeak-ng, held out": recorded} | {
        name: lambda one, say=say: say(one.text) for name, say in installed_voices().items()
    }
    return {name: measure_voice(assistant, utterances, sound_of, name) for name, sound_of in voices.items()}


def measure_voice(
    assistant: Assistant, utterances: Sequence[Utterance], sound_of: Callable[[Utterance], Sound], name: str
) -> dict[str, Any]:
    """Share of the words said that are written down, and the error rates of words and characters."""
    sounds = track(map(sound_of, utterances), name, total=len(utterances), console=Console(stderr=True))
    found = transcribe(assistant.model, assistant.processor, sounds, "English")
    heard = [scored(" ".join(segment.text for segment in segments), "en") for segments in found]
    told = [scored(one.text, "en") for one in utterances]
    words = jiwer.process_words(told, heard)
    recognised = words.hits / (words.hits + words.substitutions + words.deletions)
    return {"recognised": recognised, "wer": words.wer, "cer": jiwer.cer(told, heard), "utterances": len(told)}
