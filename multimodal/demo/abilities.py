"""What a model can do, and so what the page shows of itself: kinds of files, tasks, a voice, words about it."""

from dataclasses import dataclass
from pathlib import Path

from ..assistant import Assistant

SUFFIXES = {
    "picture": (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"),
    "clip": (".mp4", ".mov", ".mkv", ".webm", ".avi"),
    "sound": (".wav", ".flac", ".ogg", ".opus", ".mp3"),
}
_ABOUT_NANO = (
    ["tell colour, shape, count, size and place of simple drawn things", "read short printed words"],
    "Nano knows nothing of photographs or of the world at large: a few million weights that ship with the package.",
)


@dataclass(frozen=True)
class Abilities:
    """Whether a model takes pictures, clips and sounds, and whether it speaks."""

    picture: bool
    clip: bool
    sound: bool
    voice: bool

    @classmethod
    def of(cls, assistant: Assistant) -> "Abilities":
        model = assistant.model
        has = [part is not None for part in (model.vision, model.video_encoder, model.speech)]
        return cls(*has, assistant.has_voice)

    @property
    def kinds(self) -> list[str]:
        """The kinds of files, as keys of SUFFIXES."""
        return [kind for kind in SUFFIXES if getattr(self, kind)]

    @property
    def suffixes(self) -> list[str]:
        """The ends of the names of files that may be dropped on the page."""
        return [suffix for kind in self.kinds for suffix in SUFFIXES[kind]]

    def kind_of(self, path: str) -> str:
        """picture, clip or sound, by the end of the file's name.

        Raises ValueError for any other file; what is inside is looked at when the file is opened.
        """
        suffix = Path(path).suffix.lower()
        for kind in self.kinds:
            if suffix in SUFFIXES[kind]:
                return kind
        accepted = ", ".join(self.suffixes) or "no files"
        raise ValueError(f"{Path(path).name}: found a file that ends in {suffix or 'nothing'}; accepted: {accepted}")

    def about(self, name: str) -> tuple[str, str]:
        """Two sentences: what the model can do, and what it cannot."""
        if name == "nano":
            more = [
                "tell what moves in a clip" * self.clip,
                "hear those questions, and dates and numbers in 34 languages" * self.sound,
                "speak its answers" * self.voice,
            ]
            *most, last = [*_ABOUT_NANO[0], *filter(None, more)]
            return f"Nano can {', '.join(most)} and {last}.", _ABOUT_NANO[1]
        takes = ", ".join(["text", *(f"{kind}s" for kind in self.kinds)])
        lacks = [f"{kind}s" for kind in SUFFIXES if kind not in self.kinds] + ["a voice"] * (not self.voice)
        cannot = f"It has no part for {', '.join(lacks)}. " if lacks else ""
        return f"{name} takes {takes}.", f"{cannot}Answers can be wrong: check what matters."
