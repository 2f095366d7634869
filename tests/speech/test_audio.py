import io
import time
import tracemalloc

import numpy as np
import pytest
import torch
from torchaudio.functional import resample

from adapters.media import MediaError
from speech.audio import Sound, SoundLimits, open_sound, seconds_of, stream_sound
from speech.resampling import Resampler

from .hostile import FLAC, HOSTILE, LIMITS, MP3, OGG, OPUS, RATE, SOUND, WAV, encoded, melody, wav, without_length_tag


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_sound_gets_one_clear_error_in_time(name, tmp_path, recwarn, capfd):
    source = HOSTILE[name].make(tmp_path)
    started = time.monotonic()
    with pytest.raises(MediaError, match=f"^[^\n]+: found [^\n]*{HOSTILE[name].found}.*; accepted: [^\n]+$") as error:
        open_sound(source, limits=LIMITS)
    assert time.monotonic() - started < LIMITS.deadline_s + 3
    assert len(str(error.value)) < 900
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")
    assert difference(open_sound(WAV, limits=LIMITS), SOUND) < 1e-4  # and life goes on


def difference(sound: Sound, expected: np.ndarray) -> float:
    assert sound.samples.dtype == torch.float32
    assert sound.samples.shape == expected.shape
    return float(np.abs(sound.samples.numpy() - expected).max())


def test_the_error_names_the_file(tmp_path):
    path = tmp_path / "no\nsound.wav"
    path.write_bytes(b"no sound")
    with pytest.raises(MediaError, match=r"no\?sound.wav: found text; accepted: a WAV, FLAC, .* 4 hours, 32 channels"):
        open_sound(path)


@pytest.mark.parametrize("whole", [WAV, FLAC, OGG, OPUS, MP3], ids=["WAV", "FLAC", "OGG", "OPUS", "MP3"])
def test_random_damage_gives_a_sound_or_the_error(whole):
    rng = np.random.default_rng(1)
    for turn in range(40):
        data = bytearray(whole[: rng.integers(1, len(whole))] if turn % 4 == 0 else whole)
        for position in rng.integers(0, min(len(data), 200 if turn % 2 else len(data)), 4):
            data[position] = rng.integers(256)
        try:
            sound = open_sound(bytes(data), limits=LIMITS)
        except MediaError:
            continue
        assert 0 < sound.seconds <= LIMITS.max_seconds
        assert sound.samples.abs().max() <= 1


def test_every_truncation_of_a_frame_or_page_is_noticed():
    for whole in (OGG, MP3, without_length_tag(MP3)):
        for missing in range(1, 200, 13):
            with pytest.raises(MediaError, match=r"truncated|damaged"):
                open_sound(whole[:-missing])


def test_decoding_stops_at_the_deadline():
    data = encoded(melody(60), "FLAC")
    with pytest.raises(MediaError, match=r"takes longer than 0.001 s"):
        open_sound(data, limits=SoundLimits(deadline_s=0.001))


def test_the_clock_stands_still_while_the_caller_works():
    blocks = stream_sound(encoded(np.zeros(60 * RATE), "FLAC"), limits=SoundLimits(deadline_s=0.5))
    for block in blocks:
        assert len(block)
        time.sleep(0.2)


def test_a_header_that_tells_of_hours_allocates_nothing():
    lie = bytearray(FLAC)
    lie[18:26] = (int.from_bytes(FLAC[18:26]) >> 36 << 36 | 4 * 3600 * RATE).to_bytes(8)
    tracemalloc.start()
    with pytest.raises(MediaError, match="has 16000"):
        open_sound(bytes(lie))
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_limits_must_be_positive():
    with pytest.raises(ValueError, match=r"SoundLimits.max_channels is 0"):
        SoundLimits(max_channels=0)


def test_the_rate_that_is_asked_for_must_be_one():
    with pytest.raises(ValueError, match="sample_rate is 0; it must be 4000 to 384000 Hz"):
        open_sound(WAV, 0)


# Right answers.


