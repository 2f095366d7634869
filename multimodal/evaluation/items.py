"""What a model is asked and what is right: the items of a data set, and the tasks that they belong to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

SPEECH_TASKS = ("asr", "ast-into-english", "ast-from-english", "spoken-qa", "code-switch")
VOICE_TASKS = ("tts-intelligibility", "text-normalization")
PICTURE_TASKS = ("image-qa", "video-qa")
TASKS = SPEECH_TASKS + VOICE_TASKS + PICTURE_TASKS

# How an answer to a question is scored; an item of the three question tasks names one in extra["metric"].
QUESTION_METRICS = ("exact", "choice", "vqa", "anls", "relaxed", "wups")


@dataclass(frozen=True)
class Item:
    """One thing to ask a model.

    id: unlike all others of the data set, and the same in every run.
    language: the English name of one of the 34 (`multimodal.languages`). It is the one that the report
        groups by: of the speech for `asr`, `spoken-qa` and `ast-into-english`; of the text wanted for
        `ast-from-english`; of the sentence that holds foreign words for `code-switch`.
    prompt: the question for `image-qa` and `video-qa`, written as the data set has it; the text to say for
        `tts-intelligibility`; the written form for `text-normalization`; else None, or for `spoken-qa` text
        that goes with the sound.
    references: every right answer. `asr` and the translations have one or more, VQA one of each of ten people.
    images: several stand in the question where it says <image 1>, <image 2> ..., and before it where it does not.
    extra: what some tasks need besides. "metric": one of QUESTION_METRICS; "options": the answers to choose
        from, in order, for "choice" (the reference is then the letter: A, B, ...); "duration_s": of the sound,
        for throughput and for batches of like length; anything else is kept for the report.
    """

    id: str
    task: str
    language: str
    prompt: str | None
    references: tuple[str, ...]
    images: tuple[Path, ...] = ()
    audio: Path | None = None
    video: Path | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"item {self.id}: found task {self.task!r}; accepted: {', '.join(TASKS)}")
        if not self.references:
            raise ValueError(f"item {self.id}: found no reference; at least one is needed")


class Dataset(Protocol):
    """Items under a name: the data set and its split, as "fleurs test"."""

    name: str

    def __iter__(self) -> Iterator[Item]: ...
