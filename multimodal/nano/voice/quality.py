"""How well nano's voice speaks: can it be made out, is its prosody right, are its seams smooth, is it quick.

    python -m multimodal.nano.voice.quality [--sentences 160] [--run runs/nano] [--json measured.json]

Words are judged by pocketsphinx with a grammar of nano's English answers, beside espeak-ng's own sound of the
same sentences. Prosody is compared with a run's four variants on held-out texts, each model fed what it told
itself: with and without the core's states, streaming and seeing all phones.
"""

import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import jiwer
import torch
import typer
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file
from torch import Tensor

from multimodal.assistant import NANO, load
from tts.head import SpeechHead, load_head
from tts.prosody import Linguistic, Prosody, Speaking

from ..speech.synthesiser import Voice, resampled, say
from ..speech.utterances import scored
from ..stages.voice import VoiceProsodyStage, prosody_batch
from .judge import answers, hear
from .recordings import SPEAKERS
from .states import states_of

Say = Callable[[str, str], tuple[list[Tensor], list[float]]]  # (text, speaker) -> pieces of sound, seconds each took
_RESAMPLES = 2000
_FLUX_SIZE = 256  # samples of a window: 16 ms


def speaking(head: SpeechHead) -> Say:
    """Says a text token by token, with the core's states, as an answer is said while it is written."""
    nano = load("nano")

    def speak(text: str, speaker: str) -> tuple[list[Tensor], list[float]]:
        ends, states = states_of(nano.model, nano.processor.tokenizer, [text])[0]
        stream, begun, pieces, seconds = head.start(speaker=speaker), 0, [], []
        for end, state in zip([*ends, None], [*states, None], strict=True):
            before = time.perf_counter()
            pieces += stream.flush() if end is None else stream.push([text[begun:end]], state[None])
            seconds.append(time.perf_counter() - before)
            begun = end
        return pieces, seconds

    return speak


def intelligibility(speak: Say, sentences: int) -> dict[str, Any]:
    """Word error rates of ours and of espeak-ng's sound, with 95% intervals over sentences; half for each speaker."""
    rows = []
    for number, text in enumerate(track(answers(sentences), "listening", console=Console(stderr=True))):
        speaker = list(SPEAKERS)[number % len(SPEAKERS)]
        ours = torch.cat(speak(text, speaker)[0])
        theirs = resampled(say(text, Voice("en-us", SPEAKERS[speaker])).samples)
        wanted = scored(text, "en")
        wrong = [_word_errors(wanted, hear(wave)) for wave in (ours, theirs)]
        rows.append((len(wanted.split()), *wrong))
    words, ours, theirs = torch.tensor(rows, dtype=torch.float64).T
    return {
        "sentences": sentences,
        "word errors": _interval(lambda at: ours[at].sum() / words[at].sum(), len(rows)),
        "of espeak-ng": _interval(lambda at: theirs[at].sum() / words[at].sum(), len(rows)),
    }


def _word_errors(wanted: str, heard: str) -> int:
    counts = jiwer.process_words(wanted, heard)
    return counts.substitutions + counts.deletions + counts.insertions