FORMATS = {  # container, coding, and the largest difference allowed
    "WAV PCM_U8": 0.008,
    "WAV PCM_16": 4e-5,
    "WAV PCM_24": 2e-7,
    "WAV PCM_32": 1e-7,
    "WAV FLOAT": 0,
    "WAV DOUBLE": 0,
    "WAV ULAW": 0.03,
    "WAV ALAW": 0.03,
    "WAVEX PCM_16": 4e-5,
    "FLAC PCM_16": 4e-5,
    "FLAC PCM_24": 2e-7,
    "OGG VORBIS": 0.15,
    "OGG OPUS": 0.15,
    "MP3 MPEG_LAYER_III": 0.15,
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_heard_as_it_is(name, tmp_path):
    data = encoded(SOUND, *name.split())
    (tmp_path / "sound").write_bytes(data)
    sound = open_sound(tmp_path / "sound")
    assert sound.samples.shape == SOUND.shape
    middle = slice(None) if FORMATS[name] < 0.1 else slice(400, -400)  # codecs that fade in and out
    assert np.abs(sound.samples.numpy() - SOUND)[middle].max() <= FORMATS[name]
    assert np.corrcoef(sound.samples, SOUND)[0, 1] > 0.99  # no delay, no sign turned
    assert sound.seconds == 1
    for source in (data, bytearray(data), memoryview(data), io.BytesIO(data), str(tmp_path / "sound"), sound):
        assert torch.equal(open_sound(source).samples, sound.samples)
    with open(tmp_path / "sound", "rb") as stream:
        assert torch.equal(open_sound(stream).samples, sound.samples)


TAG = b"ID3\x04\0\0\0\0\x02\0" + bytes(256)
ODD = {
    "WAV from a pipe": wav(told=2**32 - 1),
    "WAV, chunks after the samples": wav(bytes(3200)) + b"LIST\x04\0\0\0INFO",
    "FLAC behind a tag": TAG + FLAC,
    "FLAC without a length": FLAC[:21] + bytes([FLAC[21] & 0xF0]) + bytes(4) + FLAC[26:],
    "MP3 behind a tag and zeros": TAG + bytes(700) + MP3,
    "MP3 before tags": MP3 + b"APETAGEX\xd0\x07\0\0" + (8).to_bytes(4, "little") + bytes(24) + b"TAG" + bytes(125),
    "MP3, then zeros": MP3 + bytes(3000),
}


@pytest.mark.parametrize("name", ODD)
def test_an_unusual_file_is_heard_as_a_whole(name, capfd):
    expected = {"WAV": wav(), "FLA": FLAC, "MP3": MP3}[name[:3]]
    assert torch.equal(open_sound(ODD[name]).samples, open_sound(expected).samples)
    assert capfd.readouterr() == ("", "")


def test_an_mp3_without_a_length_tag_keeps_its_end():
    loud_end = np.concatenate([np.zeros(5 * RATE, np.float32), melody(5)])  # its beginning promises a small file
    mp3 = encoded(loud_end, "MP3")
    whole, untold = open_sound(mp3).samples, open_sound(without_length_tag(mp3)).samples
    assert 0 <= len(untold) - len(whole) < 3000  # the tag also tells what the encoder added at both ends
    delay = (untold.abs() > 0.1).nonzero()[0] - (whole.abs() > 0.1).nonzero()[0]
    assert np.corrcoef(untold[delay:][: len(whole) - 2000], whole[:-2000])[0, 1] > 0.999


@pytest.mark.parametrize("rate", [4000, 8000, 11025, 22050, 22254, 44100, 44101, 48000, 96000, 383999])
def test_every_rate_keeps_pitch_and_length(rate):
    t = np.arange(rate) / rate
    sound = open_sound((np.sin(2 * np.pi * 440 * t).astype(np.float32) / 2, rate))
    assert sound.seconds == 1
    expected = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE) / 2
    inner = slice(1000, -1000)
    assert np.abs(sound.samples.numpy() - expected)[inner].max() < 3e-3


