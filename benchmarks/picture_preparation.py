"""Picture preparation, from the bytes of a file to normalised tiles: ours beside transformers' MllamaImageProcessor.

    python -m benchmarks.picture_preparation

Both run at Llama 3.2's 560 px, on one thread, in turns, file by file. Photographs are JPEGs, drawings PNGs, as they are
on the web; a noisy photograph as a PNG is shown beside them, because there both sides spend their time in the same
decoder. Required: at least 1.5 times Mllama's pictures a second.
"""

import io
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import typer
from PIL import Image, ImageDraw, ImageFont
from transformers import MllamaImageProcessor

from benchmarks.measure import head, in_turns, machine, ratio, row
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


def measure(files: list[bytes], rounds: int) -> np.ndarray:
    """Seconds [files, 2, rounds] of ours and theirs."""
    size = {"height": TILE_PX, "width": TILE_PX}
    processor = MllamaImageProcessor(size=size, image_mean=list(CLIP_MEAN), image_std=list(CLIP_STD))

    def theirs(data: bytes) -> object:
        return processor(images=Image.open(io.BytesIO(data)).convert("RGB"), return_tensors="pt")

    return np.array([in_turns([partial(prepare, data, TILE_PX), partial(theirs, data)], rounds) for data in files])


def show(name: str, seconds: np.ndarray, least: float | None = None) -> bool:
    """Print a row of seconds [files, 2, rounds] -> whether what is required is met."""
    ours, theirs = seconds.sum(0)
    speeds = (f"{len(seconds) / np.median(of_side):.1f}" for of_side in (ours, theirs))
    return row(name, *speeds, ratio(theirs.tolist(), ours.tolist()), least=least)


def compare(sides_px: Sequence[int], rounds: int) -> bool:
    """Print pictures a second of both, and their ratio -> whether the requirement is met."""
    head("pictures a second", "ours", "Mllama")
    counted = []
    for name, (draw, kind) in KINDS.items():
        seconds = measure([encode(draw(side, side * 3 // 4), kind) for side in sides_px], rounds)
        show(name, seconds)
        ours, theirs = np.median(seconds, 2).T
        print(f"  ratio by size: {', '.join(f'{value:.2f}' for value in theirs / ours)}")
        counted += [seconds] * (name in COUNTED)
    return show("JPEG photographs, PNG drawings", np.concatenate(counted), least=REQUIRED)


def main(rounds: int = 9) -> None:
    """Exits with 1 if the requirement is missed."""
    torch.set_num_threads(1)
    print(f"{machine()}\ntiles of {TILE_PX} px, longer sides {', '.join(map(str, SIDES_PX))} px, {rounds} rounds\n")
    raise SystemExit(not compare(SIDES_PX, rounds))


if __name__ == "__main__":
    typer.run(main)
