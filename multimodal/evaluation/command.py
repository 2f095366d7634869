"""What `multimodal evaluate` does: asks, scores, and writes the report."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..checkpoint import NANO
from ..languages import LANGUAGES, find_language
from .answer_log import write_atomically
from .answering import Answers, refusal
from .contamination import contamination, training_texts
from .data import ItemSet, open_dataset
from .items import TASKS, Item
from .plots import bars
from .processes import Processes, launched, own_device
from .report import markdown, terminal_table
from .results import FORMAT, Settings, asked, task_results, versions, weights_of
from .runner import ask_all, checked, read_answers
from .scoring import speed

NEEDS = ("jiwer", "rapidfuzz", "sacrebleu", "whisper_normalizer", "matplotlib", "babel", "espeakng_loader", "datasets")
ALL = "all"
ABOUT = {
    "asr": "speech to text: WER, for Chinese, Japanese, Korean, Thai CER",
    "ast-into-english": "speech to English text: BLEU, chrF",
    "ast-from-english": "English speech to text in a language: BLEU, chrF",
    "spoken-qa": "spoken questions, with or without a picture: accuracy",
    "code-switch": "sentences with foreign words: mixed error rate",
    "tts-intelligibility": "what a recogniser hears of the model's own voice: WER or CER",
    "text-normalization": "written forms as they are said: sentences right",
    "image-qa": "questions about pictures: the metric of the data set",
    "video-qa": "questions about clips: the metric of the data set",
}


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see its help."""

    tasks: Sequence[str]
    model: str
    languages: Sequence[str]
    data: str | None
    split: str | None
    limit: int | None
    out: Path
    batch_size: int
    workers: int
    seed: int
    max_new_tokens: int
    training_manifest: Path | None


def run(words: Sequence[str], request: Request) -> None:
    """`evaluate list`, `evaluate compare A B`, or an evaluation of tasks."""
    console = Console(markup=False, highlight=False)
    if list(words) == ["list"]:
        console.print(listed())
    elif words[0] == "compare":
        if len(words) != 3:
            raise ValueError(f"found {len(words) - 1} runs to compare; accepted: evaluate compare A B, two folders")
        refuse_without_extras()
        from .compare import compare, table

        console.print(table(compare(Path(words[1]), Path(words[2]))))
    else:
        evaluate(request)


def listed() -> Table:
    """The tasks, for a terminal."""
    table = Table("task", "what is measured")
    for task in TASKS:
        table.add_row(task, ABOUT[task])
    return table


def evaluate(request: Request) -> None:
    """Run tasks and write `results.json`, `timings.json`, `report.md` and plots into the folder `out`.

    The same command goes on where it was stopped. Under a launcher each process answers its share, and the first
    one writes.

    Raises ValueError for a task, language, model or data set that is not there, for a model that lacks what a task
    needs (tasks of "all" are then left out), and for a folder that holds another run.
    """
    tasks = _checked_tasks(request.tasks)
    refuse_without_extras()
    for language in request.languages:
        find_language(language)
    with launched() as processes:
        model = open_model(request.model, request.max_new_tokens)
        sets, skipped = _open_sets(request, tasks, model, processes)
        items = {task: checked(found, task) for task, found in sets.items()}
        settings = _settings(request, sets, items, skipped)
        logs = request.out / "answers"
        with processes.leader_first():
            _claim(request.out, settings)
        for task in sets:
            how = dict(batch_size=request.batch_size, workers=request.workers, processes=processes)
            ask_all(model, items[task], logs, task, **how)
        if processes.leads:
            _write(request, settings, sets, items)
        processes.wait()


def _checked_tasks(tasks: Sequence[str]) -> tuple[str, ...]:
    if unknown := [task for task in tasks if task not in (*TASKS, ALL)]:
        raise ValueError(f"found task {', '.join(unknown)}; accepted: {', '.join(TASKS)}, or {ALL}")
    if not tasks:
        raise ValueError(f"found no task; accepted: {', '.join(TASKS)}, or {ALL}")
    return TASKS if ALL in tasks else tuple(dict.fromkeys(tasks))


def refuse_without_extras() -> None:
    """Raises ValueError naming what is not installed."""
    if missing := [name for name in NEEDS if find_spec(name) is None]:
        raise ValueError(
            f"evaluating needs {', '.join(missing)}; they come with: pip install 'multimodal-llama[eval,espeak]'"
        )


