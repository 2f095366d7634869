"""What the command line does with a voice: answers and texts said aloud, into a file or to the sound device."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .cli_loading import load_model
from .cli_options import AsJson, Language, Model, Pitch, Play, Rate, Speaker, Voice

if TYPE_CHECKING:
    from .assistant import Assistant
    from .voice import Speech


def speak_text(
    text: Annotated[str, typer.Argument(help="What to say.")],
    out: Annotated[Path | None, typer.Option(metavar="OUT.wav", help="The file to write.", show_default=False)] = None,
    play: Play = False,
    language: Language = "English",
    speaker: Speaker = None,
    rate: Rate = 1.0,
    pitch: Pitch = 1.0,
    voice: Voice = None,
    model: Model = "nano",
    as_json: AsJson = False,
) -> None:
    """Say a text: write it as a WAV file, play it while it is being made, or both."""
    if out is None and not play:
        raise ValueError("found neither --out nor --play; accepted: one of them, or both")
    how = {"language": language, "speaker": speaker, "rate": rate, "pitch": pitch}
    checked(out, how)
    _say_aloud(load_model(model, None, voice), text, how, out, play, {"model": model} if as_json else None)


def checked(out: Path | None, how: dict) -> None:
    """Raises ValueError for what cannot be, before anything is loaded."""
    from .voice import Speaking, checked_out

    Speaking(**how)
    if out is not None:
        checked_out(out)


def ask_aloud(
    assistant: "Assistant",
    question: str | None,
    about: dict,
    how: dict,
    out: Path | None,
    play: bool,
    told: dict | None,
) -> None:
    """Print an answer as it comes, and say it; told: what one JSON object says before it, None for plain text."""
    with _player(assistant, play) as hear:
        for event in assistant.stream(question, **about, speak=True, **how):
            if event.audio:
                hear(event.audio)
            if told is None:
                typer.echo(event.text, nl=False)
    answer = event.answer
    if told is None:
        typer.echo()
    if out is not None:
        answer.speech.save(out)
    if told is not None:
        figures = {
            "text": answer.text,
            "prompt_tokens": answer.prompt_tokens,
            "new_tokens": answer.new_tokens,
            "time_to_first_token_s": answer.time_to_first_token_s,
            "total_s": answer.total_s,
        }
        typer.echo(json.dumps(told | figures | _of_speech(answer.speech, out, answer.time_to_first_audio_s)))


def _say_aloud(assistant: "Assistant", text: str, how: dict, out: Path | None, play: bool, told: dict | None) -> None:
    """Say a text, and print what was written or, with told, one JSON object."""
    import numpy as np

    from .voice import Speech

    started, first_s, pieces = time.perf_counter(), None, []
    with _player(assistant, play) as hear:
        for [piece] in assistant.speak_pieces([text], **how):
            if piece is not None:
                first_s = first_s or time.perf_counter() - started
                pieces.append(piece.samples)
                hear(piece)
    speech = Speech(np.concatenate(pieces), assistant.voice.sample_rate)
    if out is not None:
        speech.save(out)
    if told is not None:
        typer.echo(json.dumps(told | {"text": text} | _of_speech(speech, out, first_s)))
    elif out is not None:
        typer.echo(f"{out}: {speech.duration_s:.2f} s at {speech.sample_rate} Hz")


def _of_speech(speech: "Speech", out: Path | None, first_s: float | None) -> dict:
    return {
        "speech": str(out) if out else None,
        "sample_rate": speech.sample_rate,
        "duration_s": speech.duration_s,
        "time_to_first_audio_s": first_s,
    }


@contextmanager
def _player(assistant: "Assistant", play: bool) -> Iterator[Callable[["Speech"], None]]:
    """What takes each piece of sound: the sound device, or nothing."""
    if not play:
        yield lambda piece: None
        return
    from .voice_playing import Player

    with Player(assistant.voice.sample_rate) as player:
        yield player.play
