"""What a visitor can ask at one click: the files in examples/ of a checkout, and questions that nano was trained on."""

from dataclasses import dataclass
from pathlib import Path

from .abilities import Abilities

FOLDER = Path(__file__).parents[2] / "examples"  # of the repository; a wheel comes without them


@dataclass(frozen=True)
class Example:
    """A question and the files it is about; `title` is what the page calls it."""

    question: str
    files: tuple[str, ...] = ()
    title: str = ""


def examples(abilities: Abilities, folder: Path = FOLDER) -> list[Example]:
    """Those that the model can do and whose files are there."""
    scene, sign, spoken = folder / "scene.png", folder / "sign.jpg", folder / "question.wav"
    clips = sorted(path for path in folder.glob("*.mp4"))[:1]
    found = [Example("What is the capital of France?")]
    if abilities.picture and scene.is_file():
        found[:0] = [
            Example("How many things are there?", (str(scene),)),
            Example("What color is the star?", (str(scene),)),
        ]
    if abilities.picture and sign.is_file():
        found.insert(-1, Example("What does it say?", (str(sign),)))
    if abilities.clip and clips:
        found.insert(-1, Example("What moves, and where to?", (str(clips[0]),)))
    if abilities.sound and abilities.picture and spoken.is_file() and scene.is_file():
        found.insert(-1, Example("", (str(scene), str(spoken)), "A spoken question about the picture"))
    return found
