import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from adapters.media import MediaError
from speech.audio import open_sound
from speech.segments import ALWAYS_SOUND_DB, FRAME, cut_at_pauses, levels

from .hostile import encoded

RATE = 16_000


def bursts(seconds: float, times: list[tuple[float, float]], loud: float = 0.1, noise: float = 1e-4) -> np.ndarray:
    """[T] float32: sound that swells as syllables do from and to each of the times, on a ground of noise."""
    t = np.arange(int(seconds * RATE)) / RATE
    there = sum(((t >= start) & (t < end) for start, end in times), np.zeros(len(t)))
    sound = np.sin(2 * np.pi * 300 * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t))
    noise = noise * np.random.default_rng(0).standard_normal(len(t))
    return (loud * there * sound + noise).astype(np.float32)


def times(pieces) -> list[tuple[float, float]]:
    return [(piece.start_s, piece.end_s) for piece in pieces]


def check_pieces(source, max_seconds: float = 60.0, pause_s: float = 2.0) -> list:
    """The pieces, after the properties that hold for any sound."""
    samples = open_sound(source).samples
    pieces = list(cut_at_pauses(source, max_seconds, pause_s))
    covered, last = torch.zeros(len(samples), dtype=torch.bool), 0.0
    for piece in pieces:
        assert last <= piece.start_s < piece.end_s <= piece.start_s + max_seconds
        assert piece.sample_rate == RATE
        start, end = round(piece.start_s * RATE), round(piece.end_s * RATE)
        assert torch.equal(piece.samples, samples[start:end])
        covered[start:end], last = True, piece.end_s
    loud = (levels(samples) > ALWAYS_SOUND_DB).repeat_interleave(FRAME)[: len(samples)]
    assert covered[loud].all()
    return pieces


def test_pauses_cut_and_silence_is_dropped():
    pieces = check_pieces((bursts(40, [(3, 6), (6.9, 9), (15, 16), (30, 39)]), RATE))
    expected = [(3, 9), (15, 16), (30, 39)]
    assert np.allclose(times(pieces), np.array(expected) + [-0.2, 0.2], atol=0.021)


def test_a_shorter_pause_cuts_if_it_is_asked_to():
    pieces = check_pieces((bursts(40, [(3, 6), (6.9, 9), (15, 16)]), RATE), pause_s=0.4)
    assert np.allclose(times(pieces), [(2.8, 6.2), (6.7, 9.2), (14.8, 16.2)], atol=0.021)


def test_a_long_piece_is_cut_at_the_longest_pause_of_its_second_half():
    pauses = [(4, 5.5), (6, 6.7), (8, 9), (9.2, 9.7), (14.6, 15.2)]
    ends = [start for start, _ in pauses] + [20]
    starts = [1] + [end for _, end in pauses]
    pieces = check_pieces((bursts(22, list(zip(starts, ends, strict=True))), RATE), max_seconds=10)
    assert np.allclose(times(pieces), [(0.8, 8.2), (8.8, 14.8), (15, 20.2)], atol=0.021)


def test_without_a_pause_the_cut_is_at_the_quietest_place_and_loses_nothing():
    samples = bursts(25, [(0, 25)])
    samples[int(7.4 * RATE) : int(7.6 * RATE)] *= 0.05
    pieces = check_pieces((samples, RATE), max_seconds=10)
    assert 7.4 < pieces[0].end_s < 7.6
    assert pieces[0].start_s == 0 and pieces[-1].end_s == 25
    assert all(one.end_s == following.start_s for one, following in pairwise(pieces))
    assert all(piece.end_s - piece.start_s >= 5 for piece in pieces[:-1])


@pytest.mark.parametrize("loud", [0.5, 0.05, 0.008])
@pytest.mark.parametrize("noise", [0.0, 1e-4, 1e-3])
def test_quiet_speech_on_a_noisy_ground_is_kept(loud, noise):
    spoken = [(4, 7), (12, 14.5), (20, 21)]
    found = np.array(times(check_pieces((bursts(30, spoken, loud, noise), RATE))))
    assert np.allclose(found, np.array(spoken) + [-0.2, 0.2], atol=0.15)


