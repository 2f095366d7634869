"""Writes what was measured, and the model card that tells it, into a folder of weights.

    python -m multimodal.nano.quality --model FOLDER --json measured.json
    python -m multimodal.nano.card runs/nano FOLDER measured.json --machine "2 CPU cores"

The card's words about nano's world come from the lists that the world is made of, and its figures from
`figures.json`, which `multimodal info` and the tests read too.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from safetensors import safe_open

from .clips import SECONDS
from .pictures import FACES, GROUNDS, HELD_OUT_FACES, HELD_OUT_GROUNDS
from .quality import weight_hashes
from .scenes import COLOURS, HELD_OUT_PAIRS, KINDS, SHAPES, SIZES, WORDS
from .text.clips import ACTIONS

SPEECH_FIGURES = "speech_figures.json"
SEED = 0  # of every stage, unless the recipe is told otherwise
_STAGES = ("core", "trunk", "image-adapter")
_LATER_STAGES = ("video", "best-rq", "speech-encoder", "speech-places", "speech-adapter")  # which a run may lack
_PAUSE_S = 600  # a longer gap in a stage's log is a run that stood still, and does not count as work
_PARTS = {
    "core.safetensors": "text core",
    "vision.safetensors": "picture trunk",
    "image_adapter.safetensors": "picture adapter",
    "video.safetensors": "temporal aggregator and video blocks",
    "speech.safetensors": "speech encoder",
    "speech_adapter.safetensors": "speech adapter, and the letters that tell when words were said",
}


def stage_facts(run: Path) -> dict[str, dict[str, int]]:
    """For each stage of a run: its steps, the seconds that its logs tell of, where it has logs, and after how many
    steps these begin where the stage went on from weights that were trained before.
    """
    facts: dict[str, dict[str, int]] = {}
    for stage in (*_STAGES, *(one for one in _LATER_STAGES if (run / one / "final.safetensors").exists())):
        with safe_open(run / stage / "final.safetensors", "pt") as final:
            facts[stage] = {name: int(number) for name, number in final.metadata().items() if name != "format"}
        if (run / stage / "logs").is_dir():
            facts[stage]["seconds"] = round(_logged_seconds(run / stage / "logs"))
    return facts


def _logged_seconds(logs: Path) -> float:
    """Time from entry to entry of a TensorBoard log, pauses left out."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader  # slow to import
    from tensorboard.compat.proto.event_pb2 import Event

    files = sorted(logs.glob("events.out.tfevents.*"))
    times = sorted(
        Event.FromString(entry).wall_time for file in files for entry in RawEventFileLoader(str(file)).Load()
    )
    return sum(later - earlier for earlier, later in pairwise(times) if later - earlier < _PAUSE_S)


def run_line(stages: dict[str, dict[str, int]], machine: str) -> str:
    """One line that names a run: seed, steps of each stage, machine and time."""
    steps = ", ".join(f"{stage} {facts['steps']:,} steps" for stage, facts in stages.items())
    seconds = sum(facts.get("seconds", 0) for facts in stages.values())
    return f"seed {SEED}: {steps}; {machine}" + (f", {_duration(seconds)}" if seconds else "")


