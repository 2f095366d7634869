"""What a model is, told from its configuration, the headers of its weight files, and measured figures.

No weight is loaded; of a model of the hub only configuration and headers are fetched.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from rich.console import Console
from rich.table import Table
from torch import Tensor

from .checkpoint import refuse_incomplete
from .config import MultimodalLlamaConfig, SpeechConfig, VisionConfig
from .convert.published import Published
from .convert.table import to_ours
from .headers import opened
from .memory import (
    LEFT_FREE,
    Fit,
    KeysAndValues,
    fits,
    keys_and_values_of,
    needed,
    part_of,
    shell,
    stored_once,
    taken_by,
    weights_of,
)
from .nano.scenes import COLOURS, KINDS, SHAPES, SIZES, WORDS
from .voice import voice_in_words, voice_weights

FORMATS = {
    "hub": "Llama 3.2 Vision as the hub stores it",
    "modules": "Llama 3.2 Vision as transformers 5 names its modules",
    "meta": "Llama 3.2 Vision as Meta released it",
    "llama": "a Llama 3 of the hub",
    "open_clip": "a picture trunk as open_clip stores it",
    "whisper": "Whisper, a speech encoder of the hub",
    "wav2vec2-bert": "w2v-BERT, a speech encoder of the hub",
    "ultravox": "Ultravox's projector for speech",
    "ours": "a folder of save_pretrained",
}
_FIGURES = "figures.json"
FLOAT32_BYTES = 4
_SUMMED = ("parameters", "bytes", "bfloat16", "four_bits")

_NANO_KNOWS = (
    f"pictures of one to six shapes ({', '.join(SHAPES)}) in {len(COLOURS)} colours ({', '.join(COLOURS)}) and "
    f"{len(SIZES)} sizes on plain, graded, patterned or noisy grounds",
    f"one printed number below 1000, or one of {len(WORDS)} printed English words",
    f"English questions about them: {', '.join(KINDS)}; 'describe the picture'",
    "clips of 1 to 20 seconds in which one to three such shapes move, appear, vanish, turn, grow, shrink or change "
    "colour one after the other, and questions about what happens, to what, which way, and in which order",
    "in text: scenes and clips told in words; repeating, and translating into and out of English, "
    "short lists of months, weekdays, countries, languages and numbers in 34 languages, mostly right; a few hundred "
    "closed questions (capitals, sums, the calendar, opposites)",
)
_NANO_DOES_NOT_KNOW = (
    "photographs, people, or anything drawn that is not in the lists above",
    "more than six things, or things that touch each other",
    "questions in words of your own: it was trained on fixed forms, and answers others too, often wrongly",
    "translation of anything but such lists",
    "clips in which anything else happens, or more than three things do something",
    "sound",
)


@dataclass(frozen=True)
class Part:
    """Weights that belong together. Bytes: on disk (0 where they are left elsewhere), and in memory at either size."""

    name: str
    parameters: int
    bytes: int
    bfloat16: int
    four_bits: int


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
    """Facts about a model. Sides are in pixels; `vocabulary` is the core's and `positions` counts its tokens.

    `format`: of its files, in words. `sources` and `left_out`: as in the configuration. `keys_and_values`, `needs`
    (bytes at "bfloat16" and "four_bits", with what a short conversation keeps) and `fits`: see `memory.py`. A
    picture trunk alone has no vocabulary, keeps no conversation, and needs its weights. `voice`: in words.
    """

    model: str
    format: str
    parts: list[Part]
    sources: dict[str, dict]
    left_out: list[str]
    vocabulary: int | None
    positions: int | None
    tile_px: int | None
    patch_px: int | None
    max_tiles: int | None
    image_layers: list[int]
    keys_and_values: KeysAndValues | None
    needs: dict[str, int]
    fits: list[Fit]
    knows: tuple[str, ...]
    does_not_know: tuple[str, ...]
    voice: str | None
    held_out: HeldOut | None


def read_info(model: str) -> Info:
    """The facts about "nano", a folder or a hub id, in any format of `convert.published`.

    Raises ValueError if there is no such model, or one of its files is not what it should be.
    """
    try:
        with opened(model) as published:
            return _info(model, published)
    except StrictDataclassError as error:  # of the library's configurations
        reason = " ".join(str(error).split())
        raise ValueError(f"{model}: found a configuration with a wrong value ({reason})") from error


def _info(model: str, published: Published) -> Info:
    whole = isinstance(published.config, MultimodalLlamaConfig)
    config = published.config if whole else None
    text, vision = (config.text_config, config.vision_config) if config else (None, published.config)
    vision = None if isinstance(vision, SpeechConfig) else vision
    parts = _read_parts(published)
    if spoken := voice_weights(published.folder):
        parts.append(Part("voice", *spoken, *[FLOAT32_BYTES * spoken[0]] * 2))  # it speaks at float32, whatever writes
    kept = config and keys_and_values_of(config)
    bfloat16, four_bits = needed(parts, kept)
    figures = published.folder / _FIGURES
    return Info(
        model=model,
        format=FORMATS[published.format],
        parts=parts,
        sources=dict((config and config.sources) or {}),
        left_out=list(config.left_out) if config else [],
        vocabulary=text and text.vocab_size,
        positions=text and text.max_position_embeddings,
        tile_px=vision and vision.tile_px,
        patch_px=vision and vision.patch_px,
        max_tiles=vision and vision.max_tiles,
        image_layers=list(config.image_layers) if config else [],
        keys_and_values=kept,
        needs={"bfloat16": bfloat16, "four_bits": four_bits},
        fits=fits(bfloat16, four_bits),
        knows=_NANO_KNOWS if model == "nano" else (),
        does_not_know=_NANO_DOES_NOT_KNOW if model == "nano" else (),
        voice=voice_in_words(published.folder),
        held_out=_read_figures(figures) if figures.is_file() else None,
    )


def _read_parts(published: Published) -> list[Part]:
    """The parts that the files hold, and those that they leave elsewhere."""
    config, found = published.config, _read_shapes(published)
    on_disk: Counter[str] = Counter()
    for name, weight in found.items():
        on_disk[part_of(name, config)] += weight.nbytes
    if isinstance(config, SpeechConfig):  # its adapter's shapes depend on a core that it does not carry
        taken = taken_by(found, config)
    else:
        model = shell(config)
        _refuse_other_shapes(published.where, found, model.state_dict())
        taken = weights_of(model, config)
        on_disk.update({part_of(name, config): 0 for name in stored_once(model) if _is_left_out(name, config)})
    return [
        Part(part.name, part.parameters, on_disk[part.name], part.bfloat16, part.four_bits)
        for part in taken
        if part.name in on_disk  # a plain Llama has no table of ours, and a trunk alone no adapter
    ]


def _is_left_out(name: str, config: MultimodalLlamaConfig | VisionConfig) -> bool:
    return any(name.startswith(f"{part}.") for part in getattr(config, "left_out", ()))


def _read_shapes(published: Published) -> dict[str, Tensor]:
    """Tensors without memory, of the types and shapes that the headers tell, by our names."""

    def read(name: str) -> Tensor:
        return torch.empty_like(published.files.view(name), device="meta")

    return dict(to_ours(published.rows, read, published.where))


def _refuse_other_shapes(where: str, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Raises ValueError if a weight is not as the configuration asks for; names were compared with the files' table."""
    shapes = {(name, tuple(weight.shape), tuple(wanted[name].shape)) for name, weight in found.items()}
    refuse_incomplete(where, set(), set(), {one for one in shapes if one[1] != one[2]})


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
    _show_parts(info, console)
    console.print(f"format: {info.format}")
    for part in info.left_out:
        console.print(f"left out: {part}, which is in {_told(info.sources[part])}")
    if info.vocabulary:
        console.print(f"vocabulary of {info.vocabulary:,} tokens; reads up to {info.positions:,} tokens")
    if info.tile_px:
        before = (
            f", seen before layers {', '.join(map(str, info.image_layers))} of the core" if info.image_layers else ""
        )
        console.print(
            f"pictures: up to {info.max_tiles} tiles of {info.tile_px} x {info.tile_px} px, patches of {info.patch_px} "
            f"px{before}"
        )
    if info.voice:
        console.print(f"voice: {info.voice}")
    console.print()
    _show_fits(info, console)
    for title, lines in (("It knows", info.knows), ("It does not know", info.does_not_know)):
        if lines:
            console.print(f"\n{title}", *(f"- {line}" for line in lines), sep="\n")
    if info.held_out:
        console.print()
        _show_held_out(info.held_out, console)


