"""Questions about clips as they are published: PerceptionTest, NExT-QA, ActivityNet-QA. Clips come from a folder."""

from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase

from ..items import Item
from .sets import Asked, Published
from .tables import find, json_of, media, require, rows_of

_ENGLISH = {"en": "en"}
_TASKS = ("video-qa",)
_ENDINGS = (".mp4", ".mkv", ".webm")
_OPTIONS = ("a0", "a1", "a2", "a3", "a4")


def _perceptiontest(asked: Asked) -> Iterator[Item]:
    """Multiple choice: a clip a key, and under it its questions."""
    table = find(asked.folder, f"mc_question_{asked.split}.json", f"all_{asked.split}.json")
    videos = find(asked.folder, "videos", f"{asked.split}/videos")
    for name, about in json_of(table).items():
        require(tuple(about), ("mc_question",), table)
        for row in about["mc_question"]:
            require(tuple(row), ("id", "question", "options", "answer_id"), table)
            video = media(videos / f"{name}.mp4", table)
            extra = {"metric": "choice", "options": list(row["options"]), "area": row.get("area")}
            right = ascii_uppercase[row["answer_id"]]
            yield Item(
                f"{name}-{row['id']}", "video-qa", "English", row["question"], (right,), video=video, extra=extra
            )


def _nextqa(asked: Asked) -> Iterator[Item]:
    """With the options a0 to a4 multiple choice, without them open answers, for which the paper has WUPS.

    Second answers to open questions are in a file beside them: by clip and question.
    """
    table = find(asked.folder, *(f"{folder}{asked.split}.csv" for folder in ("", "nextqa/", "dataset/nextqa/")))
    places = json_of(find(table.parent, "map_vid_vidorID.json"))
    second = table.with_name(f"add_reference_answer_{asked.split}.json")
    also = json_of(second) if second.is_file() else {}
    videos = find(asked.folder, "NExTVideo", "videos")
    for row in rows_of(table, ("video", "question", "answer", "qid")):
        if row["video"] not in places:
            raise ValueError(f"map_vid_vidorID.json has no video {row['video']}, which a row of {table} names")
        video = media(videos / f"{places[row['video']]}.mp4", table)
        extra = {"metric": "wups", "type": row.get("type")}
        answers = [row["answer"], *filter(None, [also.get(row["video"], {}).get(row["qid"])])]
        if "a0" in row:
            options = [row[name] for name in _OPTIONS]
            extra |= {"metric": "choice", "options": options}
            answers = [ascii_uppercase[int(row["answer"])]]
        name = f"{row['video']}-{row['qid']}"
        yield Item(name, "video-qa", "English", row["question"], tuple(answers), video=video, extra=extra)


def _activitynetqa(asked: Asked) -> Iterator[Item]:
    """Questions and answers in a file each. The paper has a language model judge the answers; here they must agree."""
    questions = find(asked.folder, f"{asked.split}_q.json", f"dataset/{asked.split}_q.json")
    answers = find(questions.parent, f"{asked.split}_a.json")
    told = {}
    for row in json_of(answers):
        require(tuple(row), ("question_id", "answer"), answers)
        told[row["question_id"]] = row
    videos = find(asked.folder, "videos", "all_test")
    for row in json_of(questions):
        require(tuple(row), ("video_name", "question", "question_id"), questions)
        if row["question_id"] not in told:
            raise ValueError(f"{answers} has no answer to question {row['question_id']}")
        answer = told[row["question_id"]]
        video = _video(videos, row["video_name"], questions)
        extra = {"metric": "exact", "type": answer.get("type")}
        right = (str(answer["answer"]),)
        yield Item(row["question_id"], "video-qa", "English", row["question"], right, video=video, extra=extra)


def _video(folder: Path, name: str, row_of: Path) -> Path:
    """ActivityNet's files begin with v_ and have one of three endings."""
    names = [f"{start}{name}{ending}" for start in ("v_", "") for ending in _ENDINGS]
    for one in names:
        if (folder / one).is_file():
            return folder / one
    raise ValueError(f"found no file {' or '.join(names)} in {folder}, which a row of {row_of} names")


SETS = (
    Published(
        "perceptiontest",
        _TASKS,
        _ENGLISH,
        "valid",
        "mc_question_valid.json and videos/*.mp4",
        _perceptiontest,
    ),
    Published(
        "nextqa",
        _TASKS,
        _ENGLISH,
        "test",
        "test.csv, map_vid_vidorID.json and NExTVideo/*/*.mp4",
        _nextqa,
    ),
    Published(
        "activitynetqa",
        _TASKS,
        _ENGLISH,
        "test",
        "test_q.json, test_a.json and videos/v_*.mp4 (or .mkv, .webm)",
        _activitynetqa,
    ),
)
