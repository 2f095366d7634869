"""Questions about pictures as they are published: VQAv2, TextVQA, DocVQA, ChartQA, AI2D, MMMU."""

import ast
import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from ..items import Item
from .sets import Asked, HubRow, Published
from .tables import find, json_of, media, require

_ENGLISH = {"en": "en"}
_TASKS = ("image-qa",)
_MMMU_PICTURES = tuple(f"image_{number}" for number in range(1, 8))


def _asked(name: object, question: str, answers: Sequence[str], *pictures: Path, metric: str, **extra: Any) -> Item:
    answers = tuple(str(answer) for answer in answers)
    return Item(str(name), "image-qa", "English", question, answers, images=pictures, extra={"metric": metric, **extra})


def _choice(name: object, question: str, options: Sequence[str], right: int, *pictures: Path, **extra: Any) -> Item:
    """The right answer by its letter."""
    if not 0 <= right < len(options):
        raise ValueError(f"question {name}: found option {right} as the right one of {len(options)}")
    extra = {"options": list(options), **extra}
    return _asked(name, question, [ascii_uppercase[right]], *pictures, metric="choice", **extra)


def _vqav2(asked: Asked) -> Iterator[Item]:
    """Questions and annotations in a file each; the answers of test questions are not published."""
    year = "val2014" if asked.split == "val" else asked.split
    questions = find(asked.folder, f"v2_OpenEnded_mscoco_{year}_questions.json", f"*/v2_*{year}_questions.json")
    answers = find(asked.folder, f"v2_mscoco_{year}_annotations.json", f"*/v2_*{year}_annotations.json")
    told = {row["question_id"]: row["answers"] for row in _rows(answers, "annotations", "question_id", "answers")}
    for row in _rows(questions, "questions", "question_id", "question", "image_id"):
        name = f"COCO_{year}_{row['image_id']:012d}.jpg"
        picture = media(find(asked.folder, year, f"*/{year}", f"*/*/{year}") / name, questions)
        if row["question_id"] not in told:
            raise ValueError(f"{answers} has no answer to question {row['question_id']}")
        said = [answer["answer"] for answer in told[row["question_id"]]]
        yield _asked(row["question_id"], row["question"], said, picture, metric="vqa")


def _textvqa(asked: Asked) -> Iterator[Item]:
    table = find(asked.folder, f"TextVQA_*_{asked.split}.json")
    folder = find(asked.folder, "train_images", "train_val_images/train_images", "test_images")
    for row in _rows(table, "data", "question_id", "question", "image_id", "answers"):
        picture = media(folder / f"{row['image_id']}.jpg", table)
        yield _asked(row["question_id"], row["question"], row["answers"], picture, metric="vqa")


def _docvqa(asked: Asked) -> Iterator[Item]:
    """A picture is at documents/*.png in the split's folder; in later downloads all are in spdocvqa_images."""
    names = [f"{asked.split}_v1.0.json", f"{asked.split}_v1.0_withQT.json"]
    table = find(asked.folder, *(f"{folder}{name}" for folder in ("", f"{asked.split}/", "*/") for name in names))
    beside = table.parent.relative_to(asked.folder)
    for row in _rows(table, "data", "questionId", "question", "image", "answers"):
        inside = row["image"]
        later = f"spdocvqa_images/{Path(inside).name}"
        picture = find(asked.folder, f"{beside}/{inside}", f"{asked.split}/{inside}", later)
        yield _asked(row["questionId"], row["question"], row["answers"], picture, metric="anls")


def _chartqa(asked: Asked) -> Iterator[Item]:
    folder = find(asked.folder, asked.split, f"ChartQA Dataset/{asked.split}")
    for kind in ("human", "augmented"):
        table = find(folder, f"{asked.split}_{kind}.json")
        for number, row in enumerate(_rows(table, None, "imgname", "query", "label")):
            picture = media(folder / "png" / row["imgname"], table)
            yield _asked(f"{kind}-{number}", row["query"], [row["label"]], picture, metric="relaxed", kind=kind)


def _ai2d(asked: Asked) -> Iterator[Item]:
    """A file of questions a picture; which pictures are for testing stands in ai2d_test_ids.csv."""
    if asked.split != "test":
        raise ValueError(f"found split {asked.split!r} of ai2d; accepted: test")
    folder = find(asked.folder, "questions", "ai2d/questions").parent
    listed = find(asked.folder, "ai2d_test_ids.csv", "ai2d/ai2d_test_ids.csv")
    with listed.open(encoding="utf-8", newline="") as file:
        tested = [row[0].strip() for row in csv.reader(file) if row and row[0].strip()]
    for number in tested:
        table = folder / "questions" / f"{number}.png.json"
        if not table.exists():
            continue  # of some pictures nothing is asked
        picture = media(folder / "images" / f"{number}.png", table)
        about = json_of(table)
        require(tuple(about), ("questions",), table)
        for text, row in about["questions"].items():
            require(tuple(row), ("questionId", "answerTexts", "correctAnswer"), table)
            lettered = bool(row.get("abcLabel"))
            yield _choice(
                row["questionId"], text, row["answerTexts"], row["correctAnswer"], picture, abc_label=lettered
            )


