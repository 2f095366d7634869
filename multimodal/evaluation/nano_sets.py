"""Held-out sets of nano's world besides speech: pictures, clips, texts to say; made offline, from a seed."""

import random
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from tqdm import tqdm

from ..nano.clips import CONTAINERS, encode, sample_film, sample_scene_of_clip
from ..nano.quality import SAMPLE_QUESTIONS, Sheet, held_out_file, held_out_sheets
from ..nano.scenes import describe, sample_scene
from ..nano.text.clips import ask_about_clip
from ..nano.text.phrases import sample_items, say_all
from ..nano.text.small_talk import facts
from ..nano.voice.written_forms import sentence
from .files import write_whole
from .items import Item

PICTURES, CLIPS, ANSWERS, WRITTEN = "nano-pictures", "nano-clips", "nano-answers", "nano-written"
QUESTIONS = SAMPLE_QUESTIONS  # two blocks with the same shares of every kind and answer
CLIP_QUESTIONS = 120
TEXTS = 60
SENTENCES = 500
_QUESTIONS_A_CLIP = 3


def picture_items(limit: int | None, seed: int, folder: Path) -> list[Item]:
    """Questions about held-out pictures (`multimodal.nano.quality`); a picture is a PNG file in the folder."""
    number = QUESTIONS if limit is None else limit
    asked = [(sheet, at) for sheet in held_out_sheets(number, seed) for at in range(len(sheet.questions))][:number]
    items = []
    for sheet, at in tqdm(asked, PICTURES, delay=1, unit="question"):
        question = sheet.questions[at]
        items.append(
            Item(
                id=f"{sheet.seed}-{at}".replace(" ", "-"),
                task="image-qa",
                language="English",
                prompt=question.text,
                references=(question.answer,),
                images=(_picture_file(sheet, folder / "pictures"),),
                extra={"metric": "exact", "kind": question.kind},
            )
        )
    return items


def _picture_file(sheet: Sheet, folder: Path) -> Path:
    """The sheet's picture; its name tells what it shows, and once it is there it is not drawn again."""
    path = folder / f"{_named_after(sheet)}.png"
    return path if path.exists() else write_whole(path, lambda part: part.write_bytes(held_out_file(sheet)))


def clip_items(limit: int | None, seed: int, folder: Path) -> list[Item]:
    """Questions about held-out clips (`multimodal.nano.clips`); a clip is an MP4 or WebM file in the folder."""
    number = CLIP_QUESTIONS if limit is None else limit
    with tqdm(total=number, desc=CLIPS, delay=1, unit="question") as progress:
        items: list[Item] = []
        for item in _clip_items(seed, folder):
            if len(items) == number:
                break
            items.append(item)
            progress.update()
    return items


def _clip_items(seed: int, folder: Path) -> Iterator[Item]:
    number = 0
    while True:
        rng = random.Random(f"{CLIPS} held out {seed} {number}")
        scene = sample_scene_of_clip(rng, held_out=True)
        film = sample_film(scene, rng, held_out=True)
        path = folder / "clips" / f"{_named_after(film)}.{CONTAINERS[film.codec]}"
        if not path.exists():
            write_whole(path, lambda part, film=film: part.write_bytes(encode(film)))
        questions = [one for one in ask_about_clip(scene, rng, _QUESTIONS_A_CLIP) if one.kind != "describe"]
        for at, question in enumerate(questions):
            yield Item(
                id=f"held-out-{seed}-{number}-{at}",
                task="video-qa",
                language="English",
                prompt=question.text,
                references=(question.answer,),
                video=path,
                extra={"metric": "exact", "kind": question.kind},
            )
        number += 1


def answer_items(limit: int | None, seed: int) -> list[Item]:
    """English texts as nano answers them, to be said aloud and heard again.

    In turn a description of a held-out scene, a fact, and a held-out list of names, numbers and dates.
    """
    rng = random.Random(f"{ANSWERS} {seed}")
    known = rng.sample(sorted({fact.answer for fact in facts()}), len({fact.answer for fact in facts()}))
    texts: dict[str, None] = {}
    number = TEXTS if limit is None else limit
    while len(texts) < number:
        kind = len(texts) % 3
        if kind == 0:
            texts.setdefault(describe(sample_scene(rng, held_out=True, max_things=3)))
        elif kind == 1 and known:
            texts.setdefault(known.pop())
        else:
            texts.setdefault(say_all(sample_items(rng, held_out=True), "en"))
    return [Item(f"en-{at:04d}", "tts-intelligibility", "English", text, (text,)) for at, text in enumerate(texts)]


def written_items(limit: int | None, seed: int) -> list[Item]:
    """Held-out English sentences with written forms that have several readings, and how they are said."""
    items = []
    for at in range(SENTENCES if limit is None else limit):
        one = sentence(at, held_out=True, seed=seed)
        extra = {"groups": list(one.groups), "known_words": one.known}
        items.append(Item(f"en-{at:04d}", "text-normalization", "English", one.written, (one.spoken,), extra=extra))
    return items


def _named_after(one: object) -> str:
    return sha256(repr(one).encode()).hexdigest()[:16]
