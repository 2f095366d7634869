"""64 uniform frames of a 1080p clip, from the file to the encoder's input: ours beside sequential decoding.

    python -m benchmarks.video_reading [--rounds 3]

Theirs: PyAV decodes the clip from its beginning and keeps the frames wanted, torchvision resizes and normalises
them; and `load_video` of transformers (which decodes as much) with the same resizing. Required: at most 0.9 of
PyAV's time for a clip of 20 seconds, and at most 0.5 for one of 10 minutes.
"""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch
import typer
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms
from transformers.video_utils import load_video

from benchmarks.measure import head, in_turns, machine, ratio, row
from video.frames import clip_from, cut_frames
from vision.tiles import CLIP_MEAN, CLIP_STD

FRAMES, TILE_PX, RATE_HZ, SECONDS = 64, 448, 25, 20
MOST = {SECONDS: 0.9, 30 * SECONDS: 0.5}  # seconds of the clip: of PyAV's time
WIDTH, HEIGHT = 1920, 1080


def write_clip(path: Path) -> None:
    """20 seconds of H.264: a noisy ground on which a square moves."""
    rng = np.random.default_rng(0)
    ground = rng.integers(60, 120, (HEIGHT // 8, WIDTH // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE_HZ, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for n in range(SECONDS * RATE_HZ):
            frame, left = ground.copy(), 3 * n
            frame[400:600, left : left + 200] = (220, 40, 40)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        out.mux(stream.encode())


def repeat_clip(path: Path, longer: Path, times: int) -> None:
    """The same packets again and again, without encoding them anew."""
    with av.open(str(longer), "w") as out:
        stream, shift = None, 0
        for _ in range(times):
            with av.open(str(path)) as source:
                video = source.streams.video[0]
                stream = stream or out.add_stream_from_template(video)
                length = int(SECONDS / video.time_base)
                for packet in source.demux(video):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    out.mux(packet)
                shift += length


def ours(path: Path) -> Tensor:
    """The tiles [64, 3, tile, tile] of one arrangement: a wide frame in one tile."""
    return cut_frames(clip_from(path, FRAMES, longer_side_px=TILE_PX), TILE_PX, max_tiles=1).pixels


def _prepare(frames: list[np.ndarray]) -> Tensor:
    pictures = torch.stack([torch.from_numpy(frame) for frame in frames]).movedim(-1, 1)
    height = round(TILE_PX * HEIGHT / WIDTH)
    pictures = transforms.resize(pictures, [height, TILE_PX], antialias=True)
    pictures = transforms.pad(pictures, [0, 0, 0, TILE_PX - height])
    return transforms.normalize(transforms.to_dtype(pictures, scale=True), list(CLIP_MEAN), list(CLIP_STD))


def pyav(path: Path) -> Tensor:
    """Decode all, keep 64."""
    with av.open(str(path)) as source:
        video = source.streams.video[0]
        video.thread_type = "AUTO"
        wanted = set(np.linspace(0, video.frames - 1, FRAMES).round().astype(int).tolist())
        kept = [frame.to_ndarray(format="rgb24") for at, frame in enumerate(source.decode(video)) if at in wanted]
    return _prepare(kept)


def transformers_loading(path: Path) -> Tensor:
    """`load_video` with its default backend."""
    frames, _ = load_video(str(path), num_frames=FRAMES)
    return _prepare(list(frames))


def compare(name: str, path: Path, theirs: Callable[[Path], Tensor], rounds: int, most: float | None) -> bool:
    """Print both and their ratio -> whether the requirement is met."""
    a, b = ours(path), theirs(path)
    assert a.shape == b.shape == (FRAMES, 3, TILE_PX, TILE_PX), (a.shape, b.shape)
    assert (a - b).abs().mean() < 0.15  # the same frames
    seconds = in_turns([lambda: ours(path), lambda: theirs(path)], rounds, warmup=0)
    medians = [f"{statistics.median(of_side):.2f}" for of_side in seconds]
    return row(name, *medians, ratio(*seconds), most=most)


def main(rounds: int = 3) -> None:
    """Exits with 1 if a requirement is missed."""
    print(
        f"{machine()}\n{FRAMES} of a clip of {WIDTH}x{HEIGHT} at {RATE_HZ} Hz, to tiles of {TILE_PX}, {rounds} rounds\n"
    )
    met = True
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "short.mp4", Path(folder) / "long.mp4"
        write_clip(short)
        repeat_clip(short, long, 30)
        head("seconds", "ours", "theirs")
        for path, length in ((short, SECONDS), (long, 30 * SECONDS)):
            met &= compare(f"{length} s, PyAV", path, pyav, rounds, MOST[length])
            met &= compare(f"{length} s, transformers", path, transformers_loading, rounds, None)
    raise SystemExit(not met)


if __name__ == "__main__":
    typer.run(main)