def _duration(seconds: int) -> str:
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def write_card(folder: Path, measured: dict[str, Any], stages: dict[str, dict[str, int]], machine: str) -> None:
    """Write `figures.json` and `README.md` into the folder; figures that are there already and not measured now stay.

    measured: what `quality` or `clip_quality` wrote; stages: of `stage_facts`; machine: what made the run, in words.

    Raises ValueError if the figures were measured on other weights than the folder's.
    """
    found = weight_hashes(folder)
    if found != measured["weights"]:
        other = sorted(name for name in found | measured["weights"] if found.get(name) != measured["weights"].get(name))
        raise ValueError(f"{folder}: the figures were measured on other weights (other bytes in {', '.join(other)})")
    before = json.loads((folder / "figures.json").read_text("utf-8")) if (folder / "figures.json").exists() else {}
    known = before.get("stages", {})  # a run that began with shipped parts has no logs of how these were made
    stages = known | {
        name: _with_time_before(facts, known.get(name, {}))
        for name, facts in stages.items()
        if "seconds" in facts or name not in known
    }
    figures = before | {"run": run_line(stages, machine), "stages": stages, **measured}
    (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    (folder / "README.md").write_text(card(folder, figures), "utf-8")


def _with_time_before(facts: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    """Facts of a stage, which may have gone on from where the facts before it end: then time counts from its start."""
    if facts["steps"] == before.get("steps") and "seconds" in before:
        return before  # told already
    facts = dict(facts)
    if facts.pop("begun_after", None) == before.get("steps") and "seconds" in before:
        facts["seconds"] = facts.get("seconds", 0) + before["seconds"]
    return facts


def card(folder: Path, figures: dict[str, Any]) -> str:
    """The model card, in Markdown with the header that the hub reads."""
    held_out, foreign = held_out_table(figures), _foreign_table(figures)
    overall, foreign_questions = figures["overall"], next(iter(figures["foreign"].values()))["questions"]
    pairs = ", ".join(f"{colour} {shape}" for colour, shape in sorted(HELD_OUT_PAIRS))
    return f"""\
---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: image-text-to-text
tags: [multimodal-llama, llama, vision-language, cross-attention]
---

# nano

A whole small model that answers questions about simple pictures: a frozen Llama 3 text core, an image trunk,
and gated cross-attention between them. It ships with the package `multimodal-llama`, runs offline on a CPU,
and shows that the composition and its training recipe work. It is not a general assistant.

```python
import multimodal

multimodal.load("nano").ask("How many circles are there?", image="scene.png").text
```

## What it knows

- **Things**: one to six in a picture, near the nine places of a three by three grid, apart from each other, and
  turned by at most 10 degrees.
- **Shapes**: {_list(SHAPES)}.
- **Colours**: {_list(COLOURS)}.
- **Sizes**: {_list(SIZES)}; a radius of {_list(f"{100 * r:g}%" for r in SIZES.values())} of the picture's shorter side.
- **Print**: at most one number below 1,000 or one of {len(WORDS)} English words, on one line.
- **Grounds**: {_list(GROUNDS)} (linear and radial are gradients).
- **Questions**, in English and in the forms that it was trained on: {_list(KINDS)};
  and "Describe the picture."{_clip_world(figures)}
- **In training only**: things in colours, or of shapes, that have no name here, about which only what has a name
  is asked.

## What it cannot do

Photographs, people, anything that is not drawn from the lists above; words that are not in its list; more than
six things, things that overlap, or things of other sizes. It has no answer such as "I do not know": about a
picture outside its world it says something wrong. Questions in other words than those of training it answers
too, often wrongly. In text alone it repeats and translates short lists of months, weekdays, countries, languages
and numbers between English and 33 other languages, mostly right; nothing else. {_lacks(figures)}
Do not use it to decide anything.

## How it was made

All training data is drawn and written by the package itself, from seeds; no picture, text or weight comes from
elsewhere. The text core learns nano's world in words alone and is then frozen for good; the trunk is an
open_clip vision transformer, trained with open_clip's contrastive and captioning losses (and asked what each
patch belongs to) and then frozen; last the global layers and cross-attention blocks between the two are trained
on questions about pictures.

    multimodal train nano

{_stage_table(figures)}

Run: {figures["run"]}.

| file | part | bytes | SHA-256 |
|---|---|---:|---|
{_file_rows(folder, figures)}

Weights are float16, the matrices for clips and speech float8 (e4m3). Every stage after the first leaves the files of
earlier ones as they are.

## How well it answers

Exact match of greedy answers, from the picture's file to the text. Beside it stand the best answer that is
always the same (for each kind its own), and the model itself shown a plain grey picture. `figures.json` holds
the same figures; they are those of the weights above.

### Held-out pictures

{overall["questions"]:,} questions about {overall["pictures"]:,} pictures, with yes and no, and the numbers zero to six,
asked equally often. Never trained on are

- pairs of colour and shape: {pairs} (at least one in every picture that shows things);
- faces: {_list(HELD_OUT_FACES)} (training has {len(FACES)} others);
- grounds: half of the pictures are {" or ".join(HELD_OUT_GROUNDS)}, half are teal;
- sizes: radii are 8 to 10% off the nominal ones (in training up to 8%);
- scenes and seeds.

{held_out}

### Pictures of other programs

The first {foreign_questions:,} of these questions, each scene drawn by matplotlib or resvg instead, with their own
shapes, colour names and letters, and saved in five ways.

{foreign}
{_clip_section(figures)}{_speech_section(folder)}
To measure again: {_list(_commands(figures))}.

## License

Apache-2.0, weights and code.
"""


def _commands(figures: dict[str, Any]) -> list[str]:
    return [
        f"`python -m multimodal.nano.{name}`" for name in ("quality", *(["clip_quality"] if "clips" in figures else []))
    ]


def _lacks(figures: dict[str, Any]) -> str:
    lacked = {"video.safetensors": "does not see clips", "speech.safetensors": "does not hear"}
    told = [words for file, words in lacked.items() if file not in figures["weights"]]
    return f"It {' and '.join(told)}." if told else ""


def _clip_world(figures: dict[str, Any]) -> str:
    """What clips may show, as an item of the list of what nano knows."""
    if "clips" not in figures:
        return ""
    least, most = SECONDS
    return f"""
- **Clips** of {least:g} to {most:g} seconds, in which one to three of these things, all different in colour and in
  shape, do one thing each ({_list(ACTIONS)}), one after the other. Asked may be what a thing does and which way it
  moves, who does it, what happens first, last, before and after, how many do it, and colours at start and end."""


def _clip_section(figures: dict[str, Any]) -> str:
    if "clips" not in figures:
        return ""
    overall = figures["clips"]["overall"]
    return f"""
### Held-out clips

{overall["questions"]:,} questions about {overall["clips"]} clips that no frame alone answers, nor all frames without
their order: each has another answer where the clip runs backwards. Clips are encoded files, read as any other file.
Never trained on are the pairs and grounds above, sizes and rates, two of the four codecs, scenes and seeds. Beside
the score stand four that see no time: the best answer that is always the same, and the model itself shown the
frames in a random order, one frame, and a grey clip (the last three on the first {overall["controls"]} questions).

{clip_table(figures)}
"""


def _speech_section(folder: Path) -> str:
    """What `speech.quality` wrote into the folder, if it did."""
    if not (folder / SPEECH_FIGURES).exists():
        return ""
    figures = json.loads((folder / SPEECH_FIGURES).read_text("utf-8"))
    heard, mixed, questions = figures["transcription"], figures["mixed"], figures["questions"]
    fewest = min(one["utterances"] for one in heard["clean"]["languages"].values())
    return f"""
### Held-out speech

{len(heard["clean"]["languages"])} languages, {fewest} phrases of each, made by espeak-ng: combinations of words, voice
variants, rates and pitches that training never had, in rooms as training has them; without added noise and with
noise of {heard["noisy"]["snr_db"]:g} dB. Errors are shares of characters and words; translations count
if they are right to the letter. Noise alone instead of speech gives {heard["blind"]["cer"]:.0%} wrong characters.

{speech_table(figures)}

Lists that change their language on the way: {mixed["cer"]:.1%} wrong characters, {mixed["wer"]:.1%} wrong words.
Questions about held-out pictures, asked aloud: {questions["spoken"]:.1%} right, {questions["written"]:.1%} of the same
in writing, {questions["blind"]:.1%} of noise instead of a question.
{_other_voices(figures)}
"""


def speech_table(figures: dict[str, Any]) -> str:
    """The scores in held-out voices as a Markdown table, language by language and their means."""
    heard, told = figures["transcription"], figures["translation"]
    clean, noisy, into, out_of = heard["clean"], heard["noisy"], told["into English"], told["from English"]
    rows = [
        [name, *(f"{side['languages'][name][rate]:.1%}" for side in (clean, noisy) for rate in ("cer", "wer"))]
        + [f"{way['languages'][name]:.0%}" if name in way["languages"] else "" for way in (into, out_of)]
        for name in clean["languages"]
    ]
    mean = [f"{side[rate]:.1%}" for side in (clean, noisy) for rate in ("cer", "wer")]
    rows.append(["**mean**", *mean, *(f"{way['exact']:.0%}" for way in (into, out_of))])
    return _table(["language", "CER", "WER", "CER, noise", "WER, noise", "into English", "from English"], rows)


def _other_voices(figures: dict[str, Any]) -> str:
    if "other voices" not in figures:
        return ""
    voices = figures["other voices"].items()
    heard = (f"{name} {one['recognised']:.0%} (of {one['utterances']} sentences)" for name, one in voices)
    return f"Of English words said by synthesisers, most of which it never learnt from, it recognised: {_list(heard)}."


def clip_table(figures: dict[str, Any]) -> str:
    """The scores about held-out clips as a Markdown table, kind by kind and overall."""
    clips, columns = figures["clips"], ("exact", "constant", "shuffled", "one_frame", "blind")
    return _table(
        ["kind of question", "exact", "best constant", "shuffled", "one frame", "blind", "questions"],
        [
            [kind, *(f"{one[name]:.1%}" for name in columns), f"{one['questions']:,}"]
            for kind, one in (*clips["kinds"].items(), ("**overall**", clips["overall"]))
        ],
    )


def _list(words: Any) -> str:
    return ", ".join(words)


def _table(header: list[str], rows: list[list[str]]) -> str:
    ruler = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ruler, *rows])


