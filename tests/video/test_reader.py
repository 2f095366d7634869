"""Clips are sampled where they should be, and whatever is no clip gets one clear error in time."""

import os
import random
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from adapters.media import MediaError
from tests.video.clip_files import STEP, numbers_of, rotated, write_clip
from video.reader import ClipLimits, read_clip, read_sound_track


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def clip(folder) -> Path:
    return write_clip(folder / "fifty.mp4", sound_s=5.0)


# What is read


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("h264.mp4", {}),
        ("h264.mkv", {}),
        ("h264.mov", {}),
        ("vp9.webm", dict(codec="vp9")),
        ("mpeg4.avi", dict(codec="mpeg4")),
        ("ten bits.mp4", dict(pixels="yuv420p10le")),
        ("odd.mkv", dict(codec="ffv1", size=(161, 121))),
        ("small.mp4", dict(size=(32, 32))),
        ("tall.mp4", dict(size=(32, 640))),
    ],
)
def test_every_container_and_codec_gives_the_frames_asked_for(folder, name, how):
    path = write_clip(folder / name, **how)
    read = read_clip(path, max_frames=6)
    width, height = how.get("size", (160, 120))
    assert read.frames.shape == (6, 3, height, width) and read.frames.dtype == torch.uint8
    assert numbers_of(read.frames) == [0, 10, 20, 29, 39, 49]
    rate_hz = how.get("rate_hz", 10)
    assert read.times_s.tolist() == pytest.approx([n / rate_hz for n in (0, 10, 20, 29, 39, 49)], abs=0.05)
    assert read.duration_s == pytest.approx(50 / rate_hz, abs=0.15)


def test_a_part_a_rate_and_both(clip):
    assert numbers_of(read_clip(clip, start_s=1.0, end_s=1.5).frames) == [10, 11, 12, 13, 14]
    assert numbers_of(read_clip(clip, rate_hz=2).frames) == list(range(0, 50, 5))
    assert numbers_of(read_clip(clip, start_s=2.0, rate_hz=1, max_frames=2).frames) == [20, 40]
    assert numbers_of(read_clip(clip, start_s=1.02, end_s=1.05).frames) == [10]  # between two frames
    assert len(read_clip(clip).frames) == 50 and len(read_clip(clip, max_frames=1).frames) == 1


def test_a_variable_rate_is_sampled_by_its_own_times(folder):
    ticks = [*range(0, 400, 40), *range(1000, 5000, 1000)]  # ten quick frames, four slow ones
    path = write_clip(folder / "variable.mkv", codec="ffv1", number=14, ticks=ticks, rate_hz=25)
    read = read_clip(path, rate_hz=1, end_s=4.5)
    assert numbers_of(read.frames) == [0, 10, 11, 12, 13]
    assert read.times_s.tolist() == pytest.approx([0, 1, 2, 3, 4], abs=0.01)


def test_bytes_and_streams_are_read_as_the_file_is(clip):
    whole = read_clip(clip, max_frames=5)
    for source in (clip.read_bytes(), clip.open("rb"), str(clip)):
        again = read_clip(source, max_frames=5)
        assert torch.equal(again.frames, whole.frames) and torch.equal(again.times_s, whole.times_s)


def test_large_frames_are_shrunk_and_keep_their_shape(folder):
    path = write_clip(folder / "large.mp4", size=(640, 360), number=3)
    assert read_clip(path, limits=ClipLimits(longer_side_px=128)).frames.shape == (3, 3, 72, 128)


