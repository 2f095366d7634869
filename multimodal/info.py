"""What a model is, told from its folder: configuration, headers of the weight files, measured figures.

No weight is loaded.
"""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .checkpoint import NANO
from .config import MultimodalLlamaConfig
from .nano.scenes import COLOURS, KINDS, SHAPES, SIZES, WORDS

# A tensor belongs to the first part with a prefix of its name.
_PARTS = {
    "text core": ("core.",),
    "picture trunk": ("vision.trunk.",),
    "picture adapter": ("vision.", "image_projection.", "image.", "extra_embedding."),
}
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_FIGURES = "figures.json"

_NANO_KNOWS = (
    f"pictures of one to six shapes ({', '.join(SHAPES)}) in {len(COLOURS)} colours ({', '.join(COLOURS)}) and "
    f"{len(SIZES)} sizes on plain, graded, patterned or noisy grounds",
    f"one printed number below 1000, or one of {len(WORDS)} printed English words",
    f"English questions about them: {', '.join(KINDS)}; 'describe the picture'",
    "in text: scenes and clips told in words; repeating phrases, mostly right; a few hundred closed questions "
    "(capitals, sums, the calendar, opposites)",
)
_NANO_DOES_NOT_KNOW = (
    "photographs, people, or anything drawn that is not in the lists above",
    "more than six things, or things that touch each other",
    "questions in words of your own: it was trained on fixed forms, and answers others too, often wrongly",
    "translation: it was shown the names of 34 languages' months, countries and the like too seldom to keep them",
    "clips and sound",
)


@dataclass(frozen=True)
class Part:
    """Weights that belong together; `bytes` is their size on disk."""

    name: str
    parameters: int
    bytes: int


@dataclass(frozen=True)
class Score:
    """Shares of questions, 0 to 1: answered exactly, and by the best answer that never looks at the picture."""

    exact: float
    constant: float
    questions: int


@dataclass(frozen=True)
class HeldOut:
    """What was measured on data that training never saw, and the run that the weights come from.

    `kinds`: by kind of question; `foreign`: by sort of picture, drawn or stored by other means than training's.
    """

    run: str
    kinds: dict[str, Score]
    foreign: dict[str, Score]


@dataclass(frozen=True)
class Info:
    """Facts about a model. Sides are in pixels; `vocabulary` is the core's and `positions` counts its tokens."""

    model: str
    parts: list[Part]
    vocabulary: int
    positions: int
    tile_px: int | None
    patch_px: int | None
    max_tiles: int | None
    image_layers: list[int]
    knows: tuple[str, ...]
    does_not_know: tuple[str, ...]
    held_out: HeldOut | None


def read_info(model: str) -> Info:
    """The facts about "nano" or a folder of `save_pretrained`.

    Raises ValueError if there is no such model, or one of its files is not what it should be.
    """
    folder = NANO if model == "nano" else Path(model)
    if not (folder / "config.json").is_file():
        raise ValueError(f"{model}: found no config.json there; accepted: 'nano', a folder of save_pretrained")
    config = MultimodalLlamaConfig.from_pretrained(folder, local_files_only=True)
    text, vision = config.text_config, config.vision_config
    return Info(
        model=model,
        parts=_read_parts(folder),
        vocabulary=text.vocab_size,
        positions=text.max_position_embeddings,
        tile_px=vision and vision.tile_px,
        patch_px=vision and vision.patch_px,
        max_tiles=vision and vision.max_tiles,
        image_layers=config.image_layers,
        knows=_NANO_KNOWS if model == "nano" else (),
        does_not_know=_NANO_DOES_NOT_KNOW if model == "nano" else (),
        held_out=_read_figures(folder / _FIGURES) if (folder / _FIGURES).is_file() else None,
    )


