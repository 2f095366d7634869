"""Recordings of espeak-ng with all that the voice learns from them, kept in one file of the run's folder."""

import random
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from multimodal.assistant import load
from multimodal.languages import LANGUAGES, find_language
from tts.espeak import Reading, names
from tts.mel import HOP, SAMPLE_RATE_HZ
from tts.phones import PAUSE, Phone, phone_id, places_and_endings, timed, tokens_of

from ...training.loop import write_atomically
from ..speech.synthesiser import SYNTHESIS_RATE_HZ, Voice, resampled, say
from .pitch import pitch_of
from .states import states_of
from .texts import Line, sample_line

SPEAKERS = {"bass": "", "alto": "f2"}  # name: espeak-ng's variant
_RANGES_HZ = {"bass": (55.0, 220.0), "alto": (100.0, 400.0)}
RATE_WPM = 175  # what counts as an ordinary rate
RATES_WPM = (130, 240)
PITCHES = (40, 50, 60)
TRAINING, HELD_OUT = 9000, 240
LAST_PAUSE_S = 0.1
POWER_MEAN, POWER_SCALE = -2.4, 0.8  # of the base-10 logarithm of mean square

_CODES = [language.code for language in LANGUAGES]


def recordings(run: Path, held_out: bool = False, number: int | None = None) -> "Recordings":
    """The training or the held-out set, made once and then read from the run's folder."""
    path = run / "voice" / ("held-out.safetensors" if held_out else "training.safetensors")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(_record_all(held_out, number or (HELD_OUT if held_out else TRAINING)), path)
    return Recordings(load_file(path))


class Recordings:
    """Recordings by number; each field is stored end to end, with the places where recordings end."""

    def __init__(self, fields: dict[str, Tensor]):
        self._ends = {
            name.removesuffix(".ends"): value.tolist() for name, value in fields.items() if name.endswith(".ends")
        }
        self._fields = {name: fields[name] for name in self._ends}
        self.whole = {name: value for name, value in fields.items() if name.startswith("whole.")}

    def __len__(self) -> int:
        return len(self._ends["ids"])

    def length(self, number: int) -> int:
        """Frames of a recording."""
        ends = self._ends["pitch"]
        return ends[number] - (ends[number - 1] if number else 0)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """wave [F * HOP] int16; pitch and voiced [F]; ids, start_s, log_s and more [P]; states [T, D]."""
        return {
            name: self._fields[name][ends[number - 1] if number else 0 : ends[number]]
            for name, ends in self._ends.items()
        }


def record(line: Line, speaker: str, rate_wpm: int, pitch: int) -> dict[str, Tensor]:
    """A line as espeak-ng says it. Times are counted from the first phone."""
    voice = Voice(find_language(line.language).espeak, SPEAKERS[speaker], rate_wpm=rate_wpm, pitch=pitch)
    speech = say(line.read, voice)
    reading = Reading(
        names(line.read, voice.name),
        [(phoneme.time_s, phoneme.name) for phoneme in speech.phonemes],
        [(word.time_s, word.start) for word in speech.words],
        len(speech.samples) / SYNTHESIS_RATE_HZ,
    )
    phones = _with_last_pause(timed(reading))
    begun = phones[0].start_s
    phones = [replace(phone, start_s=phone.start_s - begun) for phone in phones]
    wave = resampled(speech.samples)[round(begun * SAMPLE_RATE_HZ) :]
    frames = int((phones[-1].start_s + phones[-1].duration_s) * SAMPLE_RATE_HZ / HOP)
    wave = F.pad(wave, (0, max(0, frames * HOP - len(wave))))[: frames * HOP]
    log_f0, voiced = pitch_of(wave, *_RANGES_HZ[speaker])
    places, endings = places_and_endings(phones, line.read)
    tokens_at = [round(phone.place * len(line.written) / max(1, len(line.read))) for phone in phones]
    return {
        "wave": (wave * 2**15).round().clamp(-(2**15), 2**15 - 1).to(torch.int16),
        "pitch": log_f0,
        "voiced": voiced,
        "ids": torch.tensor([phone_id(phone.ipa) for phone in phones], dtype=torch.int16),
        "place": torch.tensor(places),
        "ending": torch.tensor(endings),
        "at": torch.tensor([phone.place for phone in phones]) if line.read == line.written else torch.tensor(tokens_at),
        **_values(phones, wave, log_f0, voiced),
        "who": torch.tensor(
            [list(SPEAKERS).index(speaker), _CODES.index(line.language), rate_wpm, PITCHES.index(pitch)]
        ),
    }


