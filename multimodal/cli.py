"""The command line: ask, chat, speak, transcribe, translate, demo, train, convert, evaluate, info.

Bad input ends in one line on the error stream, `error: ...`, and exit code 2. Libraries are imported
where a command needs them.
"""

import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from .cli_evaluate import evaluate_model
from .cli_loading import load_model, quiet_libraries
from .cli_options import (
    AsJson,
    AsJsonLines,
    Language,
    MaxNewTokens,
    Model,
    Pitch,
    Play,
    Rate,
    Seed,
    Speaker,
    SpeakTo,
    System,
    Temperature,
    Timestamps,
    TopP,
    Voice,
)
from .cli_voice import ask_aloud, checked, speak_text

if TYPE_CHECKING:
    from .assistant import Chat

# What training imports and the default installation lacks.
TRAINING_NEEDS = (
    "espeakng_loader",
    "font_caladea",
    "font_fjallaone",
    "font_fredoka_one",
    "font_hanken_grotesk",
    "font_lato",
    "font_manrope",
    "font_roboto",
    "font_source_sans_pro",
    "font_source_serif_pro",
    "jiwer",
    "matplotlib",
    "tensorboard",
)
CHAT_HELP = (
    "/image PATH shows a picture, /video PATH a clip, and /audio PATH plays a sound with the next question (an empty "
    "line then asks with the sound alone), /new starts again, /quit ends."
)


