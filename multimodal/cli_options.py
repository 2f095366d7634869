"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str, typer.Option(help="'nano', which ships inside, a folder, or a hub id.")]
System = Annotated[str | None, typer.Option(help="A system prompt.", show_default=False)]
MaxNewTokens = Annotated[int, typer.Option(help="Cut the answer after this many tokens.")]
Temperature = Annotated[float, typer.Option(help="0 takes the likeliest token; above, tokens are drawn.")]
TopP = Annotated[float, typer.Option(help="Draw from the likeliest tokens that make up this share.")]
Seed = Annotated[int | None, typer.Option(help="Draw the same tokens every time.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object a file, with its segments and times.")]
Timestamps = Annotated[
    bool,
    typer.Option(help="A line a word (a piece between pauses, where the model cannot tell): start, end in seconds."),
]

SpeakTo = Annotated[
    Path | None, typer.Option(metavar="OUT.wav", help="Say the answer, too, and write this file.", show_default=False)
]
Play = Annotated[bool, typer.Option("--play", help="Play the speech while it is being made.")]
Voice = Annotated[
    str | None, typer.Option(help="A text-to-audio model: a folder or a hub id.", show_default="the model's own")
]
Language = Annotated[str, typer.Option(help="That of the speech, one of 34: a name or a code.")]
Speaker = Annotated[str | None, typer.Option(help="Who speaks.", show_default="the voice's first")]
Rate = Annotated[float, typer.Option(help="How fast the speech is, 0.5 to 2.")]
Pitch = Annotated[float, typer.Option(help="How high it is, as a factor of frequency, 0.5 to 2.")]
