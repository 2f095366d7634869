"""An evaluation by two processes beside the same by one: where media take long to open, and where texts do to write.

    python -m benchmarks.evaluation_processes

Questions about large noisy PNG pictures, and transcripts of speech in 34 languages, each process on one thread and
without workers: what is opened ahead would let one process use two cores. Both sides answer the same in the same
batches, and their results are compared to the byte. Counted are the answers a second from the second batch of each
process to its last, by the slowest process: what a longer run has. Importing, loading weights, the first batch and the
report are left out; they are in the seconds of the whole command, which stand below and have no requirement. A model
without ears gets nano's, untrained, which write as long as they may. Required: two processes answer at least 1.7 times
as many items a second. Needs two idle cores.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import typer
from PIL import Image

from benchmarks.hearing import load_hearing
from benchmarks.measure import head, machine, ratio, row

LEAST = 1.7
ROOT = Path(__file__).parents[1]


def write_pictures(folder: Path, count: int, side_px: int) -> Path:
    """A manifest of questions about so many pictures that take long to open."""
    rng, lines = np.random.default_rng(0), []
    for at in range(count):
        noise = rng.integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{at}.png", compress_level=1)
        lines.append(json.dumps({"id": f"{at:03d}", "image": f"{at}.png", "prompt": "How many things?", "text": "two"}))
    (folder / "pictures.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "pictures.jsonl"


def evaluate(task: tuple[str, ...], model: Path, out: Path, processes: int) -> float:
    """The command, as a user starts it; task: its name and options -> seconds."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
    options = ("--model", str(model), "--out", str(out), "--workers", "0", "--max-new-tokens", "64")
    command = [sys.executable, *torchrun, "-m", "multimodal", "evaluate", *task, *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


def answers_a_second(out: Path) -> float:
    """Of all processes together, by the time of the slowest; each one's first batch, where libraries warm up, apart."""
    items, seconds = 0, []
    for log in (out / "answers").iterdir():
        batches = [json.loads(line) for line in log.read_text("utf-8").splitlines()][1:]
        items += sum(len(batch["answers"]) for batch in batches)
        seconds.append(sum(batch["seconds"] for batch in batches))
    return items / max(seconds)


def compare(name: str, task: tuple[str, ...], model: Path, rounds: int) -> bool:
    """Print the answers a second of both sides and their ratio -> whether the requirement is met."""
    rates: dict[int, list[float]] = {2: [], 1: []}
    whole: dict[int, list[float]] = {2: [], 1: []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            written = set()
            for processes in sorted(rates, reverse=bool(number % 2)):
                out = Path(folder) / f"{number} {processes}"
                whole[processes].append(evaluate(task, model, out, processes))
                rates[processes].append(answers_a_second(out))
                written.add((out / "results.json").read_bytes())
            assert len(written) == 1, "two processes gave other results than one"
    met = row(f"{name}, a second", *_medians(rates), ratio(rates[2], rates[1]), least=LEAST)
    row("seconds of the whole command", *_medians(whole), ratio(whole[2], whole[1]))
    return met


def _medians(values: dict[int, list[float]]) -> list[str]:
    return [f"{statistics.median(of_side):.2f}" for of_side in values.values()]


def main(model: str = "nano", pictures: int = 64, side_px: int = 2500, utterances: int = 8, rounds: int = 5) -> None:
    """Exits with 1 if a requirement is missed. utterances: of each language."""
    print(f"{machine()}\nmodel {model}, {rounds} rounds\n")
    with tempfile.TemporaryDirectory() as name:
        hearing = Path(name) / "model"
        load_hearing(model).save_pretrained(hearing)
        manifest = write_pictures(Path(name), pictures, side_px)
        head("by", "two", "one process")
        opened = ("image-qa", "--data", str(manifest), "--batch", "4")
        written = ("asr", "--limit", str(utterances), "--batch", "8")
        met = [compare(f"pictures of {side_px} px", opened, hearing, rounds)]
        met.append(compare("transcripts", written, hearing, rounds))
    raise SystemExit(not all(met))


if __name__ == "__main__":
    typer.run(main)