@pytest.mark.parametrize(
    ("rate", "to"), [(8000, RATE), (11025, RATE), (44100, RATE), (48000, RATE), (1501, 1500), (1500, 1501)]
)
def test_resampling_by_blocks_equals_the_whole(rate, to):
    samples, rng, position = torch.from_numpy(melody(3, rate)), np.random.default_rng(rate), 0
    resampler, parts = Resampler(rate, to), []
    while position < len(samples):
        size = int(rng.integers(0, rate // 2))
        parts.append(resampler.push(samples[position : position + size]))
        position += size
    got = torch.cat([*parts, resampler.finish()])
    torch.testing.assert_close(got, resample(samples.double(), rate, to).float(), atol=5e-6, rtol=0)


def test_a_stream_of_blocks_is_the_whole_to_the_bit():
    data = encoded(melody(20, 44100), "FLAC", rate=44100)
    blocks = list(stream_sound(data))
    assert len(blocks) > 3
    assert torch.equal(torch.cat(blocks), open_sound(data).samples)


STEREO = np.stack([SOUND, np.zeros_like(SOUND)])  # [2, T]
ARRAYS = {
    "float32": SOUND,
    "float64": SOUND.astype(np.float64),
    "float16": SOUND.astype(np.float16),
    "int16": (SOUND * 2**15).round().astype(np.int16),
    "int16, big-endian": (SOUND * 2**15).round().astype(">i2"),
    "int32": (SOUND.astype(np.float64) * 2**31).round().astype(np.int32),
    "uint8": (SOUND * 2**7 + 128).round().astype(np.uint8),
    "reversed twice": np.ascontiguousarray(SOUND[::-1])[::-1],
    "[1, T]": SOUND[None],
    "[T, 1]": SOUND[:, None],
    "[channels, T]": STEREO * 2,
    "[T, channels]": STEREO.T * 2,
    "tensor": torch.from_numpy(SOUND).requires_grad_(),
    "tensor, bfloat16": torch.from_numpy(SOUND).bfloat16(),
    "tensor, int16": torch.from_numpy((SOUND * 2**15).round().astype(np.int16)),
    "tensor [channels, T]": torch.from_numpy(STEREO * 2),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_every_kind_of_array_is_the_same_sound(name):
    sound = open_sound((ARRAYS[name], RATE))
    assert difference(sound, SOUND) < (0.005 if "uint8" in name or "bfloat" in name else 5e-4)
    assert torch.equal(open_sound({"array": ARRAYS[name], "sampling_rate": np.int64(RATE)}).samples, sound.samples)
    assert not sound.samples.requires_grad


def test_integers_are_scaled_exactly():
    assert open_sound((np.array([-(2**15), 0, 2**14], np.int16), RATE)).samples.tolist() == [-1, 0, 0.5]
    assert open_sound((np.array([-(2**31), 1, 2**30], np.int32), RATE)).samples.tolist() == [-1, 2**-31, 0.5]
    assert open_sound((np.array([0, 128, 192], np.uint8), RATE)).samples.tolist() == [-1, 0, 0.5]


def test_of_two_equal_sides_the_first_is_the_channels():
    assert open_sound((np.array([[0.1, 0.2], [0.3, 0.6]]), RATE)).samples.tolist() == pytest.approx([0.2, 0.4])


def test_channels_of_a_file_are_averaged_and_overshoot_is_clipped():
    data = encoded(np.stack([SOUND, SOUND / 2, -SOUND], 1), "WAV", "FLOAT")
    assert difference(open_sound(data), SOUND / 6) < 1e-6
    loud = open_sound((np.array([2.0, -3.0, 0.5]), RATE))
    assert loud.samples.tolist() == [1, -1, 0.5]


def test_a_closed_stream_leaves_the_file_closed(tmp_path):
    (tmp_path / "a.flac").write_bytes(encoded(melody(40), "FLAC"))
    blocks = stream_sound(tmp_path / "a.flac")
    next(blocks)
    blocks.close()
    with pytest.raises(StopIteration):
        next(blocks)


def test_how_long_a_sound_is_stands_in_its_header(tmp_path):
    data = encoded(melody(3), "FLAC")
    (tmp_path / "a.flac").write_bytes(data)
    (tmp_path / "no.wav").write_text("no sound")
    for source in (tmp_path / "a.flac", data, open_sound(data), (melody(3), RATE)):
        assert seconds_of(source) == pytest.approx(open_sound(data).seconds, abs=1e-3)
    stream = io.BytesIO(data)
    assert seconds_of(stream) is None and stream.tell() == 0
    assert seconds_of(tmp_path / "no.wav") is None and seconds_of(np.zeros(9)) is None