def open_model(name: str, max_new_tokens: int) -> Answers:
    """What answers: `whisper=ID` and `seamless=ID` are models from outside, anything else an assistant of ours."""
    kind, _, place = name.partition("=")
    device = own_device()
    if kind in ("whisper", "seamless") and place:
        from .outside import SeamlessAnswers, WhisperAnswers

        outside = {"whisper": WhisperAnswers, "seamless": SeamlessAnswers}[kind]
        try:
            return outside(place, **({"device": device} if device else {}))
        except OSError as error:
            raise ValueError(f"{place}: no model could be loaded ({str(error).splitlines()[0]})") from error
    from ..assistant import load
    from .assistant_answers import AssistantAnswers

    return AssistantAnswers(load(name, device=device), max_new_tokens)


def _open_sets(
    request: Request, tasks: Sequence[str], model: Answers, processes: Processes
) -> tuple[dict[str, ItemSet], dict[str, str]]:
    """The items of each task that the model can do, and why the others of "all" are left out."""
    sets: dict[str, ItemSet] = {}
    skipped: dict[str, str] = {}
    for task in tasks:
        try:
            if refused := refusal(model, task):
                raise ValueError(refused)
            sets[task] = _open(request, task, processes)
        except ValueError as error:
            if ALL not in request.tasks:
                raise
            skipped[task] = str(error)
    if not sets:
        raise ValueError("no task is left: " + "; ".join(skipped.values()))
    return sets, skipped


def _open(request: Request, task: str, processes: Processes) -> ItemSet:
    how = dict(split=request.split, seed=request.seed, processes=processes)
    return open_dataset(task, request.data, request.languages, request.limit, **how)


def _settings(
    request: Request, sets: dict[str, ItemSet], items: dict[str, list[Item]], skipped: dict[str, str]
) -> Settings:
    languages = [find_language(one).name for one in request.languages] or [one.name for one in LANGUAGES]
    place = request.model.rpartition("=")[2]
    return Settings(
        model=request.model,
        tasks=tuple(sets),
        data={task: found.name for task, found in sets.items()},
        languages=tuple(languages),
        limit=request.limit,
        batch_size=request.batch_size,
        seed=request.seed,
        max_new_tokens=request.max_new_tokens,
        weights=weights_of(NANO if place == "nano" else Path(place)),
        items={task: asked(some) for task, some in items.items()},
        skipped=skipped,
    )


def _claim(out: Path, settings: Settings) -> None:
    """Make the folder this run's. Raises ValueError if it is another's."""
    path, told = out / "run.json", settings.told()
    if path.is_file():
        before = json.loads(path.read_text("utf-8"))
        if different := [name for name in told if before.get(name) != told[name]]:
            raise ValueError(
                f"{out} holds a run with other {', '.join(different)}; give another folder with --out, or remove it"
            )
        return
    write_atomically(path, json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def _write(request: Request, settings: Settings, sets: dict[str, ItemSet], items: dict[str, list[Item]]) -> None:
    """Scores, report and plots; each file is whole or not there."""
    sections, speeds, plots = [], {}, {}
    for task, found in sets.items():
        replies, seconds = read_answers(items[task], request.out / "answers", task)
        section = task_results(
            task, found.name, items[task], replies, request.seed, _contamination(items[task], request)
        )
        sections.append(section)
        speeds[task] = speed(items[task], replies, seconds, request.batch_size)
        plots[task] = f"plots/{task}.png"
        write_atomically(request.out / plots[task], bars(section))
    results = {"format": FORMAT, "settings": settings.told(), "versions": versions(), "tasks": sections}
    as_json = partial(json.dumps, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(request.out / "timings.json", as_json(speeds) + "\n")
    write_atomically(request.out / "results.json", as_json(results) + "\n")
    write_atomically(request.out / "report.md", markdown(results, speeds, plots))
    console = Console(markup=False, highlight=False)
    for section in sections:
        console.print(terminal_table(section))
    for reason in settings.skipped.values():
        console.print(f"left out: {reason}")
    print(f"report: {request.out / 'report.md'}", file=sys.stderr)


def _contamination(items: Sequence[Item], request: Request) -> dict[str, Any] | None:
    """The share of items whose tokens lie in 8-grams of the training manifest, by threshold."""
    if request.training_manifest is None:
        return None
    found = contamination(items, training_texts(request.training_manifest))
    return {"manifest": request.training_manifest.name, "share": found.figures(), "too_short": found.too_short}
