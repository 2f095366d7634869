"""The process `multimodal ask`, from start to answer, beside one that only imports torch and `LlamaForCausalLM`.

    python -m benchmarks.cold_start

The processes are cold and the disk's cache is warm. Required: at most 1.5 times the wall time of the imports alone.
"""

import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from benchmarks.measure import head, in_turns, machine, ratio, row

MOST = 1.5
ROOT = Path(__file__).parents[1]
IMPORTS = (sys.executable, "-c", "import torch\nfrom transformers import LlamaForCausalLM")


def asking(question: str, image: Path, model: str) -> tuple[str, ...]:
    """The command line of one question."""
    return (sys.executable, "-m", "multimodal", "ask", question, "--image", str(image), "--model", model)


def run(command: Sequence[str]) -> str:
    """The command's output. Raises CalledProcessError if it fails."""
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def compare(ask: Sequence[str], imports: Sequence[str], rounds: int) -> bool:
    """Print the seconds of both processes, and their ratio -> whether the requirement is met."""
    seconds = in_turns([lambda: run(ask), lambda: run(imports)], rounds)
    head("seconds", "ask", "imports alone")
    return row("process", *(f"{statistics.median(of_side):.2f}" for of_side in seconds), ratio(*seconds), most=MOST)


def main(
    question: str = "How many circles are there?",
    image: Path = ROOT / "examples" / "scene.png",
    model: str = "nano",
    rounds: int = 7,
) -> None:
    """Exits with 1 if the requirement is missed."""
    ask = asking(question, image.resolve(), model)
    print(f"{machine()}\nmodel {model}, {rounds} rounds, answer: {run(ask).strip()}\n")
    raise SystemExit(not compare(ask, IMPORTS, rounds))


if __name__ == "__main__":
    typer.run(main)