def _rows(path: Path, key: str | None, *needed: str) -> Iterator[dict[str, Any]]:
    """The rows of a JSON file, under a key or as the whole of it."""
    whole = json_of(path)
    if key is not None:
        require(tuple(whole) if isinstance(whole, dict) else (), (key,), path)
        whole = whole[key]
    for row in whole:
        require(tuple(row), needed, path)
        yield row


def _mmmu(asked: Asked) -> Iterator[Item]:
    raise ValueError(f"found no parquet file in {asked.folder}; accepted: a folder with Art/validation-*.parquet")


def _mmmu_row(row: HubRow, asked: Asked) -> Item:
    """Question and options say <image 1> and the like where its pictures are to be seen."""
    values = row.values
    pictures = [row.save(name) for name in _MMMU_PICTURES if values.get(name) is not None]
    if values["question_type"] == "multiple-choice":
        right = ascii_uppercase.index(values["answer"])
        return _choice(values["id"], values["question"], _listed(values["options"]), right, *pictures)
    return _asked(values["id"], values["question"], _listed(values["answer"]), *pictures, metric="exact")


def _listed(value: str) -> list[str]:
    """MMMU writes lists as Python does; an answer that is none is the only one."""
    if not value.startswith("["):
        return [value]
    return [str(one) for one in ast.literal_eval(value)]


def _vqa_row(row: HubRow, asked: Asked) -> Item:
    said = [answer["answer"] if isinstance(answer, dict) else answer for answer in row.values["answers"]]
    return _asked(row.values["question_id"], row.values["question"], said, row.save("image"), metric="vqa")


def _docvqa_row(row: HubRow, asked: Asked) -> Item:
    values = row.values
    return _asked(values["questionId"], values["question"], values["answers"], row.save("image"), metric="anls")


def _chartqa_row(row: HubRow, asked: Asked) -> Item:
    kind = str(row.values["type"]).removesuffix("_test")
    answers = [row.values["answer"]]
    return _asked(row.number, row.values["question"], answers, row.save("image"), metric="relaxed", kind=kind)


def _ai2d_row(row: HubRow, asked: Asked) -> Item:
    values = row.values
    return _choice(row.number, values["question"], values["options"], int(values["answer"]), row.save("image"))


def _set(
    name: str,
    split: str,
    layout: str,
    read: Callable[[Asked], Iterator[Item]],
    hub_id: str,
    config: str | None,
    hub_split: str,
    hub_item: Callable[[HubRow, Asked], Item],
    columns: str,
) -> Published:
    return Published(
        name,
        _TASKS,
        _ENGLISH,
        split,
        layout,
        read,
        hub_id,
        lambda asked: config,
        {split: hub_split},
        hub_item,
        lambda asked: tuple(columns.split()),
    )


SETS = (
    _set(
        "vqav2",
        "val",
        "v2_OpenEnded_mscoco_val2014_questions.json, v2_mscoco_val2014_annotations.json and val2014/*.jpg",
        _vqav2,
        "lmms-lab/VQAv2",
        None,
        "validation",
        _vqa_row,
        "question_id question answers image",
    ),
    _set(
        "textvqa",
        "val",
        "TextVQA_0.5.1_val.json and train_images/*.jpg",
        _textvqa,
        "lmms-lab/textvqa",
        None,
        "validation",
        _vqa_row,
        "question_id question answers image",
    ),
    _set(
        "docvqa",
        "val",
        "val/val_v1.0.json and val/documents/*.png, or spdocvqa_qas/val_v1.0_withQT.json and spdocvqa_images/*.png",
        _docvqa,
        "lmms-lab/DocVQA",
        "DocVQA",
        "validation",
        _docvqa_row,
        "questionId question answers image",
    ),
    _set(
        "chartqa",
        "test",
        "test/test_human.json, test/test_augmented.json and test/png/*.png",
        _chartqa,
        "lmms-lab/ChartQA",
        None,
        "test",
        _chartqa_row,
        "type question answer image",
    ),
    _set(
        "ai2d",
        "test",
        "images/*.png, questions/*.png.json and ai2d_test_ids.csv",
        _ai2d,
        "lmms-lab/ai2d",
        None,
        "test",
        _ai2d_row,
        "question options answer image",
    ),
    _set(
        "mmmu",
        "validation",
        "a folder a subject, as Art/validation-00000-of-00001.parquet",
        _mmmu,
        "MMMU/MMMU",
        "*",
        "validation",
        _mmmu_row,
        "id question options answer question_type image_1",
    ),
)
