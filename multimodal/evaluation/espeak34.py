"""`espeak34`: held-out speech in 34 languages that the harness synthesises itself, offline, the same in every run.

Phrases of nano's world (`multimodal.nano.speech`) in combinations, voices, rates and pitches that its ears were
never trained on. The room is dry and quiet, or, as `espeak34-noise10`, has white or pink noise 10 dB below the
same speech, so that the two are compared pair by pair. One synthesiser speaks them all: what a model gets
right here it need not get right of people.

A sound is a FLAC file in the cache. Its name tells all that made it, and it is there whole or not at all: it is
used again if it is there, and several processes make a share each.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import soundfile
import torch
from tqdm import tqdm

from multimodal.languages import LANGUAGES, Language, find_language

from ..nano.speech.held_out import spoken_question, translations
from ..nano.speech.rooms import Room, record
from ..nano.speech.spoken_set import sample_voices
from ..nano.speech.synthesiser import SAMPLE_RATE_HZ, Voice, resampled, say
from ..nano.speech.utterances import Utterance, sample_utterance
from ..nano.text.phrases import say_all
from .files import write_whole
from .items import Item
from .processes import Processes

UTTERANCES_A_LANGUAGE = 60
ENGLISH = find_language("English")
_SOUNDS = "sounds"  # the folder's folder
_SILENCE_S, _PAUSE_S, _PEAK, _NOISE_DB = 0.2, 0.15, 0.5, 10.0


@dataclass(frozen=True)
class Recording:
    """All that makes a sound: what is said, who says each part of it, and where. Equal ones sound equal."""

    utterance: Utterance
    voices: tuple[Voice, ...]
    room: Room

    def file(self, folder: Path) -> Path:
        """The sound as a file in the folder, made if it is not there."""
        made_of = f"{[*zip(self.utterance.parts, self.voices, strict=True)]} {self.room} {version('espeakng-loader')}"
        path = folder / f"{sha256(made_of.encode()).hexdigest()[:16]}.flac"
        if not path.exists():
            sound = self._sound().numpy()
            write_whole(path, lambda part: soundfile.write(part, sound, SAMPLE_RATE_HZ, format="FLAC"))
        return path

    def _sound(self) -> torch.Tensor:
        pause = torch.zeros(round(_PAUSE_S * SAMPLE_RATE_HZ))
        parts = []
        for part, voice in zip(self.utterance.parts, self.voices, strict=True):
            parts += [pause, resampled(say(part.spoken, voice).samples)]
        return record(torch.cat(parts[1:]), self.room)


def recording(utterance: Utterance, noisy: bool, seed: str) -> Recording:
    """The utterance by a random held-out voice; with noise or without, the voice is the same."""
    rng = random.Random(f"espeak34 voice {seed}")
    voices = sample_voices(rng, utterance, held_out=True)
    room = Room(_SILENCE_S, _SILENCE_S, None, 1.0, "none", _NOISE_DB, None, False, _PEAK, rng.getrandbits(32))
    return Recording(utterance, voices, replace(room, noise=rng.choice(("white", "pink"))) if noisy else room)


def utterances(kind: str, languages: Sequence[Language], number: int, seed: int) -> dict[str, list[Utterance]]:
    """Different held-out utterances of a kind, so many for each language (by its code) that it begins in.

    They are drawn from one stream, so that neither the languages asked for nor their number change any of them.
    """
    rng = random.Random(f"espeak34 {seed} {kind}")
    found: dict[str, dict[str, Utterance]] = {language.code: {} for language in languages}
    while any(len(some) < number for some in found.values()):
        one = sample_utterance(rng, held_out=True, kind=kind)
        some = found.get(one.language)
        if some is not None and len(some) < number:
            some.setdefault(one.text, one)
    return {code: list(some.values()) for code, some in found.items()}


def speech_items(
    task: str,
    languages: Sequence[Language],
    limit: int | None,
    seed: int,
    folder: Path,
    noisy: bool = False,
    processes: Processes = Processes(),  # noqa: B008 (frozen)
) -> list[Item]:
    """The items of a speech task, of each language in turn; no language named means all that the task has.

    Processes that ask for the same items together each make a share of the sounds.
    """
    number = UTTERANCES_A_LANGUAGE if limit is None else limit
    make = {
        "asr": _asr,
        "ast-into-english": _into_english,
        "ast-from-english": _from_english,
        "code-switch": _code_switch,
        "spoken-qa": _spoken_questions,
    }[task]
    accepted = languages_of(task)
    if missing := [language.name for language in languages if language not in accepted]:
        names = ", ".join(language.name for language in accepted)
        raise ValueError(f"espeak34 has no {task} for {', '.join(missing)}; accepted: {names}")
    plan = list(make(languages or accepted, number, seed, noisy, folder))
    mine = plan[processes.rank :: processes.count]
    for _, sound in tqdm(mine, f"{task} of espeak34", delay=1, unit="sound", disable=not processes.leads):
        sound.file(folder / _SOUNDS)
    processes.wait()
    return [_with_sound(item, sound, folder) for item, sound in plan]


def languages_of(task: str) -> tuple[Language, ...]:
    """The languages that a speech task has here: a translation has all but English, questions are English."""
    if task == "spoken-qa":
        return (ENGLISH,)
    return tuple(one for one in LANGUAGES if one is not ENGLISH or not task.startswith("ast"))


_Planned = Iterator[tuple[Item, Recording]]


def _asr(languages: Sequence[Language], number: int, seed: int, noisy: bool, _: Path) -> _Planned:
    for code, some in utterances("phrase", languages, number, seed).items():
        for at, one in enumerate(some):
            item = Item(f"{code}-{at:04d}", "asr", find_language(code).name, None, (one.text,))
            yield item, recording(one, noisy, f"{seed} phrase {code} {at}")


def _into_english(languages: Sequence[Language], number: int, seed: int, noisy: bool, folder: Path) -> _Planned:
    """What `asr` transcribes, to be said in English."""
    for item, sound in _asr(languages, number, seed, noisy, folder):
        extra = {"transcript": sound.utterance.text}
        yield replace(item, task="ast-into-english", references=_right(sound.utterance, "en"), extra=extra), sound


def _from_english(languages: Sequence[Language], number: int, seed: int, noisy: bool, folder: Path) -> _Planned:
    """The English utterances of `asr`, to be said in each language: the same sentences in all of them."""
    english = list(_asr([ENGLISH], number, seed, noisy, folder))
    for language in languages:
        for item, sound in english:
            yield (
                Item(
                    id=f"{item.id}-{language.code}",
                    task="ast-from-english",
                    language=language.name,
                    prompt=None,
                    references=_right(sound.utterance, language.code),
                    extra={"transcript": sound.utterance.text},
                ),
                sound,
            )


def _right(utterance: Utterance, code: str) -> tuple[str, ...]:
    """An utterance in a language: as it was meant, then as it sounds too (Finnish says China and Chinese alike)."""
    meant = say_all(utterance.items, code)
    return (meant, *sorted(translations(utterance, code) - {meant}))


def _code_switch(languages: Sequence[Language], number: int, seed: int, noisy: bool, _: Path) -> _Planned:
    for code, some in utterances("mixed", languages, number, seed).items():
        for at, one in enumerate(some):
            spoken = [find_language(part.language).name for part in one.parts]
            item = Item(f"{code}-{at:04d}", "code-switch", spoken[0], None, (one.text,), extra={"languages": spoken})
            yield item, recording(one, noisy, f"{seed} mixed {code} {at}")


def _spoken_questions(_: Sequence[Language], number: int, seed: int, noisy: bool, folder: Path) -> _Planned:
    """The written questions about held-out pictures, asked aloud."""
    from .nano_sets import picture_items

    for item in picture_items(number, seed, folder):
        asked = spoken_question(item.prompt)
        extra = {**item.extra, "transcript": asked.text}
        spoken = replace(item, task="spoken-qa", prompt=None, extra=extra)
        yield spoken, recording(asked, noisy, f"{seed} question {item.id}")


def _with_sound(item: Item, sound: Recording, folder: Path) -> Item:
    path = sound.file(folder / _SOUNDS)
    return replace(item, audio=path, extra={**item.extra, "duration_s": soundfile.info(path).duration})
