"""PyAV: decodes no frame that is neither asked for nor needed by one that is, on all cores."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import Interpolation

from .index import Index, open_clip, time_of, video_of

ERRORS = (av.FFmpegError,)
# Codecs whose frames say themselves whether another one needs them: those that none needs are not decoded.
_SAY_WHAT_IS_NEEDED = {"h264"}
# Colours, which are stored at half the size, in each pixel anew: by default swscale gives two neighbours the same.
_SHRINK = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
_FRAMES_HELD = 20  # by a decoder, at most: 16 that others refer to, and some on their way


def read_frames(path: str, index: Index, chosen: np.ndarray, size: tuple[int, int], memory_bytes: int) -> np.ndarray:
    """The chosen of the frames shown, [F, H, W, 3] uint8, upright; size: height and width before any rotation.

    Raises KeyError if the file never shows one of them.
    """
    groups: dict[int | None, set[int]] = {}
    for packet in sorted(index.shown[chosen].tolist()):
        groups.setdefault(index.key_of(packet), set()).add(packet)
    cores = len(os.sched_getaffinity(0))
    fit = memory_bytes // 2 // (_FRAMES_HELD * 3 * index.size[0] * index.size[1])
    workers = max(1, min(len(groups), cores, fit))
    shares = [list(groups.items())[start::workers] for start in range(workers)]
    frames: dict[int, np.ndarray] = {}
    with ThreadPoolExecutor(workers) as pool:
        for part in pool.map(lambda share: _decode(path, index, share, size, max(1, cores // workers)), shares):
            frames |= part
    return np.stack([frames[time] for time in index.times[index.shown[chosen]].tolist()])


def _decode(
    path: str, index: Index, groups: list[tuple[int | None, set[int]]], size: tuple[int, int], threads: int
) -> dict[int, np.ndarray]:
    """By time, the frames of these packets, which stand with the key that decoding has to begin at."""
    frames: dict[int, np.ndarray] = {}
    with open_clip(path) as source:
        context = video_of(source).codec_context
        context.thread_count, context.thread_type = threads, "AUTO"
        for key, packets in groups:
            missing = set(index.times[list(packets)].tolist())
            for frame in decoded_for(source, index, key, missing.copy()):
                if frame.pts in missing:
                    missing.remove(frame.pts)
                    frames[frame.pts] = _pixels(frame, size)
                if not missing:
                    break
            context.flush_buffers()
    return frames


def decoded_for(source: InputContainer, index: Index, key: int | None, wanted: set[int]) -> Iterator[av.VideoFrame]:
    """Those of these times, and what it takes to decode them: from a key frame to the last one's packet.

    Without a key frame all of the file is decoded.
    """
    video, begun = video_of(source), key is None
    context = video.codec_context
    if not begun:
        source.seek(int(index.times[key]), stream=video)
    for packet in source.demux(video):
        time = time_of(packet)
        begun = begun or time == index.times[key]
        if not packet.size or (key is not None and not wanted):
            break
        if begun:
            if key is not None and index.codec in _SAY_WHAT_IS_NEEDED:
                context.skip_frame = "DEFAULT" if time in wanted else "NONREF"
            yield from context.decode(packet)
            wanted.discard(time)
    yield from context.decode(None)  # what the decoder has not yet let go of


def _pixels(frame: av.VideoFrame, size: tuple[int, int]) -> np.ndarray:
    """[H, W, 3], upright."""
    is_whole = size == (frame.height, frame.width)
    how = Interpolation.BILINEAR if is_whole else _SHRINK
    rgb = frame.reformat(size[1], size[0], format="rgb24", interpolation=how, threads=1)
    return np.rot90(rgb.to_ndarray(), frame.rotation // 90)


def read_sound(path: str, sample_rate: int, max_duration_s: float) -> np.ndarray:
    """The first sound track, all channels mixed, float32 [N]."""
    pieces, samples, most = [], 0, max_duration_s * sample_rate
    with av.open(path, metadata_errors="ignore", container_options={"protocol_whitelist": "file"}) as source:
        if not source.streams.audio:
            raise ValueError("no sound track")
        resampler = av.AudioResampler("flt", "mono", sample_rate)
        for frame in chain(source.decode(audio=0), [None]):  # None: what the resampler has not yet let go of
            for piece in resampler.resample(frame):
                pieces.append(piece.to_ndarray().reshape(-1))
                samples += piece.samples
            if samples > most:
                raise ValueError(f"a sound track of more than {max_duration_s:g} s")
    if not samples:
        raise ValueError("a sound track without samples")
    return np.concatenate(pieces)
