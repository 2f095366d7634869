"""What the benchmarks share: the machine in words, work done in turns, the ratio of two medians, peak memory.

Every comparison is made in one run: the sides take turns, so that whatever else the machine does meets both alike.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from random import Random

import torch

RESAMPLES = 2000  # of the bootstrap; its interval then moves by less than a tenth of its width (our choice)


def machine() -> str:
    """Two lines: the processor with its cores and threads in use and its load; Python and the libraries that count."""
    info = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = {line.partition(":")[2].strip() for line in info if line.startswith("model name")}
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "pillow"))
    return (
        f"{' / '.join(names) or platform.machine()}, {cores} cores, torch on {torch.get_num_threads()} threads, "
        f"load {load:.1f} at the start\nPython {platform.python_version()}, {libraries}"
    )


def in_turns(sides: Sequence[Callable[[], object]], rounds: int, warmup: int = 1) -> list[list[float]]:
    """The seconds of wall clock that each side (outer) took in each round (inner).

    Every round calls every side once, in an order that the next round reverses: none is always the
    first. The warm-up rounds come before and do not count.
    """
    seconds: list[list[float]] = [[] for _ in sides]
    for number in range(-warmup, rounds):
        order = range(len(sides)) if number % 2 else reversed(range(len(sides)))
        for side in order:
            started = time.perf_counter()
            sides[side]()
            if number >= 0:
                seconds[side].append(time.perf_counter() - started)
    return seconds


@dataclass(frozen=True)
class Ratio:
    """A ratio of two medians, and the interval that holds 95% of those of resampled rounds."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def ratio(top: Sequence[float], bottom: Sequence[float]) -> Ratio:
    """median(top) / median(bottom) of values measured in the same rounds, with its bootstrap interval.

    Rounds are resampled whole, so that a slow moment of the machine stays in both medians.
    """
    random, pairs, resampled = Random(0), list(zip(top, bottom, strict=True)), []
    for _ in range(RESAMPLES):
        tops, bottoms = zip(*random.choices(pairs, k=len(pairs)), strict=True)
        resampled.append(statistics.median(tops) / statistics.median(bottoms))
    resampled.sort()
    low, high = resampled[RESAMPLES * 25 // 1000], resampled[RESAMPLES * 975 // 1000]
    return Ratio(statistics.median(top) / statistics.median(bottom), low, high)


def head(what: str, ours: str, theirs: str) -> None:
    """Print the line above rows: what they measure, and whose figures stand in which column."""
    print(f"{what:<36}{ours:>13}{theirs:>13}   ratio (95% interval)")


def row(
    name: str, ours: str, theirs: str, of: Ratio | float, *, least: float | None = None, most: float | None = None
) -> bool:
    """Print both figures and their ratio -> whether it is within what is required, if anything is."""
    value, shown = (of.value, str(of)) if isinstance(of, Ratio) else (of, f"{of:.3f}")
    met = (least is None or value >= least) and (most is None or value <= most)
    required = [f"{word} {bound:g}" for word, bound in (("at least", least), ("at most", most)) if bound is not None]
    verdict = f"   {' and '.join(required)}: {'met' if met else 'MISSED'}" if required else ""
    print(f"{name:<36}{ours:>13}{theirs:>13}   {shown}{verdict}", flush=True)
    return met


@dataclass(frozen=True)
class PeakMemory:
    """The most memory that a process held resident: `imported` before the work began, `peak` while it was done."""

    imported: int  # bytes
    peak: int  # bytes


def peak_memory(work: Callable[..., object], *arguments: object) -> PeakMemory:
    """Run work(*arguments) alone in a fresh process; work is a function at the top of a module. Linux only."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_watch, work, arguments).result()


def _watch(work: Callable[..., object], arguments: tuple) -> PeakMemory:
    imported = _status_bytes("VmRSS")  # unpickling `work` has imported its module
    work(*arguments)
    return PeakMemory(imported, _status_bytes("VmHWM"))


def _status_bytes(name: str) -> int:
    """An entry of /proc/self/status; unlike getrusage's, its high-water mark starts with the process's own program."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith(f"{name}:"))