def _read_parts(folder: Path) -> list[Part]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ValueError(f"{folder}: found no weights; accepted: files named *.safetensors")
    sizes = {name: [0, 0] for name in _PARTS}
    for file in files:
        for name, (parameters, stored) in _read_header(file).items():
            part = next((part for part, prefixes in _PARTS.items() if name.startswith(prefixes)), None)
            if part is None:
                raise ValueError(f"{file}: found the weight {name}, which is no part of such a model")
            sizes[part][0] += parameters
            sizes[part][1] += stored
    return [Part(name, *size) for name, size in sizes.items() if size[0]]


def _read_header(file: Path) -> dict[str, tuple[int, int]]:
    """Number of parameters and bytes of each tensor in a safetensors file."""
    try:
        with open(file, "rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length)) if length <= _MAX_HEADER_BYTES else None
        return {
            name: (prod(tensor["shape"]), tensor["data_offsets"][1] - tensor["data_offsets"][0])
            for name, tensor in header.items()
            if name != "__metadata__"
        }
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise ValueError(f"{file}: found no header of safetensors; accepted: a whole safetensors file") from None


def _read_figures(file: Path) -> HeldOut:
    """What `multimodal.nano.quality` measured, as far as it is shown here."""
    try:
        figures = json.loads(file.read_text("utf-8"))
        kinds, foreign = ({name: _score(row) for name, row in figures[key].items()} for key in ("kinds", "foreign"))
        if not isinstance(figures["run"], str) or not kinds:
            raise ValueError("no name of a run, or no kinds")
        return HeldOut(figures["run"], kinds, foreign)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{file}: found {type(error).__name__} {error}; accepted: a run's name, and for kinds and foreign "
            "{name: {exact: share, constant: share, questions: number}}"
        ) from error


def _score(row: dict) -> Score:
    score = Score(row["exact"], row["constant"], row["questions"])
    if not (0 <= score.exact <= 1 and 0 <= score.constant <= 1 and score.questions >= 1):
        raise ValueError(f"the row {row}")
    return score


def show(info: Info, console: Console) -> None:
    """Print the facts as tables."""
    parts = Table("part", title=f"{info.model}: a Llama 3 with eyes" if info.tile_px else f"{info.model}: a Llama 3")
    for heading in ("parameters", "bytes"):
        parts.add_column(heading, justify="right")
    for part in info.parts:
        parts.add_row(part.name, f"{part.parameters:,}", f"{part.bytes:,}")
    parts.add_section()
    parts.add_row("all", *(f"{sum(getattr(part, what) for part in info.parts):,}" for what in ("parameters", "bytes")))
    console.print(parts)
    console.print(f"vocabulary of {info.vocabulary:,} tokens; reads up to {info.positions:,} tokens")
    if info.tile_px:
        console.print(
            f"pictures: up to {info.max_tiles} tiles of {info.tile_px} x {info.tile_px} px, patches of {info.patch_px} "
            f"px, seen before layers {', '.join(map(str, info.image_layers))} of the core"
        )
    for title, lines in (("It knows", info.knows), ("It does not know", info.does_not_know)):
        if lines:
            console.print(f"\n{title}", *(f"- {line}" for line in lines), sep="\n")
    if info.held_out:
        console.print()
        _show_held_out(info.held_out, console)


def _show_held_out(held_out: HeldOut, console: Console) -> None:
    """Percentages, one row a kind of question; the whole of each group below its rows."""
    table = Table("held-out pictures", title="Questions answered exactly")
    for heading in ("exact", "best constant", "questions"):
        table.add_column(heading, justify="right")
    for group, scores in (("all kinds", held_out.kinds), ("all drawn by other programs", held_out.foreign)):
        for name, score in scores.items():
            table.add_row(name, f"{score.exact:.1%}", f"{score.constant:.1%}", f"{score.questions:,}")
        if scores:
            number = sum(score.questions for score in scores.values())
            exact = sum(score.exact * score.questions for score in scores.values()) / number
            table.add_row(group, f"{exact:.1%}", "", f"{number:,}", style="bold")
            table.add_section()
    console.print(table)
    console.print(f"of the weights made by: {held_out.run}")