@pytest.mark.parametrize("longer_side_px", [1120, 64], ids=["as it is", "shrunk"])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_rotated_file_comes_upright(folder, degrees, longer_side_px):
    path, picture = folder / "corners.mp4", np.zeros((120, 160, 3), np.uint8)
    picture[:60, :80], picture[:60, 80:], picture[60:, 80:] = (250, 20, 20), (20, 250, 20), (20, 20, 250)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        for _ in range(4):
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(video.encode())
    read = read_clip(rotated(path.read_bytes(), degrees), limits=ClipLimits(longer_side_px=longer_side_px))
    expected = torch.from_numpy(np.rot90(picture, -degrees // 90).copy()).movedim(-1, 0)
    height, width = read.frames.shape[2:]
    assert width / height == pytest.approx(expected.shape[2] / expected.shape[1]) and max(height, width) <= 160
    for down, right in ((1, 1), (1, 3), (3, 1), (3, 3)):
        found = read.frames[0, :, height * down // 4, width * right // 4]
        turned = expected[:, expected.shape[1] * down // 4, expected.shape[2] * right // 4]
        assert (found.int() - turned.int()).abs().max() < 12


@pytest.mark.parametrize("size", [(72, 128), (48, 36), (40, 40), (20, 90)])
@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_narrow_frames_are_whole(folder, size, decoder):
    """decord takes the padding of their rows for a fourth channel."""
    path = write_clip(folder / "narrow.mp4", size=size, number=12)
    read = read_clip(path, max_frames=4, decoder=decoder)
    assert read.frames.shape == (4, 3, *size[::-1]) and numbers_of(read.frames) == [0, 4, 7, 11]
    large = write_clip(folder / "narrow when shrunk.mp4", size=(270, 480), number=3)
    shrunk = read_clip(large, limits=ClipLimits(longer_side_px=128), decoder=decoder)
    assert shrunk.frames.shape == (3, 3, 128, 72)


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_vp9_with_hidden_frames_is_read(folder, decoder):
    """Packets that decord's threads lose, as encoders in a hurry write them."""
    path, rng = folder / "hidden.webm", np.random.default_rng(0)
    still = rng.integers(40, 200, (138, 104, 3), np.uint8)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libvpx-vp9", rate=7, options={"deadline": "realtime", "cpu-used": "8"})
        video.width, video.height, video.pix_fmt, video.bit_rate = 104, 138, "yuv420p", 60_000
        for n in range(78):
            frame = still.copy()
            frame[40:60, n : n + 20] = 250
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        out.mux(video.encode())
    read = read_clip(path, max_frames=16, decoder=decoder)
    assert len(read.frames) == 16 and read.times_s.tolist() == pytest.approx(
        [round(n * 77 / 15) / 7 for n in range(16)], abs=0.05
    )


def test_one_frame_is_a_clip(folder):
    read = read_clip(write_clip(folder / "one.mp4", number=1))
    assert len(read.frames) == 1 and read.times_s.tolist() == [0.0]


def test_the_sound_track_is_the_tone(clip):
    samples, rate = read_sound_track(clip)
    assert rate == 16_000 and samples.dtype == torch.float32 and len(samples) / rate == pytest.approx(5.0, abs=0.2)
    spectrum = torch.fft.rfft(samples[8000:24_000]).abs()
    assert spectrum.argmax().item() == 440


# What is refused


def damaged(clip: Path, seed: int, holes: int, length: int = 16) -> bytes:
    data, rng = bytearray(clip.read_bytes()), random.Random(seed)
    for _ in range(holes):
        at = rng.randrange(64, len(data) - length)
        data[at : at + length] = rng.randbytes(length)
    return bytes(data)


def without_video(folder: Path) -> Path:
    path = folder / "sound only.mp4"
    with av.open(str(path), "w") as out:
        tone = out.add_stream("aac", rate=16_000)
        block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        block.sample_rate = 16_000
        out.mux(tone.encode(block))
        out.mux(tone.encode())
    return path


def picture(folder: Path, kind: str) -> Path:
    path = folder / f"picture.{kind}"
    Image.new("RGB", (64, 64)).save(path)
    return path


HOSTILE = {
    "no such file": (lambda folder, clip: folder / "missing.mp4", "no such file"),
    "a folder": (lambda folder, clip: folder, "a folder"),
    "an address": (lambda folder, clip: "https://example.org/clip.mp4", "nothing is fetched"),
    "nothing": (lambda folder, clip: b"", r"0 bytes"),
    "an empty file": (lambda folder, clip: _written(folder, "empty.mp4", b""), r"0 bytes"),
    "text": (lambda folder, clip: _written(folder, "text.mp4", b"hello there" * 100), "begins like no clip"),
    "a playlist": (lambda folder, clip: b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/x.ts\n", "begins like no clip"),
    "a list of files": (lambda folder, clip: b"ffconcat version 1.0\nfile /etc/passwd\n", "begins like no clip"),
    "a PNG": (lambda folder, clip: picture(folder, "png"), "begins like no clip"),
    "a JPEG": (lambda folder, clip: picture(folder, "jpg"), "begins like no clip"),
    "an animated GIF": (lambda folder, clip: picture(folder, "gif"), "begins like no clip"),
    "a WAV": (lambda folder, clip: b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 40, "begins like no clip"),
    "sound alone": (lambda folder, clip: without_video(folder), "stream"),
    "the head alone": (lambda folder, clip: clip.read_bytes()[:200], "cannot be decoded"),
    "the first half": (lambda folder, clip: clip.read_bytes()[: clip.stat().st_size // 2], "cannot be decoded"),
    "a box of noise": (lambda folder, clip: b"\0\0\0\x18ftypmp42" + random.Random(0).randbytes(5000), "decoded"),
    "an EBML head and noise": (lambda folder, clip: b"\x1a\x45\xdf\xa3" + random.Random(1).randbytes(5000), "decoded"),
    "an AVI head and noise": (
        lambda folder, clip: b"RIFF\xff\xff\0\0AVI " + random.Random(2).randbytes(5000),
        "decoded",
    ),
    "a part beyond the end": (lambda folder, clip: clip, "nothing lies between"),
    "an object": (lambda folder, clip: 17, "object of type int"),
    "a null byte in the path": (lambda folder, clip: "clip\0.mp4", "no valid path"),
    "a device": (lambda folder, clip: "/dev/zero", "a device"),
    "a named pipe": (lambda folder, clip: _pipe(folder), "a named pipe"),
}


def _written(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.mp4")
    return folder / "pipe.mp4"


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_clip_gets_one_clear_error(folder, clip, case, capfd):
    make, words = HOSTILE[case]
    part = dict(start_s=60.0) if case == "a part beyond the end" else {}
    with pytest.raises(MediaError, match=words) as raised:
        read_clip(make(folder, clip), **part)
    assert "\n" not in str(raised.value) and "accepted: MP4" in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_damage_by_the_hundred_gives_frames_or_the_error_and_never_hangs(clip):
    for seed, holes in ((0, 1), (1, 10), (2, 100), (3, 400)):
        started = time.monotonic()
        try:
            read = read_clip(damaged(clip, seed, holes), max_frames=8, limits=ClipLimits(deadline_s=20))
        except MediaError:
            continue
        finally:
            assert time.monotonic() - started < 25
        assert 1 <= len(read.frames) <= 8


def test_too_long_too_large_and_too_slow_are_refused(clip):
    for limits, words in (
        (ClipLimits(max_bytes=100), "a file of"),
        (ClipLimits(max_duration_s=1.0), "a duration of 5 s"),
        (ClipLimits(deadline_s=0.01), "takes longer than 0.01 s"),
        (ClipLimits(max_memory_bytes=100), "more than 100 bytes"),
    ):
        with pytest.raises(MediaError, match=words):
            read_clip(clip.read_bytes() if limits.max_memory_bytes == 100 else clip, limits=limits)
    assert len(read_clip(clip, max_frames=2).frames) == 2  # and life goes on


def test_a_clip_without_sound_is_refused_as_that(folder):
    with pytest.raises(MediaError, match="no sound track"):
        read_sound_track(write_clip(folder / "mute.mp4", number=5))


@pytest.mark.parametrize("wrong", [dict(max_frames=0), dict(start_s=-1.0), dict(end_s=float("nan")), dict(rate_hz=0.0)])
def test_arguments_without_sense_are_refused(clip, wrong):
    with pytest.raises(ValueError, match=f"found {next(iter(wrong))}=.*accepted"):
        read_clip(clip, **wrong)


@pytest.mark.slow
def test_two_hours_are_sampled_in_the_memory_of_two_minutes(folder):
    limits = ClipLimits(decoder_memory_bytes=2 * 2**30)
    path = write_clip(folder / "two hours.mp4", number=7200, rate_hz=1, size=(64, 48))
    read = read_clip(path, max_frames=64, limits=limits)
    expected = [round(n * 7199 / 63) * STEP % 256 for n in range(64)]
    assert read.frames.float().mean((1, 2, 3)).tolist() == pytest.approx(expected, abs=4)
    assert read.duration_s == pytest.approx(7200, abs=2)
