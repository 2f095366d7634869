"""torchcodec (https://github.com/meta-pytorch/torchcodec): the extra `torchcodec`; FFmpeg 4 to 8 is the system's."""

import json

import numpy as np
from torchcodec.decoders import VideoDecoder
from torchcodec.transforms import Resize

from .index import Index

ERRORS = (RuntimeError, IndexError)


def read_frames(path: str, index: Index, chosen: np.ndarray, size: tuple[int, int], memory_bytes: int) -> np.ndarray:
    """As `with_pyav.read_frames`."""
    columns = (values[index.shown].tolist() for values in (index.times, index.durations, index.is_key))
    frames = [
        {"pts": at, "duration": last, "key_frame": int(is_key)} for at, last, is_key in zip(*columns, strict=True)
    ]
    decoder = VideoDecoder(
        path,
        dimension_order="NHWC",
        num_ffmpeg_threads=0,  # as many as there are cores
        custom_frame_mappings=json.dumps({"frames": frames}),
        transforms=[Resize(size)] if size != index.size else None,
    )
    return decoder.get_frames_at(chosen.tolist()).data.numpy()
