"""Clips as the frozen picture encoder sees them, computed once: what the clip stage trains on.

Each clip is drawn, encoded, decoded and seen frame by frame, and its features are kept in float16, so many
clips a file. Which clip has a number follows from the number alone; files that are there stay.
"""

import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from tqdm import tqdm

from video.frames import cut_frames

from ..model import MultimodalLlama
from ..training.loop import write_atomically
from .clips import Film, decode, encode, sample_film, sample_scene_of_clip, with_strangers

CLIPS_A_FILE = 64
STRANGERS_FROM = 2048  # training clips with this number and later ones show a thing without a name


@dataclass(frozen=True)
class SeenClip:
    """A film, and what the picture encoder saw of it: features [F, N, D] float16, times_s [F]."""

    film: Film
    features: Tensor
    times_s: Tensor


def film_of(number: int, seed: int, held_out: bool = False) -> Film:
    """The film with this number."""
    rng = random.Random(f"film {seed} {number} {held_out}")
    scene = sample_scene_of_clip(rng, held_out)
    if number >= STRANGERS_FROM and not held_out:
        scene = with_strangers(scene, rng)
    return sample_film(scene, rng, held_out)


class SeenClips:
    """Clips 0 to `number` - 1 of a seed, their features in files of `folder`."""

    def __init__(self, folder: Path, number: int, seed: int, held_out: bool = False):
        self.folder, self.number, self.seed, self.held_out = folder, number, seed, held_out

    def write(self, model: MultimodalLlama, max_frames: int) -> None:
        """Make the files that are not there yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for first in tqdm(range(0, self.number, CLIPS_A_FILE), desc=f"clips of {self.folder.name}", mininterval=5.0):
            if not self._file(first).exists():
                numbers = range(first, min(first + CLIPS_A_FILE, self.number))
                write_atomically(self._see(model, numbers, max_frames), self._file(first))

    def __getitem__(self, number: int) -> SeenClip:
        features, times_s = _opened(self._file(number - number % CLIPS_A_FILE), number)
        return SeenClip(film_of(number, self.seed, self.held_out), features, times_s)

    def _file(self, first: int) -> Path:
        return self.folder / f"{first:06d}.safetensors"

    @torch.no_grad()
    def _see(self, model: MultimodalLlama, numbers: range, max_frames: int) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}
        vision, most = model.vision, model.config.video_config.max_tiles
        for number in numbers:
            film = film_of(number, self.seed, self.held_out)
            clip = decode(encode(film), max_frames, vision.tile_px)
            tiles = cut_frames(clip, vision.tile_px, vision.max_tiles, max_tiles_of_frame=most)
            frames = len(clip.frames)
            aspects = torch.full((frames,), tiles.aspect_id)
            counts = torch.full((frames,), len(tiles.pixels) // frames)
            pixels = tiles.pixels.to(model.device)
            x, _ = vision(pixels, counts.to(model.device), aspects.to(model.device))
            seen |= {f"features.{number}": x.half(), f"times.{number}": clip.times_s}
        return seen


def _opened(path: Path, number: int) -> tuple[Tensor, Tensor]:
    file = _open(path)
    return file.get_tensor(f"features.{number}"), file.get_tensor(f"times.{number}")


@lru_cache(maxsize=1024)
def _open(path: Path):
    return safe_open(path, framework="pt")
