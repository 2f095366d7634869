"""Data of one's own: a JSONL or TSV file, a line an item.

A line has the medium (audio, image or video: a path, from the manifest's folder; in JSONL image may be a list, and
the question then says <image 1>, <image 2> ... where they stand), `text` (what is right; in JSONL also `references`,
a list) and, where it is not English, `language`. It may have `id` (else the number of the line), `prompt`
(the question, or the text to say), `metric` and, in JSONL, `options`. Any other key is kept for the report.

    {"audio": "one.wav", "language": "Hindi", "text": "..."}
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from multimodal.languages import Language, find_language

from .items import QUESTION_METRICS, SPEECH_TASKS, Item

ENDINGS = (".jsonl", ".tsv")
_MEDIA = ("audio", "image", "video")
_NEEDED = {
    **{task: ("audio",) for task in SPEECH_TASKS},
    "tts-intelligibility": (),
    "text-normalization": ("prompt",),
    "image-qa": ("image", "prompt"),
    "video-qa": ("video", "prompt"),
}
_OWN = (*_MEDIA, "text", "references", "language", "id", "prompt")
_QUESTIONS = ("spoken-qa", "image-qa", "video-qa")


def read_manifest(path: Path, task: str, languages: Sequence[Language] = ()) -> Iterator[Item]:
    """The items of a manifest, of the languages only (none named means all).

    Raises ValueError, with the line, for a key or file that is missing, an unknown language, or an id twice; also
    if a language is named that no line has.
    """
    if not path.is_file():
        raise ValueError(f"found no manifest {path}")
    seen: dict[str, int] = {}
    found: set[Language] = set()
    for number, row in _lines(path):
        item = _item(row, task, path, number)
        if item.id in seen:
            raise ValueError(f"line {number} of {path} has the id {item.id!r} of line {seen[item.id]}")
        seen[item.id] = number
        found.add(find_language(item.language))
        if not languages or find_language(item.language) in languages:
            yield item
    if missing := [language.name for language in languages if language not in found]:
        there = ", ".join(sorted(language.name for language in found)) or "none"
        raise ValueError(f"{path} has no line in {', '.join(missing)}; found {there}")
    if not seen:
        raise ValueError(f"{path} has no line")


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".tsv":
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            for number, row in enumerate(reader, start=2):
                if None in row or None in row.values():
                    raise ValueError(f"line {number} of {path} has other columns than its first line")
                yield number, {key: value for key, value in row.items() if value != "" or key == "text"}
            return
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number} of {path} is no JSON: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(f"line {number} of {path} is {type(row).__name__}; accepted: a JSON object")
            yield number, row


def _item(row: Mapping[str, Any], task: str, path: Path, number: int) -> Item:
    where = f"line {number} of {path}"
    if task == "tts-intelligibility" and "prompt" not in row and "text" in row:
        row = {**row, "prompt": row["text"]}
    needed = [*_NEEDED[task], *([] if "references" in row else ["text"])]
    if missing := [key for key in needed if key not in row]:
        raise ValueError(f"{where} has no {', '.join(missing)}; {task} needs {', '.join(needed)}")
    return Item(
        id=str(row.get("id", number)),
        task=task,
        language=_language(row, where),
        prompt=row.get("prompt"),
        references=_references(row, where),
        **_media_of(row, path, where),
        extra=_extra(row, task, where),
    )


def _language(row: Mapping[str, Any], where: str) -> str:
    try:
        return find_language(str(row.get("language", "English"))).name
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _references(row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    texts = row["references"] if "references" in row else [row["text"]]
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{where}: found references {texts!r}; accepted: a list of one text or more")
    return tuple(texts)


def _media_of(row: Mapping[str, Any], path: Path, where: str) -> dict[str, Any]:
    """An item's media by its fields."""
    named = row.get("image", [])
    images = tuple(path.parent / one for one in (named if isinstance(named, list) else [named]))
    media = {key: path.parent / row[key] for key in ("audio", "video") if key in row}
    for file in (*images, *media.values()):
        if not file.is_file():
            raise ValueError(f"{where} names {file}, which is not there")
    return {"images": images, **media}


def _extra(row: Mapping[str, Any], task: str, where: str) -> dict[str, Any]:
    extra = {key: value for key, value in row.items() if key not in _OWN}
    if task in _QUESTIONS:
        extra.setdefault("metric", "choice" if "options" in extra else "exact")
        if extra["metric"] not in QUESTION_METRICS:
            raise ValueError(f"{where}: found metric {extra['metric']!r}; accepted: {', '.join(QUESTION_METRICS)}")
    return extra