class _OneLineErrors(TyperGroup):
    """Turns what is wrong with the input into one line and exit code 2; any other exception is a bug and stays one."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except (typer.TyperException, ValueError, OSError) as error:
            _print_error(error)
            sys.exit(2)
        sys.exit(code)


app = typer.Typer(
    name="multimodal",
    cls=_OneLineErrors,
    help="A frozen Llama 3 with eyes, ears and a voice: ask about pictures, clips and speech, and hear the answer.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from . import __version__

        typer.echo(f"multimodal {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(epilog='Example: multimodal ask "How many circles are there?" --image scene.png --speak answer.wav')
def ask(
    question: Annotated[str | None, typer.Argument(help="What to ask.", show_default=False)] = None,
    image: Annotated[list[str], typer.Option(metavar="FILE", help="A picture; may be given again.")] = [],  # noqa: B006
    video: Annotated[list[str], typer.Option(metavar="FILE", help="A clip; may be given again.")] = [],  # noqa: B006
    start: Annotated[float | None, typer.Option(help="From here on in each clip, in seconds.")] = None,
    end: Annotated[float | None, typer.Option(help="Up to here in each clip, in seconds.")] = None,
    sound: Annotated[bool, typer.Option("--sound", help="Hear the clips' own sound tracks too.")] = False,
    audio: Annotated[list[str], typer.Option(metavar="FILE", help="A sound; may be given again.")] = [],  # noqa: B006
    system: System = None,
    model: Model = "nano",
    max_new_tokens: MaxNewTokens = 256,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Seed = None,
    speak: SpeakTo = None,
    play: Play = False,
    voice: Voice = None,
    language: Language = "English",
    speaker: Speaker = None,
    rate: Rate = 1.0,
    pitch: Pitch = 1.0,
    as_json: AsJson = False,
) -> None:
    """Answer a question, written or spoken, about pictures, clips or neither; the answer is printed as it comes."""
    aloud = speak is not None or play
    how = {"language": language, "speaker": speaker, "rate": rate, "pitch": pitch}
    if aloud:
        checked(speak, how)  # before a model is loaded
    assistant = load_model(model, seed, voice)
    sampling = dict(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p)
    about = dict(image=image or None, audio=audio or None, video=video or None, system=system)
    about |= dict(start_s=start, end_s=end, sound=sound)
    if aloud:
        ask_aloud(assistant, question, about | sampling, how, speak, play, {"model": model} if as_json else None)
        return
    if as_json:
        answer = assistant.ask(question, **about, **sampling)
        told = {name: value for name, value in asdict(answer).items() if value is not None}
        typer.echo(json.dumps({"model": model, **told}))
        return
    for event in assistant.stream(question, **about, **sampling):
        typer.echo(event.text, nl=False)
    typer.echo()


app.command("speak", epilog='Example: multimodal speak "It is Monday." --rate 0.9 --out monday.wav')(speak_text)


@app.command(epilog="Example: multimodal transcribe *.wav --language Hindi --json")
def transcribe(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Sounds of any length.")],
    language: Annotated[str, typer.Option(help="That of the text, one of 34: a name or a code.")] = "English",
    timestamps: Timestamps = False,
    model: Model = "nano",
    as_json: AsJsonLines = False,
) -> None:
    """Write down what is said in sounds."""
    _write_down(files, language, False, timestamps, model, as_json)


@app.command(epilog="Example: multimodal translate speech.wav --into English")
def translate(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Sounds of any length.")],
    into: Annotated[str, typer.Option(help="The language of the text, one of 34: a name or a code.")] = "English",
    timestamps: Timestamps = False,
    model: Model = "nano",
    as_json: AsJsonLines = False,
) -> None:
    """Write down what is said in sounds, in another language."""
    _write_down(files, into, True, timestamps, model, as_json)


def _write_down(files: list[str], language: str, translate: bool, timestamps: bool, model: str, as_json: bool) -> None:
    from .transcription import transcribe as write

    assistant = load_model(model, None)
    # words of a translation were never said
    words = timestamps and not translate and assistant.model.speech_letters is not None
    made_of = assistant.model, assistant.processor
    found = write(*made_of, files, language, translate, words=words, progress=sys.stderr.isatty())
    for file, segments in zip(files, found, strict=True):
        text = " ".join(segment.text for segment in segments)
        if as_json:
            typer.echo(json.dumps({"file": file, "text": text, "segments": [asdict(one) for one in segments]}))
        elif timestamps:
            # a piece of whose words none could be placed is told as one
            for one in (word for segment in segments for word in (segment.words or [segment])):
                typer.echo(f"{file}\t{one.start_s:.2f}\t{one.end_s:.2f}\t{one.text}")
        else:
            typer.echo(f"{file}\t{text}" if len(files) > 1 else text)


@app.command(epilog=f"Example: multimodal chat. In it, {CHAT_HELP}")
def chat(
    system: System = None,
    model: Model = "nano",
    max_new_tokens: MaxNewTokens = 256,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Seed = None,
) -> None:
    """Talk with a model that remembers the conversation; questions are lines of the standard input."""
    assistant = load_model(model, seed)
    conversation, media = assistant.chat(system), {}
    sampling = dict(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p)
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    if interactive:
        typer.echo(CHAT_HELP)
        with suppress(ImportError):  # editing of the line; on Windows the terminal does it
            import readline  # noqa: F401
    else:
        sys.stdin.reconfigure(errors="surrogateescape")  # a line that is no UTF-8 is refused as text, not as a file
    while (line := _next_line("> " if interactive else "")) is not None:
        command, _, rest = line.partition(" ")
        try:
            if command == "/quit":
                break
            elif command == "/new":
                conversation, media = assistant.chat(system), {}
            elif command in ("/image", "/video", "/audio"):
                path, kind = os.path.expanduser(rest.strip()), command.removeprefix("/")
                processor = assistant.processor
                opened = {"image": processor.pictures, "video": processor.clips, "audio": processor.sounds}
                opened[kind]([path])  # it is refused here and now, not with the question
                media.setdefault(kind, []).append(path)
            elif command.startswith("/"):
                raise ValueError(f"found {command}; accepted: {CHAT_HELP}")
            elif line or "audio" in media:
                _print_turn(conversation, line or None, media, sampling)
                media = {}
        except ValueError as error:
            _print_error(error)


def _print_turn(conversation: "Chat", question: str | None, media: dict[str, list], sampling: dict[str, Any]) -> None:
    for event in conversation.stream(question, **media, **sampling):
        typer.echo(event.text, nl=False)
    typer.echo()


def _next_line(prompt: str) -> str | None:
    """The next line of the standard input without blanks around it; None at its end."""
    try:
        return input(prompt).strip()
    except EOFError:
        if prompt:
            typer.echo()  # the terminal's own prompt starts a line
        return None


@app.command(epilog="Example: multimodal demo --port 7860. The page is then at http://127.0.0.1:7860")
def demo(
    model: Model = "nano",
    host: Annotated[str, typer.Option(help="Who may come: this machine only; 0.0.0.0 is whoever reaches it.")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="By default the first free one from 7860.", show_default=False)
    ] = None,
    share: Annotated[bool, typer.Option("--share", help="A public address, through gradio's relay.")] = False,
    auth: Annotated[
        str | None, typer.Option(metavar="NAME:PASSWORD", help="Ask visitors for these.", show_default=False)
    ] = None,
) -> None:
    """Open a page where people see, speak and listen; Ctrl-C closes it."""
    if find_spec("gradio") is None:
        raise ValueError("the page needs gradio; it comes with: pip install 'multimodal-llama[demo]'")
    name, _, password = (auth or "").partition(":")
    if auth is not None and not (name and password):
        raise ValueError("--auth is not NAME:PASSWORD; accepted: a name and a password with a colon between them")
    from .demo.serve import opened_page

    page = dict(name=model, host=host, port=port, share=share, auth=(name, password) if auth else None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # a page that is ended so deletes its uploads, too
    with opened_page(load_model(model, None), **page) as address, suppress(KeyboardInterrupt):
        typer.echo(f"The page is at {address} (Ctrl-C closes it)")
        Event().wait()


@app.command(epilog="Example: multimodal train nano --out runs/nano. It goes on where an earlier run stopped.")
def train(
    model: Annotated[str, typer.Argument(help="What to train: nano.")],
    stage: Annotated[list[str], typer.Option(help="Only this stage; may be given again.")] = [],  # noqa: B006
    out: Annotated[Path, typer.Option(help="The folder of the run.")] = Path("runs/nano"),
    device: Annotated[str, typer.Option(help="As torch names it: cpu, cuda, cuda:1.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.", show_default="torch's choice")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make batches ahead.")] = 0,
) -> None:
    """Make nano again from nothing: its tokenizer, its text core, its eyes; and what hears and watches around these.

    With --stage video alone, a run that has no core, trunk and picture adapter begins with those that ship.
    """
    if model != "nano":
        raise ValueError(f"found {model}; accepted: nano")
    if missing := [name for name in TRAINING_NEEDS if find_spec(name) is None]:
        raise ValueError(f"training needs {', '.join(missing)}; they come with: pip install 'multimodal-llama[train]'")
    from .nano.recipe import train_nano

    train_nano(out, stage or None, _checked_device(device), workers, threads)


def _checked_device(name: str) -> str:
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch that was built without CUDA
        raise ValueError(f"the device is {name} ({str(error).splitlines()[0]}); accepted: cpu, cuda") from None
    return name


@app.command(epilog="Example: multimodal convert meta-llama/Llama-3.2-11B-Vision-Instruct llama-11b-vision")
def convert(
    source: Annotated[str, typer.Argument(help="A folder or a hub id, in any of the formats that info tells.")],
    dest: Annotated[Path, typer.Argument(help="The folder to write; it must not be there yet.")],
    to: Annotated[str, typer.Option(help="'ours', or 'hub' for the hub's layout of Llama 3.2 Vision.")] = "ours",
) -> None:
    """Write a published model in our layout, or one of ours in the hub's."""
    from .convert.write import convert as write

    quiet_libraries()
    typer.echo(write(source, dest, to))


app.command("evaluate", epilog="Example: multimodal evaluate asr image-qa --languages hi,fr --out runs/hi-fr")(
    evaluate_model
)


@app.command(epilog="Example: multimodal info nano")
def info(
    model: Annotated[str, typer.Argument(help="'nano', a folder of any known format, or a hub id.")] = "nano",
    as_json: AsJson = False,
) -> None:
    """Tell what a model is: its parts, their sizes, where it fits, what it knows, how well it answers.

    No weight is loaded, and of a model of the hub only its configuration and headers are fetched.
    """
    from .info import read_info, show

    quiet_libraries()
    found = read_info(model)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    from rich.console import Console

    show(found, Console(markup=False, highlight=False))


def _print_error(error: Exception) -> None:
    text = error.format_message() if isinstance(error, typer.TyperException) else str(error)
    typer.echo(f"error: {' '.join(text.splitlines())}", err=True)
