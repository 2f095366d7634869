"""A question about a clip, from the file to the answer: of 64 frames beside 16, by the nano that ships.

    python -m benchmarks.clip_frames [--rounds 10]

Required: four times the frames cost at most 4.4 times as much, everything counted: reading, the picture encoder,
the aggregator, the blocks, and the answer.
"""

import statistics
import tempfile
from pathlib import Path

import av
import numpy as np
import typer

from benchmarks.measure import head, in_turns, machine, ratio, row
from multimodal.assistant import Assistant, load

FEW, MANY, MOST = 16, 64, 4.4
SECONDS, RATE_HZ, SIZE_PX = 10, 15, 256


def write_clip(path: Path) -> None:
    """Ten seconds in which a red square moves to the right."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE_HZ)
        stream.width = stream.height = SIZE_PX
        stream.pix_fmt = "yuv420p"
        for number in range(SECONDS * RATE_HZ):
            frame = np.full((SIZE_PX, SIZE_PX, 3), 90, np.uint8)
            frame[100:150, 20 + number : 70 + number] = (214, 32, 36)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        out.mux(stream.encode())


def ask(assistant: Assistant, path: Path, frames: int) -> None:
    """One question about so many frames of the clip."""
    assistant.processor.max_frames = frames
    assistant.ask("Which way does the square move?", video=path, max_new_tokens=4)


def main(rounds: int = 10) -> None:
    """Exits with 1 if the requirement is missed."""
    print(f"{machine()}\na clip of {SECONDS} s at {SIZE_PX} pixels, {rounds} rounds\n")
    assistant = load("nano")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_clip(path)
        seconds = in_turns([lambda: ask(assistant, path, MANY), lambda: ask(assistant, path, FEW)], rounds)
    head("seconds", f"{MANY} frames", f"{FEW} frames")
    medians = [f"{statistics.median(of_side):.3f}" for of_side in seconds]
    raise SystemExit(not row("from the file to the answer", *medians, ratio(*seconds), most=MOST))


if __name__ == "__main__":
    typer.run(main)
