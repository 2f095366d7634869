"""Picture preparation, from the bytes of a file to normalised tiles: ours beside transformers' MllamaImageProcessor.

    python benchmarks/picture_preparation.py

Both run at Llama 3.2's 560 px, on one thread, in turns, file by file, so that whatever else the machine does meets
both alike. Photographs are JPEGs, drawings PNGs, as they are on the web; a noisy photograph as a PNG is shown beside
them, because there both sides spend their time in the same decoder.
"""

import argparse
import io
import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import PIL
import torch
import transformers
from PIL import Image, ImageDraw, ImageFont
from transformers import MllamaImageProcessor

from vision.tiles import CLIP_MEAN, CLIP_STD, prepare

TILE_PX = 560
SIDES_PX = (96, 224, 448, 640, 1024, 1600, 2048, 3000)  # the longer side; the shorter is 3/4 of it
REQUIRED = 1.5


def photograph(width: int, height: int) -> Image.Image:
    """Soft shapes under the noise of a sensor."""
    rng = np.random.default_rng(width)
    shapes = Image.fromarray(rng.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8))
    shapes = np.asarray(shapes.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray((shapes + rng.integers(-6, 7, shapes.shape)).clip(0, 255).astype(np.uint8))


def drawing(width: int, height: int) -> Image.Image:
    """Shapes and words on a graded ground."""
    rng = np.random.default_rng(width)
    ground = np.linspace(160, 250, height).astype(np.uint8)[:, None, None].repeat(width, 1).repeat(3, 2)
    picture = Image.fromarray(ground)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=max(width // 24, 8))
    for index in range(24):
        x, y, side = rng.integers(width), rng.integers(height), width // rng.integers(8, 24)
        colour = tuple(rng.integers(256, size=3).tolist())
        (draw.ellipse if index % 2 else draw.rectangle)((x, y, x + side, y + side), fill=colour)
        draw.text((x, y + side), f"shape {index}", fill=colour, font=font)
    return picture


KINDS: dict[str, tuple[Callable[[int, int], Image.Image], str]] = {
    "photographs, JPEG": (photograph, "JPEG"),
    "drawings, PNG": (drawing, "PNG"),
    "noisy photographs, PNG": (photograph, "PNG"),
}
COUNTED = ("photographs, JPEG", "drawings, PNG")


def encode(picture: Image.Image, kind: str) -> bytes:
    """The bytes of a file of this kind, as Pillow writes it; JPEG at quality 85."""
    file = io.BytesIO()
    picture.save(file, kind, **({"quality": 85} if kind == "JPEG" else {}))
    return file.getvalue()


def measure(files: list[bytes], sides: list[Callable[[bytes], object]], repeats: int) -> list[list[float]]:
    """The median seconds of each side (outer) for each file (inner). The sides take turns at every file."""
    seconds: list[list[list[float]]] = [[[] for _ in files] for _ in sides]
    for repeat in range(repeats + 1):
        for index, data in enumerate(files):
            for side, work in enumerate(sides):
                started = time.perf_counter()
                work(data)
                if repeat:  # the first round warms up
                    seconds[side][index].append(time.perf_counter() - started)
    return [[statistics.median(times) for times in of_side] for of_side in seconds]


def main(repeats: int) -> float:
    """Prints the table; returns our pictures per second over theirs, on JPEG photographs and PNG drawings together."""
    torch.set_num_threads(1)
    size = {"height": TILE_PX, "width": TILE_PX}
    processor = MllamaImageProcessor(size=size, image_mean=list(CLIP_MEAN), image_std=list(CLIP_STD))

    def ours(data: bytes) -> object:
        return prepare(data, TILE_PX)

    def theirs(data: bytes) -> object:
        return processor(images=Image.open(io.BytesIO(data)).convert("RGB"), return_tensors="pt")

    print(f"{platform.machine()} on {platform.system()}, {os.cpu_count()} cores, of which one is used")
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, Pillow {PIL.__version__}")
    print(
        f"median of {repeats} runs in turns, tiles of {TILE_PX} px, longer sides {', '.join(map(str, SIDES_PX))} px\n"
    )
    print(f"{'pictures a second':<26}{'ours':>8}{'Mllama':>8}{'ratio':>8}   ratio by size")
    total = np.zeros(2)
    for name, (draw, kind) in KINDS.items():
        files = [encode(draw(side, side * 3 // 4), kind) for side in SIDES_PX]
        seconds = np.array(measure(files, [ours, theirs], repeats))
        line(name, len(files), seconds.sum(1), seconds[1] / seconds[0])
        total += seconds.sum(1) * (name in COUNTED)
    line("JPEG photos, PNG drawings", len(COUNTED) * len(SIDES_PX), total)
    ratio = total[1] / total[0]
    print(f"\n{'meets' if ratio >= REQUIRED else 'MISSES'} the required {REQUIRED} times")
    return ratio


def line(name: str, pictures: int, seconds: np.ndarray, by_size: np.ndarray | tuple = ()) -> None:
    """Prints one row. seconds [2]: ours and theirs for all pictures; by_size: ratios, smallest picture first."""
    ours, theirs = pictures / seconds
    print(f"{name:<26}{ours:8.1f}{theirs:8.1f}{ours / theirs:8.2f}   {' '.join(f'{ratio:.2f}' for ratio in by_size)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    raise SystemExit(main(parser.parse_args().repeats) < REQUIRED)
