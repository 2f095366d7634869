"""How well a model answers about clips it has never seen: from the encoded file to the words, exact match.

    python -m multimodal.nano.clip_quality --model nano [--questions 1500] [--json measured.json]

Asked is only what the frames without their order cannot tell: each question has another answer, or none, where
the clip runs backwards. Held out from training are pairs of colour and shape, grounds, sizes, rates, two codecs
and seeds. Beside each score stand four that do not see time: the constant answer that fits best, and the same
model shown the frames in a random order, one of them, or a grey clip.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from video.reader import Clip, read_clip

from ..assistant import NANO, Assistant, load
from .asking import ask_together
from .clips import Film, encode, played_backwards, sample_film, sample_scene_of_clip
from .quality import MAX_NEW_TOKENS, is_right, weight_hashes
from .scenes import Question
from .text.clips import CLIP_KINDS, ClipScene, ask_about_clip

QUESTIONS = 1500
CONTROL_QUESTIONS = 400  # of these, the first, are asked again in the ways that see no time
SAMPLE_QUESTIONS = 60  # what the tests ask each time
_QUESTIONS_A_CLIP, _OF_A_KIND = 5, 2
_CLIPS_A_BATCH = 16
_DRAWN = 80  # questions from which those are chosen that need the order of the frames
_ASKED_BACKWARDS = 400  # draws that give about all questions that a clip has


@dataclass(frozen=True)
class ClipSheet:
    """A film that training cannot have shown, and what is asked about it."""

    film: Film
    questions: tuple[Question, ...]
    seed: str


@dataclass(frozen=True)
class ClipScore:
    """Shares of questions answered exactly, and how many there were: by the model, and by what sees no time."""

    exact: float
    constant: float
    shuffled: float
    one_frame: float
    blind: float
    questions: int


def held_out_clips(questions: int = QUESTIONS, seed: int = 0) -> list[ClipSheet]:
    """At least so many questions, yes and no equally often, about clips that training cannot have shown."""
    sheets, found, balance = [], 0, 0
    while found < questions:
        name = f"held out clip {seed} {len(sheets)}"
        rng = random.Random(name)
        chosen: list[Question] = []
        while not chosen:
            scene = sample_scene_of_clip(rng, held_out=True)
            chosen, balance = _choose(scene, balance, rng)
        sheets.append(ClipSheet(sample_film(scene, rng, held_out=True), tuple(chosen), name))
        found += len(chosen)
    return sheets


def _choose(scene: ClipScene, balance: int, rng: random.Random) -> tuple[list[Question], int]:
    """Some questions that need the order of frames; balance: how many more were answered yes than no."""
    chosen: list[Question] = []
    for question in needing_order(scene, ask_about_clip(scene, rng, _DRAWN), rng):
        of_kind = sum(one.kind == question.kind for one in chosen)
        if of_kind == _OF_A_KIND or len(chosen) == _QUESTIONS_A_CLIP:
            continue
        if question.kind == "clip yes/no":
            step = 1 if question.answer == "yes" else -1
            if balance * step > 0:
                continue
            balance += step
        chosen.append(question)
    return chosen, balance


def needing_order(scene: ClipScene, asked: Sequence[Question], rng: random.Random) -> list[Question]:
    """Of the questions those that the clip's frames, in no order, cannot answer.

    These have another answer where the clip runs backwards; or they name something that does not happen there
    and ask for something that does not happen there either.
    """
    backwards = played_backwards(scene)
    if backwards is None:
        return []
    answers = {one.text: one.answer for one in ask_about_clip(backwards, rng, _ASKED_BACKWARDS)}
    deeds = {f"the {actor.name} {actor.deed}" for actor in backwards.actors}
    return [
        one
        for one in asked
        if one.kind in CLIP_KINDS
        and (
            answers[one.text] != one.answer if one.text in answers else one.kind == "order" and one.answer not in deeds
        )
    ]


def as_it_is(clip: Clip, sheet: ClipSheet) -> Clip:
    """The clip."""
    return clip


def shuffled(clip: Clip, sheet: ClipSheet) -> Clip:
    """The clip's frames in a random order, at the times of the right one."""
    order = list(range(len(clip.frames)))
    random.Random(f"order {sheet.seed}").shuffle(order)
    return replace(clip, frames=clip.frames[order])


def one_frame(clip: Clip, sheet: ClipSheet) -> Clip:
    """A random one of the clip's frames."""
    at = random.Random(f"frame {sheet.seed}").randrange(len(clip.frames))
    return replace(clip, frames=clip.frames[at : at + 1], times_s=clip.times_s[at : at + 1])


def grey(clip: Clip, sheet: ClipSheet) -> Clip:
    """A clip of nothing."""
    return replace(clip, frames=torch.full_like(clip.frames, 128))


