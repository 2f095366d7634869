"""An evaluation by two processes beside the same by one, where opening the media is most of the work.

    python -m benchmarks.evaluation_processes

Questions about large noisy PNG pictures are asked of nano, each process on one thread and without workers: what is
opened ahead would let one process use two cores. Both sides answer the same questions in the same batches, and their
results are compared to the byte. Counted are the seconds from the first batch to the last, of the slowest process.
Required: two processes answer at least 1.7 times as many items a second. Needs two idle cores.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import typer
from PIL import Image

from benchmarks.measure import head, machine, ratio, row

LEAST = 1.7
ROOT = Path(__file__).parents[1]
BATCH = 4


def write_pictures(folder: Path, count: int, side_px: int) -> Path:
    """A manifest of questions about so many pictures that take long to open."""
    rng, lines = np.random.default_rng(0), []
    for at in range(count):
        noise = rng.integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{at}.png", compress_level=1)
        lines.append(json.dumps({"id": f"{at:03d}", "image": f"{at}.png", "prompt": "How many things?", "text": "two"}))
    (folder / "pictures.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "pictures.jsonl"


def evaluate(manifest: Path, model: str, out: Path, processes: int) -> None:
    """The command, as a user starts it."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
    options = ("--data", manifest, "--model", model, "--out", out, "--batch", BATCH, "--workers", 0)
    command = [sys.executable, *torchrun, "-m", "multimodal", "evaluate", "image-qa", *map(str, options)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)


def seconds_of(out: Path) -> float:
    """What the slowest process took for its batches."""

    def of_processes() -> Iterator[float]:
        for log in (out / "answers").iterdir():
            yield sum(json.loads(line)["seconds"] for line in log.read_text("utf-8").splitlines())

    return max(of_processes())


def compare(model: str, pictures: int, side_px: int, rounds: int) -> bool:
    """Print the items a second of both sides, and their ratio -> whether the requirement is met."""
    took: dict[int, list[float]] = {2: [], 1: []}
    with tempfile.TemporaryDirectory() as name:
        manifest = write_pictures(Path(name), pictures, side_px)
        for number in range(rounds):
            written = set()
            for processes in sorted(took, reverse=bool(number % 2)):
                out = Path(name) / f"{number} {processes}"
                evaluate(manifest, model, out, processes)
                took[processes].append(pictures / seconds_of(out))
                written.add((out / "results.json").read_bytes())
            assert len(written) == 1, "two processes gave other results than one"
    head("items a second", "two", "one process")
    shown = (f"{statistics.median(values):.2f}" for values in took.values())
    return row(f"pictures of {side_px} px", *shown, ratio(took[2], took[1]), least=LEAST)


def main(model: str = "nano", pictures: int = 64, side_px: int = 2500, rounds: int = 5) -> None:
    """Exits with 1 if the requirement is missed."""
    print(f"{machine()}\nmodel {model}, {pictures} pictures, {rounds} rounds\n")
    raise SystemExit(not compare(model, pictures, side_px, rounds))


if __name__ == "__main__":
    typer.run(main)
