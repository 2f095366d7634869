"""Frames of clips to a memory that a language model can attend to.

Shapes: C clips, S frames of all of them together, K tiles of all frames, F frames of the longest clip,
N places of a frame, D width, G aggregated frames of the longest clip.
"""

import math
from collections.abc import Iterator
from typing import Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from adapters.memory import Memory
from adapters.resampler import TemporalAggregator
from vision.tiles import arrangements

SIZES = {
    # Two blocks before layers of the 8B and five of the 70B have 0.44B and 4.28B parameters; with these
    # aggregators all that is for clips has 0.56B and 4.75B, where paper 7.2.3 counts 0.6B and 4.6B.
    "8B": dict(width=2048, layers=2, heads=16, mlp_ratio=4.0, frames_per_aggregate=32),
    "70B": dict(width=4096, layers=2, heads=32, mlp_ratio=4.0, frames_per_aggregate=32),
}
TILES_PER_PASS = 32  # that the picture encoder sees at once: what a pass takes does not grow with the clip (our choice)

_SHORTEST_S, _NUM_PERIODS = 0.25, 16  # periods of seconds double from here on, up to two hours
_NUM_SHARES = 7  # waves over the span of a clip: half of one, one, two, ... 32


class SeesTiles(Protocol):
    """A picture encoder of `vision`: tiles [K, 3, tile_px, tile_px], how many each picture has, aspect ids."""

    max_tiles: int

    def __call__(self, tiles: Tensor, tiles_per_picture: Tensor, aspect_ids: Tensor) -> Memory: ...


class VideoEncoder(nn.Module):
    """Frames through a frozen picture encoder, then time positions, then the temporal aggregator.

    `in_dim`: the picture encoder's width; `width`: the aggregator's; `out_dim`: the memory's. The picture
    encoder is given with each call and gets no gradient: only what stands here learns (paper 7.4).
    Source: paper 7.2.3; the linear layers around the aggregator and the time positions are our choice.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        width: int,
        layers: int,
        heads: int,
        mlp_ratio: float,
        frames_per_aggregate: int,
    ):
        super().__init__()
        self.project = nn.Linear(in_dim, width)
        self.time = TimePosition(width)
        self.aggregator = TemporalAggregator(width, heads, layers, mlp_ratio, frames_per_aggregate)
        self.out = nn.Linear(width, out_dim)

    def forward(
        self,
        vision: SeesTiles,
        tiles: Tensor,
        frames_per_clip: Tensor,
        aspect_ids: Tensor,
        times_s: Tensor,
        tiles_per_pass: int = TILES_PER_PASS,
    ) -> Memory:
        """Clips, each with frames of one arrangement of tiles -> x [C, G * N, out_dim].

        tiles [K, 3, tile_px, tile_px], normalised, frame after frame; frames_per_clip [C] and aspect_ids [C];
        times_s [S], which do not decrease in a clip.

        Raises ValueError if tiles or times are not as many as the clips' frames have.
        """
        frames, aspects = frames_per_clip.tolist(), aspect_ids.tolist()
        per_frame = [math.prod(arrangements(vision.max_tiles)[aspect - 1]) for aspect in aspects]
        expected = sum(count * tiles for count, tiles in zip(frames, per_frame, strict=True)), sum(frames)
        if (len(tiles), len(times_s)) != expected:
            raise ValueError(
                f"found {len(tiles)} tiles and {len(times_s)} times for clips of {frames} frames of {per_frame} tiles; "
                f"these have {expected[0]} and {expected[1]}"
            )
        seen = self._see(vision, tiles, frames_per_clip, aspect_ids, per_frame, tiles_per_pass)
        x, keep = (pad_sequence(part.split(frames), batch_first=True) for part in seen)  # [C, F, N, D], [C, F, N]
        times = pad_sequence(times_s.split(frames), batch_first=True)
        x = x + self.time(times, frames_per_clip.to(times.device)).unsqueeze(2).to(x.device)
        x, keep = self.aggregator(x, keep)
        return Memory(self.out(rearrange(x, "c g n d -> c (g n) d")), rearrange(keep, "c g n -> c (g n)"))

    def _see(
        self,
        vision: SeesTiles,
        tiles: Tensor,
        frames_per_clip: Tensor,
        aspect_ids: Tensor,
        per_frame: list[int],
        tiles_per_pass: int,
    ) -> Memory:
        """All frames, pass by pass, padded to the one with the most places: x [S, N, D], keep [S, N]."""
        aspects = torch.repeat_interleave(aspect_ids, frames_per_clip).to(tiles.device)  # [S]
        counts = torch.repeat_interleave(torch.tensor(per_frame), frames_per_clip.cpu())
        passes = []
        for frames, own in in_passes(counts.tolist(), tiles_per_pass):
            with torch.no_grad():
                seen = vision(
                    tiles[own].to(self.project.weight.dtype), counts[frames].to(tiles.device), aspects[frames]
                )
            passes.append(Memory(self.project(seen.x), seen.keep))
        most = max(one.keep.shape[1] for one in passes)
        return Memory(
            torch.cat([F.pad(one.x, (0, 0, 0, most - one.x.shape[1])) for one in passes]),
            torch.cat([F.pad(one.keep, (0, most - one.keep.shape[1])) for one in passes]),
        )


class TimePosition(nn.Module):
    """When a frame was, in seconds and as a share of the clip's span, by a linear layer on sines and cosines.

    times_s [C, F], padded, and frames [C], how many of them are there -> [C, F, width]. The first frame is
    at 0, whatever its time: a part of a clip is a clip.
    """

    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(2 * (_NUM_PERIODS + _NUM_SHARES), width)

    def forward(self, times_s: Tensor, frames: Tensor) -> Tensor:
        is_there = torch.arange(times_s.shape[1], device=times_s.device) < frames.unsqueeze(1)
        seconds = (times_s - times_s[:, :1]).float().masked_fill(~is_there, 0)
        span = seconds.gather(1, (frames - 1).unsqueeze(1))  # [C, 1]; 0 for a single frame
        share = seconds / span.clamp(min=torch.finfo(torch.float32).tiny)
        doubled = 2.0 ** torch.arange(max(_NUM_PERIODS, _NUM_SHARES), device=seconds.device)
        of_seconds = seconds.unsqueeze(-1) * (2 * math.pi / _SHORTEST_S) / doubled[:_NUM_PERIODS]
        of_share = share.unsqueeze(-1) * math.pi * doubled[:_NUM_SHARES]
        angles = torch.cat([of_seconds, of_share], -1)
        return self.linear(torch.cat([angles.sin(), angles.cos()], -1).to(self.linear.weight.dtype))


def in_passes(tiles_per_frame: list[int], tiles_per_pass: int) -> Iterator[tuple[slice, slice]]:
    """Consecutive frames of at most so many tiles together, one frame at the least, and these tiles."""
    frame = tile = 0
    while frame < len(tiles_per_frame):
        stop, count = frame + 1, tiles_per_frame[frame]
        while stop < len(tiles_per_frame) and count + tiles_per_frame[stop] <= tiles_per_pass:
            count += tiles_per_frame[stop]
            stop += 1
        yield slice(frame, stop), slice(tile, tile + count)
        frame, tile = stop, tile + count