def _interval(figure: Callable[[Tensor], Tensor], number: int) -> list[float]:
    """The figure, and the bounds of its 95% bootstrap interval."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(number, (_RESAMPLES, number), generator=generator)
    values = torch.stack([figure(at) for at in drawn]).sort().values
    bounds = (values[int(0.025 * _RESAMPLES)], values[int(0.975 * _RESAMPLES) - 1])
    return [round(float(value), 5) for value in (figure(torch.arange(number)), *bounds)]


def _mean_interval(values: Tensor) -> list[float]:
    return _interval(lambda rows: values[rows].mean(), len(values))


VARIANTS = {
    "states, streaming": dict(with_states=True, streaming=True),
    "no states, streaming": dict(with_states=False, streaming=True),
    "states, whole": dict(with_states=True, streaming=False),
    "no states, whole": dict(with_states=False, streaming=False),
}


def prosody(run: Path) -> dict[str, Any]:
    """Mean errors on held-out texts by variant, and by how much each of the others is worse than the first."""
    errors = {name: _errors_of(run, **variant) for name, variant in VARIANTS.items()}
    first, *others = errors
    worse = {f"{name}, less {first}": errors[name] - errors[first] for name in others}
    return {
        what: {name: _mean_interval(values[:, at]) for name, values in (errors | worse).items()}
        for at, what in enumerate(("duration", "pitch"))
    }


def _errors_of(run: Path, **variant: bool) -> Tensor:
    """Mean errors [texts, 2] of log seconds and log-F0 of a variant on each held-out text."""
    stage = VoiceProsodyStage(run, **variant)
    stage.model.load_state_dict(load_file(run / stage.name / "final.safetensors"))
    model, rows = stage.model.eval(), []
    size = 24
    for first in track(range(0, len(stage.held_out), size), stage.name, console=Console(stderr=True)):
        batch = prosody_batch(stage.held_out, range(first, min(first + size, len(stage.held_out))))
        wrong = (told_alone(model, batch) - batch["values"]).abs() * batch["weights"]
        rows.append(wrong.sum(1)[:, :2] / batch["weights"].sum(1)[:, :2])
    return torch.cat(rows)


@torch.no_grad()
def told_alone(model: Prosody, batch: dict[str, Tensor]) -> Tensor:
    """What a model tells [B, P, 3] when it is fed what it told itself, phone by phone."""
    text = Linguistic(batch["ids"], batch["place"], batch["ending"])
    how = Speaking(batch["speaker"], batch["language"], batch["log_rate"])
    more = () if model.states is None else (batch["states"], batch["seen"])
    told = torch.zeros_like(batch["values"])
    for phone in range(told.shape[1] + 1):  # one more: pitch and power of the last come a step later
        new = model(text, told, how, *more)
        told[:, : phone + 1] = new[:, : phone + 1]
    return told


def seams(speak: Say, sentences: int) -> dict[str, float]:
    """Spectral flux where pieces meet, beside that everywhere: a click would stand out."""
    at_seams, elsewhere = [], []
    for text in answers(sentences, seed=1):
        pieces = [piece for piece in speak(text, next(iter(SPEAKERS)))[0] if len(piece)]
        flux = _flux(torch.cat(pieces))
        joins = torch.tensor([len(piece) for piece in pieces]).cumsum(0)[:-1]
        where = (joins - _FLUX_SIZE) // (_FLUX_SIZE // 4)
        near = (where[:, None] + torch.arange(4)).flatten().clamp(0, len(flux) - 1)
        apart = torch.ones(len(flux), dtype=torch.bool)
        apart[near] = False
        at_seams.append(flux[near])
        elsewhere.append(flux[apart])
    at_seams, elsewhere = torch.cat(at_seams), torch.cat(elsewhere)
    names = ("median", "99 of 100", "largest")
    values = [(x.median(), x.quantile(0.99), x.max()) for x in (at_seams, elsewhere)]
    return {
        f"{where}, {name}": round(float(value), 4)
        for where, of in zip(("at seams", "elsewhere"), values, strict=True)
        for name, value in zip(names, of, strict=True)
    }


def _flux(wave: Tensor) -> Tensor:
    """Rise of the magnitude spectrum from window to window."""
    window = torch.hann_window(_FLUX_SIZE)
    spectrum = torch.stft(wave, _FLUX_SIZE, _FLUX_SIZE // 4, window=window, center=False, return_complex=True).abs()
    return spectrum.diff(dim=1).clamp(min=0).sum(0)


def speed(speak: Say, sentences: int) -> dict[str, float]:
    """Of the voice alone, the core's time not counted: seconds until the first sound, and for a second of sound."""
    speak("a red circle", next(iter(SPEAKERS)))
    firsts, words, spent, sound = [], [], 0.0, 0
    for text in random.Random(0).sample([one for one in answers(4 * sentences) if len(one.split()) > 5], sentences):
        pieces, seconds = speak(text, next(iter(SPEAKERS)))
        first = next(at for at, piece in enumerate(pieces) if len(piece))
        firsts.append(sum(seconds[: first + 1]))
        words.append(first)
        spent, sound = spent + sum(seconds), sound + sum(map(len, pieces))
    ordered = sorted(firsts)
    return {
        "first sound, median s": round(statistics.median(firsts), 4),
        "first sound, 95 of 100, s": round(ordered[int(0.95 * (len(ordered) - 1))], 4),
        "tokens written by then, most": max(words) + 1,
        "s for a second of sound": round(spent / (sound / 16_000), 4),
    }


def main(
    sentences: Annotated[int, typer.Option(help="English answers that are judged.")] = 160,
    run: Annotated[Path | None, typer.Option(help="A run's folder with the four prosody models.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
) -> None:
    """Measure nano's shipped voice."""
    torch.set_num_threads(threads)
    speak = speaking(load_head(NANO / "voice.json", NANO / "voice.safetensors"))
    figures: dict[str, Any] = {"speed": speed(speak, 30), "seams": seams(speak, 20)}
    figures["words"] = intelligibility(speak, sentences)
    if run:
        figures["prosody"] = prosody(run)
    told = json.dumps(figures, indent=1)
    print(told)
    if json_file:
        json_file.write_text(told + "\n", "utf-8")


if __name__ == "__main__":
    typer.run(main)