def test_noise_that_sets_in_is_silence_after_a_while():
    samples = bursts(60, [(50, 52)], 0.2) + np.where(np.arange(60 * RATE) > 10 * RATE, 1.0, 0.0) * bursts(
        60, [], 0, 4e-3
    )
    pieces = check_pieces((samples.astype(np.float32), RATE))
    assert len(pieces) == 2 and pieces[0].end_s < 30
    assert times(pieces)[1] == pytest.approx((49.8, 52.2), abs=0.05)


@pytest.mark.parametrize("seed", range(8))
def test_properties_hold_for_random_sounds(seed):
    rng = np.random.default_rng(seed)
    seconds = rng.uniform(0.01, 50)
    edges = np.sort(rng.uniform(0, seconds, 2 * int(rng.integers(0, 12))))
    samples = bursts(seconds, edges.reshape(-1, 2).tolist(), 10 ** rng.uniform(-2, 0), 10 ** rng.uniform(-5, -2))
    check_pieces((samples, RATE), max_seconds=rng.uniform(1, 20), pause_s=rng.uniform(0.1, 1))


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_pieces_of_a_file_are_open_sounds_samples(kind, rate, tmp_path):
    stereo = np.stack([bursts(25, [(2, 8), (12, 24)])] * 2, 1)
    (tmp_path / "sound").write_bytes(encoded(stereo, kind, rate=rate))
    assert len(check_pieces(tmp_path / "sound", max_seconds=5)) >= 2


@pytest.mark.parametrize("seconds", [0.001, 1, 100])
@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_silence_gives_no_piece(seconds, offset):
    assert not list(cut_at_pauses((bursts(seconds, [], noise=0.0) + np.float32(offset), RATE)))
    assert not list(cut_at_pauses((bursts(seconds, [], noise=1e-3), RATE)))


def test_a_hostile_source_gets_the_error_of_open_sound():
    with pytest.raises(MediaError, match="found text"):
        next(cut_at_pauses(b"no sound at all"))


def test_wrong_lengths_are_refused_before_anything_is_read():
    with pytest.raises(ValueError, match=r"max_seconds is 0.5; it must be at least 1"):
        cut_at_pauses(b"", max_seconds=0.5)
    with pytest.raises(ValueError, match=r"pause_s is 0; it must be more than 0 and at most max_seconds"):
        cut_at_pauses(b"", pause_s=0)


# An hour takes no more memory than five minutes. In a process of its own, whose high-water mark is read after each;
# getrusage would count what pytest took before.

MEASURE = """
import sys
from speech.segments import cut_at_pauses
for path in sys.argv[1:]:
    count = sum(1 for piece in cut_at_pauses(path))
    peak_kb = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(count, peak_kb)
"""


def write_minutes(path: Path, minutes: int) -> None:
    """Each minute holds ten seconds of sound, and every fifth is sound for forty."""
    short, long = (bursts(60, [(20, end)], noise=0.0) for end in (30, 60))
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for minute in range(minutes):
            file.write(short if minute % 5 else long)


def test_an_hour_takes_no_more_memory_than_five_minutes(tmp_path):
    paths = [str(tmp_path / f"{minutes}.flac") for minutes in (5, 60)]
    for path, minutes in zip(paths, (5, 60), strict=True):
        write_minutes(Path(path), minutes)
    command = [sys.executable, "-c", MEASURE, *paths]
    found = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]).stdout
    few, after_five_kb, many, after_hour_kb = map(int, found.split())
    assert (few, many) == (5, 60)
    assert after_hour_kb < 1.2 * after_five_kb
    assert after_hour_kb - after_five_kb < 20_000  # the samples of the hour are 230,000 kB