WAYS: dict[str, Callable[[Clip, ClipSheet], Clip]] = {
    "exact": as_it_is,
    "shuffled": shuffled,
    "one_frame": one_frame,
    "blind": grey,
}


def read_all(assistant: Assistant, sheets: Sequence[ClipSheet]) -> list[Clip]:
    """Each film encoded, and its file read as `assistant.ask` reads it."""
    processor, clips = assistant.processor, []
    for sheet in track(sheets, "encoding and reading", console=Console(stderr=True)):
        clips.append(read_clip(encode(sheet.film), max_frames=processor.max_frames))
    return clips


def ask_all(assistant: Assistant, sheets: Sequence[ClipSheet], clips: Sequence[Clip], way: str = "exact") -> list[str]:
    """The answers to all questions, greedy, each clip shown in a way of `WAYS`."""
    answers: list[str] = []
    for start in track(range(0, len(sheets), _CLIPS_A_BATCH), way, console=Console(stderr=True)):
        part = sheets[start : start + _CLIPS_A_BATCH]
        shown = [WAYS[way](clip, sheet) for clip, sheet in zip(clips[start:], part, strict=False)]
        shown = assistant.processor.clips(shown)
        answers += ask_together(assistant, [sheet.questions for sheet in part], "video", shown, MAX_NEW_TOKENS)
    return answers


def score(questions: Sequence[Question], answers: dict[str, Sequence[str]]) -> dict[str, ClipScore]:
    """The score of each kind that is asked, and under `overall` that of all; answers: those of each of `WAYS`.

    A way that was asked fewer questions was asked the first ones. The overall constant gives each kind the answer
    that fits it best.
    """
    by_kind = {kind: [at for at, one in enumerate(questions) if one.kind == kind] for kind in CLIP_KINDS}
    by_kind = {kind: places for kind, places in by_kind.items() if places}
    best = {
        kind: Counter(questions[at].answer for at in places).most_common(1)[0][1] for kind, places in by_kind.items()
    }
    by_kind["overall"], best["overall"] = list(range(len(questions))), sum(best.values())

    def share(said: Sequence[str], places: Sequence[int]) -> float:
        hits = [is_right(questions[at], said[at]) for at in places if at < len(said)]
        return sum(hits) / max(1, len(hits))

    return {
        kind: ClipScore(
            constant=best[kind] / len(places),
            questions=len(places),
            **{way: share(said, places) for way, said in answers.items()},
        )
        for kind, places in by_kind.items()
    }


def measure(assistant: Assistant, questions: int = QUESTIONS) -> dict[str, Any]:
    """All figures: by kind, overall, and of the first questions alone, which the tests ask each time."""
    sheets = held_out_clips(questions)
    asked = [question for sheet in sheets for question in sheet.questions]
    clips = read_all(assistant, sheets)
    few = sheets[: len(held_out_clips(min(questions, CONTROL_QUESTIONS)))]
    answers = {way: ask_all(assistant, sheets if way == "exact" else few, clips, way) for way in WAYS}
    return summary(asked, answers, len(sheets))


def summary(asked: Sequence[Question], answers: dict[str, Sequence[str]], clips: int) -> dict[str, Any]:
    """The figures of these answers about so many clips."""
    scores = score(asked, answers)
    sample = [is_right(*pair) for pair in zip(asked[:SAMPLE_QUESTIONS], answers["exact"], strict=False)]
    return {
        "kinds": {kind: asdict(one) for kind, one in scores.items() if kind != "overall"},
        "overall": asdict(scores["overall"]) | {"clips": clips, "controls": len(answers["shuffled"])},
        "sample": sum(sample) / len(sample),
    }


def table(figures: dict[str, Any]) -> Table:
    """The figures as a table for a terminal."""
    columns = ("exact", "constant", "shuffled", "one_frame", "blind")
    shown = Table("kind", *(name.replace("_", " ") for name in columns), "questions", title="Held-out clips")
    for kind, one in (*figures["kinds"].items(), ("overall", figures["overall"])):
        shown.add_row(kind, *(f"{one[name]:.1%}" for name in columns), str(one["questions"]))
    return shown


def main(
    model: Annotated[str, typer.Option(help="nano, or the folder of another model")] = "nano",
    questions: Annotated[int, typer.Option(min=1, help="at least so many held-out questions")] = QUESTIONS,
    json_file: Annotated[Path | None, typer.Option("--json", help="also write the figures there")] = None,
) -> None:
    """Measure a model's answers about held-out clips that no single frame gives."""
    figures = measure(load(model), questions)
    Console().print(table(figures))
    if json_file:
        hashes = weight_hashes(NANO if model == "nano" else Path(model))
        json_file.write_text(json.dumps({"clips": figures, "weights": hashes}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
