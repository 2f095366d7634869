"""Where the frames of a clip are and when they are shown, told by its packets without decoding any."""

from dataclasses import dataclass

import av
import numpy as np
from av.container import InputContainer


@dataclass(frozen=True, eq=False)
class Index:
    """P packets in the order of the file, and of them the F that are shown, in the order in which they are."""

    times: np.ndarray  # [P] when a packet's frame is shown, in ticks
    durations: np.ndarray  # [P] in ticks; 0 where the file does not tell
    is_key: np.ndarray  # [P] whether decoding can begin here
    shown: np.ndarray  # [F] the packet of each frame
    tick_s: float
    size: tuple[int, int]  # height and width before any rotation
    codec: str

    @property
    def starts_s(self) -> np.ndarray:
        """When each frame is shown, [F], from the first one on."""
        times = self.times[self.shown]
        return (times - times[0]) * self.tick_s

    @property
    def duration_s(self) -> float:
        """Up to the end of the last frame, which lasts as long as the one before it where the file does not tell."""
        times, last = self.times[self.shown], self.durations[self.shown[-1]]
        if last <= 0 and len(times) > 1:
            last = times[-1] - times[-2]
        return float(times[-1] - times[0] + last) * self.tick_s

    def key_of(self, packet: int) -> int | None:
        """The packet at which decoding has to begin for the frame of this one; None: at the file's beginning.

        A frame that is shown before the key frame it stands behind may need those of the key frame before.
        """
        keys = np.flatnonzero(self.is_key[: packet + 1] & (self.times[: packet + 1] <= self.times[packet]))
        return int(keys[-1]) if len(keys) else None


def open_clip(path: str) -> InputContainer:
    """The file, and nothing else that it may name. Raises ValueError if it has no video."""
    source = av.open(path, metadata_errors="ignore", container_options={"protocol_whitelist": "file"})
    if not source.streams.video:
        source.close()
        raise ValueError("no video stream")
    return source


def video_of(source: InputContainer) -> av.VideoStream:
    """FFmpeg's choice of a file's video streams: a cover picture is one too."""
    return source.streams.best("video")


def scan(path: str) -> Index:
    """What the packets tell. Raises ValueError if no frame is shown."""
    with open_clip(path) as source:
        video = video_of(source)
        packets = [
            (time_of(packet), packet.duration or 0, packet.is_keyframe, not packet.is_discard)
            for packet in source.demux(video)
            if packet.size and time_of(packet) is not None
        ]
        return _index(video, packets)


def decode_all(path: str) -> Index:
    """What decoding all of the file tells, of files with packets whose frames are never shown: no frame is a key."""
    with open_clip(path) as source:
        video = video_of(source)
        frames = [(frame.pts, frame.duration or 0, False, True) for frame in source.decode(video)]
        return _index(video, [frame for frame in frames if frame[0] is not None])


def time_of(packet: av.Packet) -> int | None:
    """When its frame is shown; AVI files tell in which order packets are decoded only."""
    return packet.dts if packet.pts is None else packet.pts


def _index(video: av.VideoStream, packets: list[tuple[int, int, bool, bool]]) -> Index:
    if not any(is_shown for *_, is_shown in packets):
        raise ValueError("no frame that can be decoded")
    times, durations, is_key, is_shown = (np.array(column) for column in zip(*packets, strict=True))
    shown = np.flatnonzero(is_shown)
    shown = shown[np.argsort(times[shown], kind="stable")]
    size = video.codec_context.height, video.codec_context.width
    if not all(size):
        raise ValueError("frames without a size")
    return Index(times, durations, is_key, shown, float(video.time_base), size, video.codec_context.name)