def _kind(info: Info) -> str:
    names = {part.name for part in info.parts}
    if info.vocabulary is None:
        return "a picture trunk" if info.tile_px else "ears without a core"
    senses = [sense for sense, there in (("eyes", info.tile_px), ("ears", "speech encoder" in names)) if there]
    senses += ["a voice"] if info.voice else []
    return f"a Llama 3 with {_listed(senses)}" if senses else "a Llama 3"


def _listed(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _show_parts(info: Info, console: Console) -> None:
    """One row a part: its size on disk to the byte, and what it takes in memory."""
    parts = Table("part", title=f"{info.model}: {_kind(info)}")
    for heading in ("parameters", "bytes", "at bfloat16", "at 4 bits"):
        parts.add_column(heading, justify="right")
    for part in info.parts:
        on_disk = f"{part.bytes:,}" if part.bytes else "elsewhere"
        parts.add_row(part.name, f"{part.parameters:,}", on_disk, readable(part.bfloat16), readable(part.four_bits))
    parts.add_section()
    total = {what: sum(getattr(part, what) for part in info.parts) for what in _SUMMED}
    parameters, on_disk, bfloat16, four_bits = total.values()
    parts.add_row("all", f"{parameters:,}", f"{on_disk:,}", readable(bfloat16), readable(four_bits))
    console.print(parts)


def _show_fits(info: Info, console: Console) -> None:
    """What a conversation keeps, and on which devices there is room for it and the weights."""
    kept, conversation = info.keys_and_values, ""
    if kept:
        pictures = [
            f"a picture of {tiles} {'tile' if tiles == 1 else 'tiles'} {readable(size)}"
            for tiles, size in kept.picture.items()
        ]
        console.print(f"keys and values: 1,000 tokens of text {', '.join([readable(kept.text), *pictures])}")
        conversation = ", 1,000 tokens" + (" and the largest picture" if pictures else "")
    table = Table("device", title="What fits")
    for heading in ("memory", "at bfloat16", "at 4 bits"):
        table.add_column(heading, justify="right")
    for fit in info.fits:
        table.add_row(fit.device, readable(fit.bytes), *("yes" if it else "no" for it in (fit.bfloat16, fit.four_bits)))
    console.print(table)
    bfloat16, four_bits = (readable(info.needs[size]) for size in ("bfloat16", "four_bits"))
    console.print(
        f"computed, not measured: weights{conversation} take {bfloat16} at bfloat16, {four_bits} at 4 bits (the core's "
        f"linear layers only); {LEFT_FREE:.0%} of a device is left free; 1 GB is 10^9 bytes"
    )


def readable(size: int) -> str:
    """Bytes in words, as GB (10^9), MB or kB."""
    if size >= 1e9:
        return f"{size / 1e9:,.2f} GB"
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"


def _told(source: dict) -> str:
    return source["id"] + (f" at revision {source['revision']}" if source.get("revision") else "")


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