def _with_last_pause(phones: list[Phone]) -> list[Phone]:
    """The last phone is a pause of LAST_PAUSE_S."""
    end = phones[-1].start_s + phones[-1].duration_s
    if phones[-1].ipa == PAUSE:
        return [*phones[:-1], replace(phones[-1], duration_s=LAST_PAUSE_S)]
    return [*phones, replace(phones[-1], ipa=PAUSE, start_s=end, duration_s=LAST_PAUSE_S)]


def _values(phones: list[Phone], wave: Tensor, log_f0: Tensor, voiced: Tensor) -> dict[str, Tensor]:
    """Of each phone: start, log seconds, mean log-F0 (of voiced frames if there are any), power, share voiced."""
    frames, energy = len(log_f0), wave.square()
    rows = []
    for phone in phones:
        first = min(frames - 1, int(phone.start_s * SAMPLE_RATE_HZ / HOP))
        last = max(first + 1, min(frames, round((phone.start_s + phone.duration_s) * SAMPLE_RATE_HZ / HOP)))
        pitches, is_voiced = log_f0[first:last], voiced[first:last]
        mean = pitches[is_voiced].mean() if is_voiced.any() else pitches.mean()
        samples = [round(at * SAMPLE_RATE_HZ) for at in (phone.start_s, phone.start_s + phone.duration_s)]
        power = energy[samples[0] : max(samples[1], samples[0] + 1)].mean() if samples[0] < len(energy) else energy[-1]
        loud = (torch.log10(power + 1e-6) - POWER_MEAN) / POWER_SCALE
        rows.append([phone.start_s, phone.duration_s, mean.item(), loud.item(), is_voiced.float().mean().item()])
    start, duration, pitch, power, share = torch.tensor(rows).T
    return {"start_s": start, "log_s": duration.log(), "log_f0": pitch, "power": power, "share": share}


def _record_all(held_out: bool, number: int) -> dict[str, Tensor]:
    rng = random.Random(f"voice recordings {held_out}")
    rows, lines = [], []
    bar = tqdm(total=number, desc="recordings", mininterval=5.0)
    while len(rows) < number:
        line = sample_line(rng, held_out)
        speaker, pitch = rng.choice(list(SPEAKERS)), rng.choice(PITCHES)
        rate = RATE_WPM if rng.random() < 0.4 else rng.randint(*RATES_WPM)
        if len(line.read) > 150:
            continue
        rows.append(record(line, speaker, rate, pitch))
        lines.append(line)
        bar.update()
    assistant = load("nano")
    for first in range(0, number, 64):
        states = states_of(
            assistant.model, assistant.processor.tokenizer, [one.written for one in lines[first : first + 64]]
        )
        for row, (ends, hidden) in zip(rows[first : first + 64], states, strict=True):
            row["states"] = hidden.half().clone()
            at = [token + 1 for token in _last_tokens(row.pop("at").tolist(), ends)]
            row["seen"] = torch.tensor(at).clamp(max=len(ends))
    fields = {}
    for name in rows[0]:
        fields[name] = torch.cat([row[name] for row in rows])
        fields[f"{name}.ends"] = torch.tensor([len(row[name]) for row in rows]).cumsum(0)
    return fields | {"whole.pitch": _mean_pitches(rows)}


def _last_tokens(places: list[int], ends: list[int]) -> list[int]:
    """For each phone the last token of its word: that before the one in which the next word starts."""
    starts = sorted(set(places))
    after = dict(zip(starts, [*starts[1:], ends[-1] + 1], strict=True))
    first = _tokens_of_places(places, ends)
    last = _tokens_of_places([after[place] - 1 for place in places], ends)
    return [max(pair) for pair in zip(first, last, strict=True)]


def _tokens_of_places(places: list[int], ends: list[int]) -> list[int]:
    return tokens_of([Phone("", 0, place, 0.0, 0.0) for place in places], ends)


def _mean_pitches(rows: list[dict[str, Tensor]]) -> Tensor:
    """Mean log-F0 of voiced frames by speaker and pitch: [speakers, pitches]."""
    means = torch.zeros(len(SPEAKERS), len(PITCHES))
    for speaker in range(len(SPEAKERS)):
        for pitch in range(len(PITCHES)):
            mine = [row["pitch"][row["voiced"]] for row in rows if row["who"][0] == speaker and row["who"][3] == pitch]
            means[speaker, pitch] = torch.cat(mine).mean() if mine else 5.0
    return means
