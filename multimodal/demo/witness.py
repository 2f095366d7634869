"""What the model was shown of a turn's files, to look at: the very tiles and frames, the spectrogram of each sound."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..assistant import Assistant

MAX_FRAMES = 16  # shown, evenly spread over a clip; a model may take more
MAX_SECONDS = 20.0  # of a sound


@dataclass(frozen=True)
class Look:
    """A picture and what it is, in words."""

    image: Image.Image
    words: str


@dataclass(frozen=True)
class Seen:
    """Tiles of pictures, frames of clips, spectrograms of sounds; and how many there were of each in all."""

    tiles: list[Look] = field(default_factory=list)
    frames: list[Look] = field(default_factory=list)
    sounds: list[Look] = field(default_factory=list)
    num_frames: int = 0


def witness(assistant: Assistant, media: dict[str, list[str]]) -> Seen:
    """Cut the files as the processor cuts them; it costs a second opening, after the answer is out."""
    processor = assistant.processor
    shown = _picture(processor.image_mean, processor.image_std)
    tiles, frames, num_frames = [], [], 0
    if media["picture"]:
        cut = processor.pictures(media["picture"])
        per_picture = cut["tiles_per_picture"].tolist()
        for number, of_picture in enumerate(cut["pixel_values"].split(per_picture), 1):
            names = [f"picture {number}, tile {i} of {len(of_picture)}" for i in range(1, len(of_picture) + 1)]
            tiles += [Look(shown(tile), name) for tile, name in zip(of_picture, names, strict=True)]
    if media["clip"]:
        cut = processor.clips(media["clip"])
        tiles_per_frame = len(cut["frame_values"]) // len(cut["frame_times_s"])
        firsts = cut["frame_values"][::tiles_per_frame]  # the first tile of each frame stands for it
        taken = _spread(len(firsts), MAX_FRAMES)
        times_s, num_frames = cut["frame_times_s"].tolist(), len(firsts)
        frames = [Look(shown(firsts[i]), f"frame at {times_s[i]:.1f} s") for i in taken]
    sounds = [_spectrogram(path) for path in media["sound"]]
    return Seen(tiles, frames, sounds, num_frames)


def _spread(number: int, most: int) -> Iterable[int]:
    return torch.linspace(0, number - 1, min(number, most)).round().long().tolist()


def _picture(mean: list[float], std: list[float]):
    """From a normalised tile [3, H, W] back to a picture."""
    mean, std = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]

    def shown(tile: Tensor) -> Image.Image:
        pixels = ((tile * std + mean).clamp(0, 1) * 255).round().byte()
        return Image.fromarray(pixels.movedim(0, -1).numpy())

    return shown


def _spectrogram(path: str) -> Look:
    """Log-mel features of a sound's beginning, high notes on top; the scale is that of `speech.features.LogMel`."""
    from speech.audio import open_sound  # not needed for text and pictures, and a second to import
    from speech.features import SAMPLE_RATE, LogMel

    samples = open_sound(path, SAMPLE_RATE).samples
    heard = samples[None, : int(MAX_SECONDS * SAMPLE_RATE)]
    features, _ = LogMel()(heard, torch.tensor([heard.shape[1]]))  # [1, F, 80]
    level = ((features[0].T.flip(0) + 1.5) / 3.1).clamp(0, 1).numpy()
    night, flame, light = np.array([16, 12, 40]), np.array([222, 73, 104]), np.array([252, 243, 184])
    low, high = np.minimum(level * 2, 1)[..., None], np.maximum(level * 2 - 1, 0)[..., None]
    colours = night * (1 - low) + flame * low * (1 - high) + light * high
    image = Image.fromarray(colours.clip(0, 255).astype(np.uint8))
    seconds = len(samples) / SAMPLE_RATE
    return Look(image.resize((min(image.width, 640), 160)), f"spectrogram of {seconds:.1f} s, 0 to 8 kHz")