def held_out_table(figures: dict[str, Any]) -> str:
    """The scores about held-out pictures as a Markdown table, kind by kind and overall."""
    rows = [*figures["kinds"].items(), ("**overall**", figures["overall"])]
    shares = ("exact", "constant", "blind")
    return _table(
        ["kind of question", "exact", "best constant", "blind", "questions"],
        [[kind, *(f"{one[share]:.1%}" for share in shares), f"{one['questions']:,}"] for kind, one in rows],
    )


def _foreign_table(figures: dict[str, Any]) -> str:
    return _table(
        ["saved as", "exact", "best constant", *KINDS],
        [
            [way, f"{one['exact']:.1%}", f"{one['constant']:.1%}", *(f"{one['kinds'][kind]:.0%}" for kind in KINDS)]
            for way, one in figures["foreign"].items()
        ],
    )


def _stage_table(figures: dict[str, Any]) -> str:
    return _table(
        ["stage", "steps", "time"],
        [
            [stage, f"{facts['steps']:,}", _duration(facts["seconds"]) if "seconds" in facts else "not logged"]
            for stage, facts in figures["stages"].items()
        ],
    )


def _file_rows(folder: Path, figures: dict[str, Any]) -> str:
    return "\n".join(
        f"| {name} | {_PARTS.get(name, '')} | {(folder / name).stat().st_size:,} | `{digest}` |"
        for name, digest in figures["weights"].items()
    )


def main(
    run: Annotated[Path, typer.Argument(help="folder of the training run")],
    folder: Annotated[Path, typer.Argument(help="folder of the exported model")],
    figures: Annotated[Path, typer.Argument(help="what `quality --json` or `clip_quality --json` wrote")],
    machine: Annotated[str, typer.Option(help="what the run was made on, in words")],
) -> None:
    """Write figures.json and the model card."""
    write_card(folder, json.loads(figures.read_text("utf-8")), stage_facts(run), machine)


if __name__ == "__main__":
    typer.run(main)
