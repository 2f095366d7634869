"""Frames in memory: arrays as a clip, and a clip's frames as the tiles that a picture encoder takes.

Shapes: F frames, K tiles of all of them, H and W their height and width.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from adapters.media import MediaError
from vision.tiles import CLIP_MEAN, CLIP_STD, arrangements, choose_canvas, fit_to_canvas

from .reader import DEFAULT_LIMITS, Clip, read_clip

ACCEPTED = (
    "frames [F, 3, H, W] or [F, H, W, 3], one or more, uint8 or float in [0, 1], alone or in a pair with their rate in "
    "frames a second"
)
RATE_HZ = 1.0  # of frames that come without a rate (our choice)


@dataclass(frozen=True, eq=False)
class FrameTiles:
    """The frames of a clip, ready for a trunk; all have one arrangement."""

    pixels: Tensor  # [K, 3, tile_px, tile_px] float32, normalised, frame after frame, each row by row
    aspect_id: int  # as of `vision.tiles.Tiles`
    times_s: Tensor  # [F]


def clip_from(
    source: Any,
    max_frames: int,
    start_s: float | None = None,
    end_s: float | None = None,
    longer_side_px: int = DEFAULT_LIMITS.longer_side_px,
) -> Clip:
    """A clip from whatever may stand for one: a path or bytes, a `Clip`, frames, or (frames, rate in hertz).

    start_s, end_s: the part of a file; longer_side_px: no larger are its frames needed.

    Raises MediaError for a clip that cannot be used.
    """
    frames, rate_hz = source if isinstance(source, tuple) and len(source) == 2 else (source, RATE_HZ)
    is_array = isinstance(frames, (Tensor, np.ndarray))
    if not is_array and not isinstance(source, Clip):
        limits = replace(DEFAULT_LIMITS, longer_side_px=min(longer_side_px, DEFAULT_LIMITS.longer_side_px))
        return read_clip(source, max_frames=max_frames, start_s=start_s, end_s=end_s, limits=limits)
    if (start_s, end_s) != (None, None):
        raise MediaError("frames", f"start_s={start_s} and end_s={end_s} with frames in memory", "a part of a file")
    return clip_of(frames, rate_hz, max_frames) if is_array else source


def clip_of(frames: Tensor | np.ndarray, rate_hz: float = RATE_HZ, max_frames: int = 64) -> Clip:
    """Frames that are in memory already; of more than max_frames that many are taken, evenly spread.

    Raises MediaError for another shape or type, no frames, values beyond [0, 1], or a rate that is none.
    """
    frames = torch.as_tensor(frames).detach().cpu()
    name, found = "frames", f"shape {list(frames.shape)}"
    if frames.ndim == 4 and frames.shape[1] != 3:
        frames = frames.movedim(-1, 1)
    if frames.ndim != 4 or frames.shape[1] != 3 or not frames.numel():
        raise MediaError(name, found, ACCEPTED)
    if not 0 < rate_hz < float("inf"):
        raise MediaError(name, f"a rate of {rate_hz}", ACCEPTED)
    number = len(frames)
    taken = torch.linspace(0, number - 1, min(number, max_frames)).round().long()
    return Clip(_to_8_bits(frames[taken], name), taken / rate_hz, number / rate_hz)


def _to_8_bits(frames: Tensor, name: str) -> Tensor:
    if frames.dtype == torch.uint8:
        return frames
    if not frames.is_floating_point():
        raise MediaError(name, f"values of type {frames.dtype}", ACCEPTED)
    low, high = frames.min().item(), frames.max().item()  # NaN if any value is
    if not (low >= 0 and high <= 1):
        raise MediaError(name, f"float values from {low} to {high}", ACCEPTED)
    return (frames.float() * 255).round().to(torch.uint8)


def cut_frames(
    clip: Clip,
    tile_px: int,
    max_tiles: int = 4,
    mean: tuple[float, float, float] = CLIP_MEAN,
    std: tuple[float, float, float] = CLIP_STD,
    max_tiles_of_frame: int | None = None,
) -> FrameTiles:
    """Each frame as `vision.tiles.cut` cuts a picture, all at once.

    max_tiles: of the picture encoder, by whose arrangements the aspect is numbered; max_tiles_of_frame: if fewer.
    """
    height, width = clip.frames.shape[2:]
    rows, cols = choose_canvas(height, width, max_tiles_of_frame or max_tiles, tile_px)
    size = fit_to_canvas(height, width, rows, cols, tile_px)
    pixels = clip.frames
    if pixels.shape[2:] != size:
        pixels = functional.interpolate(pixels, size, mode="bilinear", antialias=True)
    pixels = functional.pad(pixels, (0, cols * tile_px - size[1], 0, rows * tile_px - size[0]))  # black
    pixels = rearrange(pixels, "f c (row h) (col w) -> (f row col) c h w", row=rows, col=cols)
    mean, std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)
    tiles = pixels.to(torch.float32, memory_format=torch.contiguous_format).mul_(1 / (255 * std)).sub_(mean / std)
    return FrameTiles(tiles, arrangements(max_tiles).index((rows, cols)) + 1, clip.times_s)
