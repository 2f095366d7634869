"""Every decoder gives the frames that the sampler names: those that decoding the whole file gives, to the bit."""

import ctypes.util
import os
import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torchvision.transforms.v2.functional import resize

from video.decoders import index as clip_index
from video.decoders import with_pyav
from video.decoding import choose
from video.reader import ClipLimits, read_clip, read_sound_track

NUMBER, RATE_HZ, SIZE = 60, 10, (160, 120)

# Files whose frames are hard to find: others are needed first, come later in the file, or are never shown.
FILES = {
    "references on references.mp4": ("libx264", {"x264-params": "keyint=30:bframes=8:b-pyramid=normal:b-adapt=0"}),
    "open groups.mkv": ("libx264", {"x264-params": "keyint=20:open-gop=1:bframes=3:b-adapt=0:scenecut=0"}),
    "no clean key.mp4": ("libx264", {"x264-params": "keyint=25:intra-refresh=1"}),
    "interlaced.mp4": ("libx264", {"x264-params": "keyint=30:interlaced=1"}),
    "hevc.mp4": ("libx265", {"x265-params": "keyint=20:open-gop=1:bframes=4:log-level=none"}),
    "hidden.webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "9"}),
    "order of decoding alone.avi": ("mpeg4", {"bf": "2", "g": "30"}),
    "every frame a key.mov": ("mjpeg", {}),
}

TORCHCODEC = dict(decoder="torchcodec", limits=ClipLimits(deadline_s=600))  # its process imports torch


def write(path: Path) -> Path:
    """Noise that moves, another one every 25 frames: no two frames look alike."""
    codec, options = FILES[path.name]
    noise = np.random.default_rng(0).integers(0, 255, (3, *(side // 4 for side in SIZE[::-1]), 3), np.uint8)
    noise = noise.repeat(4, 1).repeat(4, 2)
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=RATE_HZ, options=options)
        (video.width, video.height), video.bit_rate = SIZE, 400_000
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for n in range(NUMBER):
            frame = np.roll(noise[n // 25], 3 * n, 1)
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        out.mux(video.encode())
    return path


def whole(path: Path) -> np.ndarray:
    """All frames, decoded one after the other."""
    with av.open(str(path)) as source:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="session")
def shared_ffmpeg() -> None:
    """FFmpeg's shared libraries, which are installed where root and apt are there."""
    if ctypes.util.find_library("avcodec") or ctypes.util.find_library("avdevice"):
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        pytest.skip("torchcodec needs FFmpeg's shared libraries, and installing them needs root and apt")
    for command in (["update"], ["install", "-y", "--no-install-recommends", "ffmpeg"]):
        done = subprocess.run(["apt-get", "-q", *command], capture_output=True, text=True, timeout=500)
        if done.returncode:
            pytest.skip(f"FFmpeg cannot be installed: {done.stderr.strip().splitlines()[-1:]}")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("max_frames", [7, 40])
def test_frames_are_those_of_the_whole_file_to_the_bit(folder, name, max_frames):
    path = folder / name if (folder / name).exists() else write(folder / name)
    index = clip_index.scan(str(path))
    chosen = choose(index.starts_s, index.duration_s, max_frames, None, None, None)
    try:
        found = with_pyav.read_frames(str(path), index, chosen, SIZE[::-1], 2**30)
    except KeyError:
        index = clip_index.decode_all(str(path))
        found = with_pyav.read_frames(str(path), index, chosen, SIZE[::-1], 2**30)
    assert len(index.shown) == NUMBER and np.array_equal(found, whole(path)[chosen])


def test_what_nothing_needs_is_not_decoded(folder):
    """Frames that no other refers to are half of this file; of them only those asked for are decoded."""
    path = write(folder / "references on references.mp4")
    index = clip_index.scan(str(path))
    key, last = index.key_of(index.shown[28]), index.shown[28]
    with clip_index.open_clip(str(path)) as source:
        decoded = [frame.pts for frame in with_pyav.decoded_for(source, index, key, {int(index.times[last])})]
    assert int(index.times[last]) in decoded and len(decoded) < 0.7 * (last - key + 1)


@pytest.mark.parametrize("name", ["references on references.mp4", "hidden.webm"])
def test_decord_gives_the_same_frames(folder, name):
    path = write(folder / name)
    ours, theirs = (read_clip(path, max_frames=9, decoder=decoder) for decoder in ("pyav", "decord"))
    assert torch.equal(ours.frames, theirs.frames) and torch.equal(ours.times_s, theirs.times_s)


def test_torchcodec_gives_the_same_frames(folder, shared_ffmpeg):
    path = write(folder / "references on references.mp4")
    ours, theirs = (read_clip(path, max_frames=9, start_s=0.5, **how) for how in ({}, TORCHCODEC))
    assert (ours.frames.int() - theirs.frames.int()).abs().max() <= 2 and torch.equal(ours.times_s, theirs.times_s)


@pytest.mark.parametrize("how", [{}, dict(decoder="decord"), pytest.param(TORCHCODEC, marks=pytest.mark.slow)])
def test_shrunk_frames_are_those_of_an_exact_resize(folder, request, how):
    if how is TORCHCODEC:
        request.getfixturevalue("shared_ffmpeg")
    path, (x, y) = folder / "smooth.mp4", np.meshgrid(np.arange(320), np.arange(240))
    picture = np.stack([100 + 80 * np.sin(x / 17), 100 + 80 * np.cos(y / 13), (x + y) / 4], -1).astype(np.uint8)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=10, options={"qp": "8"})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        for _ in range(3):
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(video.encode())
    limits = ClipLimits(longer_side_px=128, deadline_s=600)
    small = read_clip(path, **(how | {"limits": limits})).frames
    expected = resize(torch.from_numpy(picture).movedim(-1, 0), [96, 128], antialias=True)
    assert small.shape == (3, 3, 96, 128)
    assert (small.float() - expected).abs().mean() < 3 and (small.float() - expected).abs().max() < 25


def test_a_decoder_that_is_none_and_one_that_does_not_load(folder, monkeypatch):
    path = write(folder / "every frame a key.mov")
    with pytest.raises(ValueError, match="found decoder='vlc'; accepted: pyav, decord, torchcodec"):
        read_clip(path, decoder="vlc")
    monkeypatch.setattr("video.reader.DECODERS", ("vlc",))
    with pytest.raises(ValueError, match=r"decoder='vlc', which cannot be loaded \(No module named"):
        read_clip(path, decoder="vlc")


def test_sound_too_long_is_refused_before_all_of_it_is_decoded(folder):
    path = folder / "long.mkv"
    with av.open(str(path), "w") as out:
        tone = out.add_stream("pcm_s16le", rate=8000)
        block = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        block.sample_rate = 8000
        for second in range(20):
            block.pts = 8000 * second
            out.mux(tone.encode(block))
        out.mux(tone.encode())
    with pytest.raises(ValueError, match="a sound track of more than 5 s"):
        read_sound_track(path, limits=ClipLimits(max_duration_s=5))
    assert len(read_sound_track(path)[0]) == pytest.approx(20 * 16_000, abs=100)
