"""What the command line says of an evaluation; `evaluation.command` does it."""

from pathlib import Path
from typing import Annotated

import typer

from .cli_loading import quiet_libraries
from .cli_options import MaxNewTokens


def evaluate_model(
    words: Annotated[
        list[str],
        typer.Argument(metavar="TASK... | all | list | compare A B", help="Tasks, or two runs' folders to compare."),
    ],
    model: Annotated[str, typer.Option(help="'nano', a folder, a hub id, whisper=ID or seamless=ID.")] = "nano",
    languages: Annotated[str, typer.Option(help="Names or codes, with commas between, or 'all'.")] = "all",
    data: Annotated[
        str | None, typer.Option(help="NAME=FOLDER, NAME=HUB_ID or a manifest.", show_default="built here, offline")
    ] = None,
    split: Annotated[str | None, typer.Option(show_default="that of the published tables")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Items a language.", show_default="all")] = None,
    out: Annotated[Path, typer.Option(help="The folder of the run; it goes on where it stopped.")] = Path(
        "runs/evaluation"
    ),
    batch: Annotated[int, typer.Option(min=1, help="Items answered at once.")] = 16,
    workers: Annotated[int, typer.Option(min=0, help="Threads that open media ahead.")] = 2,
    seed: Annotated[int, typer.Option(help="Of what is built and resampled.")] = 0,
    max_new_tokens: MaxNewTokens = 448,
    training_manifest: Annotated[
        Path | None, typer.Option(help="Texts that the model was trained on, to look for in the test's.")
    ] = None,
) -> None:
    """Measure a model: error rates in 34 languages, translation, questions; `evaluate list` tells the tasks.

    Several processes share the work under `torchrun` or `accelerate launch`.
    """
    from .evaluation import command

    quiet_libraries()
    names = [] if languages == "all" else [name for name in languages.split(",") if name.strip()]
    how = dict(batch_size=batch, workers=workers, seed=seed, max_new_tokens=max_new_tokens)
    of_data = dict(languages=names, data=data, split=split, limit=limit, training_manifest=training_manifest)
    command.run(words, command.Request(tasks=words, model=model, out=out, **of_data, **how))
