"""How well a model answers about pictures it has never seen: from the file to the words, exact match.

    python -m multimodal.nano.quality --model nano [--questions 2156] [--json measured.json]

Held out from training are colour and shape pairs, fonts, grounds, sizes and seeds. Beside each score
stand two that need no eyes: the constant answer that fits best, and the same model shown plain grey.
"""

import io
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ..assistant import NANO, Assistant, load
from .asking import ask_together
from .foreign import WAYS, sample_look
from .pictures import draw, sample_style
from .questions import ask_kind
from .scenes import GRID, KINDS, NUMBERS, SIZES, Question, Scene, Thing, sample_scene

# Questions come in blocks, every block with the same shares, so that a small set is the start of a large
# one: 14 a kind, and of these two for each count and seven for yes and for no.
QUESTIONS_A_BLOCK = 98
QUESTIONS = 22 * QUESTIONS_A_BLOCK
FOREIGN_QUESTIONS = 5 * QUESTIONS_A_BLOCK
SAMPLE_QUESTIONS = 2 * QUESTIONS_A_BLOCK  # what the tests ask each time
_QUOTA = Counter(
    {(kind, None): 14 for kind in KINDS if kind not in ("count", "yes/no")}
    | {("count", number): 2 for number in NUMBERS}
    | {("yes/no", answer): 7 for answer in ("yes", "no")}
)
_QUESTIONS_A_PICTURE, _OF_A_KIND, _TRIES = 7, 2, 6
_SHARES_OFF = (0.08, 0.10)  # a radius differs from the nominal one by more than any in training, and by at most so much
_SHORT_SIDES_PX = (128, 640)
_ASPECTS = ((1, 1),) * 6 + ((4, 3), (3, 4), (3, 2), (2, 3), (2, 1), (1, 2))  # width, height
_PICTURES_A_BATCH = 16
MAX_NEW_TOKENS = 16  # the longest right answer is far shorter


@dataclass(frozen=True)
class Sheet:
    """A scene, what is asked about it, and the size in pixels and the seed of its picture."""

    scene: Scene
    questions: tuple[Question, ...]
    size: tuple[int, int]
    seed: str


@dataclass(frozen=True)
class Score:
    """Shares of questions answered exactly: by the model, by the constant answer that fits best, and blind."""

    exact: float
    constant: float
    blind: float | None
    questions: int


