"""`python -m multimodal`: the command line without an installed script."""

from .cli import app

app(prog_name="multimodal")
