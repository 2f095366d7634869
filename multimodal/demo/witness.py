"""What the model was shown of a turn's files, to look at: the very tiles and frames, the spectrogram of each sound."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from vision.tiles import arrangements

from ..assistant import Assistant

if TYPE_CHECKING:
    from speech.audio import Sound

MAX_FRAMES = 16  # shown, evenly spread over the clips; a model may take more
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


def witness(assistant: Assistant, media: dict[str, list[Any]]) -> Seen:
    """Cut pictures and clips (paths) as the processor cuts them, a second opening, after the answer is out.

    Sounds are opened already.
    """
    processor = assistant.processor
    shown = _picture(processor.image_mean, processor.image_std)
    tiles, frames, num_frames = [], [], 0
    if media["picture"]:
        cut = processor.pictures(media["picture"])
        per_picture = cut["tiles_per_picture"].tolist()
        for number, of_picture in enumerate(cut["pixel_values"].split(per_picture), 1):
            names = [f"picture {number}, tile {i} of {len(of_picture)}" for i in range(1, len(of_picture) + 1)]
            tiles += [Look(shown(tile), name) for tile, name in zip(of_picture, names, strict=True)]
    for number, path in enumerate(media["clip"], 1):
        cut = processor.clips([path])
        rows, cols = arrangements(processor.max_tiles)[int(cut["clip_aspect_ids"]) - 1]
        whole = rearrange(cut["frame_values"], "(f row col) c h w -> f c (row h) (col w)", row=rows, col=cols)
        of_which = f" of clip {number}" if len(media["clip"]) > 1 else ""
        for i in _spread(len(whole), MAX_FRAMES // len(media["clip"])):
            frames.append(Look(shown(whole[i]), f"frame at {cut['frame_times_s'][i]:.1f} s{of_which}"))
        num_frames += len(whole)
    sounds = [_spectrogram(sound) for sound in media["sound"]]
    return Seen(tiles, frames, sounds, num_frames)


def _spread(number: int, most: int) -> Iterable[int]:
    return torch.linspace(0, number - 1, min(number, most)).round().long().tolist()


def _picture(mean: list[float], std: list[float]):
    """From a normalised tile or frame [3, H, W] back to a picture."""
    mean, std = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]

    def shown(tile: Tensor) -> Image.Image:
        pixels = ((tile * std + mean).clamp(0, 1) * 255).round().byte()
        return Image.fromarray(pixels.movedim(0, -1).numpy())

    return shown


def _spectrogram(sound: "Sound") -> Look:
    """Log-mel features of a sound's beginning, high notes on top; the scale is that of `speech.features.LogMel`."""
    from speech.features import SAMPLE_RATE, LogMel  # not needed for text and pictures, and a second to import

    heard = sound.samples[None, : int(MAX_SECONDS * SAMPLE_RATE)]
    features, _ = LogMel()(heard, torch.tensor([heard.shape[1]]))  # [1, F, 80]
    level = ((features[0].T.flip(0) + 1.5) / 3.1).clamp(0, 1).numpy()
    night, flame, light = np.array([16, 12, 40]), np.array([222, 73, 104]), np.array([252, 243, 184])
    low, high = np.minimum(level * 2, 1)[..., None], np.maximum(level * 2 - 1, 0)[..., None]
    colours = night * (1 - low) + flame * low * (1 - high) + light * high
    image = Image.fromarray(colours.clip(0, 255).astype(np.uint8))
    shown = "" if sound.seconds <= MAX_SECONDS else f"the first {MAX_SECONDS:.0f} s of "
    return Look(image.resize((min(image.width, 640), 160)), f"spectrogram of {shown}{sound.seconds:.1f} s, 0 to 8 kHz")