def held_out_sheets(questions: int = QUESTIONS, seed: int = 0) -> list[Sheet]:
    """At least so many questions in whole blocks, about pictures that training cannot have shown."""
    blocks = -(-questions // QUESTIONS_A_BLOCK)
    return [sheet for block in range(blocks) for sheet in _block(f"held out {seed} {block}")]


def _block(name: str) -> list[Sheet]:
    rng, wanted, sheets = random.Random(name), _QUOTA.copy(), []
    while wanted:
        scene = _with_unseen_sizes(sample_scene(rng, held_out=True), rng)
        if questions := _choose(scene, wanted, rng):
            across, down = rng.choice(_ASPECTS)
            short = rng.randint(*_SHORT_SIDES_PX)
            size = (round(short * max(1, across / down)), round(short * max(1, down / across)))
            sheets.append(Sheet(scene, tuple(questions), size, f"{name} {len(sheets)}"))
    return sheets


def _with_unseen_sizes(scene: Scene, rng: random.Random) -> Scene:
    """The scene with every radius a little larger or smaller than training draws it, still clearly of its size."""

    def other(thing: Thing) -> Thing:
        radius = SIZES[thing.size] * (1 + rng.choice((-1, 1)) * rng.uniform(*_SHARES_OFF))
        slack = max(0.0, (GRID[1] - GRID[0]) / 2 - radius)  # so that neighbours keep apart
        centres = [min(GRID, key=lambda centre, at=at: abs(centre - at)) for at in (thing.x, thing.y)]
        x, y = (
            centre + min(max(at - centre, -slack), slack)
            for at, centre in zip((thing.x, thing.y), centres, strict=True)
        )
        return replace(thing, x=x, y=y, radius=radius)

    return replace(scene, things=tuple(other(thing) for thing in scene.things))


def _choose(scene: Scene, wanted: Counter, rng: random.Random) -> list[Question]:
    """Different questions about the scene that are still wanted, which they then no longer are."""
    chosen: dict[str, Question] = {}
    for kind in rng.sample(KINDS, len(KINDS)):
        tries = 1 if kind == "text" else _TRIES  # its questions differ in their words only
        for question in (ask_kind(kind, scene, rng) for _ in range(tries)):
            if question is None or question.text in chosen or len(chosen) == _QUESTIONS_A_PICTURE:
                continue
            bucket = (kind, question.answer if kind in ("count", "yes/no") else None)
            if wanted[bucket] > 0 and sum(one.kind == kind for one in chosen.values()) < _OF_A_KIND:
                chosen[question.text] = question
                wanted[bucket] -= 1
    for bucket in [bucket for bucket, number in wanted.items() if number <= 0]:
        del wanted[bucket]
    return list(chosen.values())


def held_out_file(sheet: Sheet) -> bytes:
    """The sheet's picture as a PNG file: our renderer, with faces and grounds that training never draws."""
    style = sample_style(random.Random(sheet.seed), sheet.scene, held_out=True)
    return _png(draw(sheet.scene, style, *sheet.size))


def foreign_file(sheet: Sheet, way: str) -> bytes:
    """The sheet's picture drawn by another program and saved in a way of `foreign.WAYS`."""
    return WAYS[way](sheet.scene, sample_look(sheet.scene, random.Random(sheet.seed)), sheet.size)


def blank_file(sheet: Sheet) -> bytes:
    """A picture of nothing."""
    return _png(Image.new("RGB", (128, 128), (128, 128, 128)))


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def ask_all(
    assistant: Assistant, sheets: Sequence[Sheet], file_of: Callable[[Sheet], bytes], title: str = "asking"
) -> list[str]:
    """The greedy answer to every question of the sheets in order; each picture is opened and encoded once.

    The answers are those of `assistant.ask`, asked one by one.
    """
    starts = range(0, len(sheets), _PICTURES_A_BATCH)
    answers: list[str] = []
    for start in track(starts, title, console=Console(stderr=True)):
        part = sheets[start : start + _PICTURES_A_BATCH]
        pictures = assistant.processor.pictures([file_of(sheet) for sheet in part])
        answers += ask_together(assistant, [sheet.questions for sheet in part], "image", pictures, MAX_NEW_TOKENS)
    return answers


def is_right(question: Question, answer: str) -> bool:
    """Equal to the letter, spaces around it apart: right answers are in lower case."""
    return answer.strip() == question.answer


def score(
    questions: Sequence[Question], answers: Sequence[str], blind: Sequence[str] | None = None
) -> dict[str, Score]:
    """The score of each kind that is asked, and under `overall` that of all.

    The overall constant gives each kind the answer that fits it best.
    """
    by_kind = {kind: [at for at, question in enumerate(questions) if question.kind == kind] for kind in KINDS}
    by_kind = {kind: places for kind, places in by_kind.items() if places}
    best = {
        kind: Counter(questions[at].answer for at in places).most_common(1)[0][1] for kind, places in by_kind.items()
    }

    def share(said: Sequence[str], places: Iterable[int]) -> float:
        hits = [is_right(questions[at], said[at]) for at in places]
        return sum(hits) / len(hits)

    scores = {
        kind: Score(share(answers, at), best[kind] / len(at), share(blind, at) if blind else None, len(at))
        for kind, at in by_kind.items()
    }
    every = range(len(questions))
    constant = sum(best.values()) / len(questions)
    overall = Score(share(answers, every), constant, share(blind, every) if blind else None, len(questions))
    return scores | {"overall": overall}


def measure(
    assistant: Assistant, questions: int = QUESTIONS, foreign_questions: int = FOREIGN_QUESTIONS
) -> dict[str, Any]:
    """All figures: of the held-out set by kind and overall, of its first blocks alone, and of each foreign way."""
    sheets = held_out_sheets(questions)
    asked = [question for sheet in sheets for question in sheet.questions]
    answers = ask_all(assistant, sheets, held_out_file, "held out")
    scores = score(asked, answers, ask_all(assistant, sheets, blank_file, "blind"))
    sample = score(asked[:SAMPLE_QUESTIONS], answers[:SAMPLE_QUESTIONS])
    figures = {
        "kinds": {kind: asdict(one) for kind, one in scores.items() if kind != "overall"},
        "overall": asdict(scores["overall"]) | {"pictures": len(sheets)},
        "sample": {kind: one.exact for kind, one in sample.items()},
        "foreign": {},
    }
    sheets = held_out_sheets(foreign_questions)
    asked = [question for sheet in sheets for question in sheet.questions]
    for way in WAYS:
        said = ask_all(assistant, sheets, lambda sheet, way=way: foreign_file(sheet, way), way)
        scores = score(asked, said)
        overall = scores.pop("overall")
        figures["foreign"][way] = {
            "exact": overall.exact,
            "constant": overall.constant,
            "questions": overall.questions,
            "kinds": {kind: one.exact for kind, one in scores.items()},
        }
    return figures


def weight_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a model's folder that answers hang on: figures belong to these weights and no others.

    A voice changes no answer, so that its files are left out.
    """
    files = [file for file in sorted(folder.glob("*.safetensors")) if not file.name.startswith("voice")]
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in files}


def tables(figures: dict[str, Any]) -> list[Table]:
    """The figures as tables for a terminal."""
    held_out = Table("kind", "exact", "best constant", "blind", "questions", title="Held-out pictures")
    for kind, one in (*figures["kinds"].items(), ("overall", figures["overall"])):
        shares = [f"{one[name]:.1%}" for name in ("exact", "constant", "blind")]
        held_out.add_row(kind, *shares, str(one["questions"]), end_section=kind == KINDS[-1])
    ways = figures["foreign"]
    foreign = Table("kind", *ways, title="Drawn by other programs")
    for kind in KINDS:
        foreign.add_row(kind, *(f"{one['kinds'][kind]:.1%}" for one in ways.values()), end_section=kind == KINDS[-1])
    for name, key in (("overall", "exact"), ("best constant", "constant")):
        foreign.add_row(name, *(f"{one[key]:.1%}" for one in ways.values()))
    foreign.add_row("questions", *(str(one["questions"]) for one in ways.values()))
    return [held_out, foreign]


def main(
    model: Annotated[str, typer.Option(help="nano, or the folder of another model")] = "nano",
    questions: Annotated[int, typer.Option(min=1, help="at least so many held-out questions")] = QUESTIONS,
    json_file: Annotated[Path | None, typer.Option("--json", help="also write the figures there")] = None,
) -> None:
    """Measure a model's answers about held-out pictures and about pictures of other programs."""
    figures = measure(load(model), questions, min(questions, FOREIGN_QUESTIONS))
    console = Console()
    for table in tables(figures):
        console.print(table)
    if json_file:
        hashes = weight_hashes(NANO if model == "nano" else Path(model))
        json_file.write_text(json.dumps(figures | {"weights": hashes}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
