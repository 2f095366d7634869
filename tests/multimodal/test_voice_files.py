"""Sound written to a file, and paths that take none."""

import numpy as np
import pytest
import soundfile

from multimodal.voice import Speech


def test_a_wav_file_holds_the_samples(tmp_path):
    samples = np.sin(np.arange(800) / 9).astype(np.float32)
    Speech(samples, 16_000).save(tmp_path / "a.wav")
    Speech(samples, 16_000).save(tmp_path / "a.wav")  # written over
    read, rate = soundfile.read(tmp_path / "a.wav")
    assert rate == 16_000 and np.abs(read - samples).max() < 1e-4
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", "found a folder"),
        ("a.mp3", "found .mp3; accepted: the path of a WAV file"),
        ("a", "found no ending"),
        ("no/a.wav", "found no folder .*no to write it in"),
    ],
)
def test_a_path_that_takes_no_sound_is_refused(tmp_path, path, found):
    with pytest.raises(ValueError, match=found):
        Speech(np.zeros(9, dtype=np.float32), 16_000).save(tmp_path / path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("samples", [[], [0.0, float("nan")]])
def test_no_sound_and_nan_are_not_written(tmp_path, samples):
    with pytest.raises(ValueError, match="nothing was written"):
        Speech(np.array(samples, dtype=np.float32), 16_000).save(tmp_path / "a.wav")
    assert not list(tmp_path.iterdir())
