import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchaudio.transforms import MelSpectrogram

from speech.features import HOP, NUM_MELS, WINDOW, LogMel, LogMelStream

from .hostile import melody

SOUND = torch.from_numpy(melody(2.03))[:32_000]


def whole(samples: torch.Tensor) -> torch.Tensor:
    return LogMel()(samples[None], torch.tensor([len(samples)]))[0][0]


def reference(samples: torch.Tensor, mel_scale: str = "slaney") -> torch.Tensor:
    """The same from one module of torchaudio, over the whole sound with a window of zeros behind it."""
    mel = MelSpectrogram(16_000, 400, 400, 160, n_mels=80, center=False, norm="slaney", mel_scale=mel_scale)
    frames = -(-len(samples) // 160)
    return (mel(F.pad(samples, (0, 400))).clamp(min=1e-10).log10().T[:frames] + 4) / 4


def test_parity_with_torchaudio():
    assert whole(SOUND).shape == (200, NUM_MELS)
    torch.testing.assert_close(whole(SOUND), reference(SOUND))


def test_another_mel_scale_would_be_noticed():
    assert not torch.allclose(whole(SOUND), reference(SOUND, "htk"), atol=0.05)


@pytest.mark.parametrize("size", [1, 37, 159, 160, 161, 240, 399, 400, 401, 1000, 31_999, None])
def test_chunks_give_the_same_frames_as_the_whole(size):
    samples = SOUND[:3333] if size == 1 else SOUND
    rng, stream, parts, position = np.random.default_rng(0), LogMelStream(), [], 0
    while position < len(samples):
        step = size or int(rng.integers(0, 900))
        parts.append(stream.push(samples[position : position + step]))
        position += step
    torch.testing.assert_close(torch.cat([*parts, stream.finish()]), whole(samples), atol=1e-6, rtol=0)


def test_a_frame_comes_as_soon_as_its_window_is_there():
    stream = LogMelStream()
    assert [len(stream.push(SOUND[:n])) for n in (WINDOW - 1, 1, HOP - 1, 1)] == [0, 1, 0, 1]


@pytest.mark.parametrize("length", [0, 1, 159, 160, 161, 399, 400, 401, 5000])
def test_every_10_ms_begun_are_a_frame(length):
    frames = -(-length // 160)
    assert whole(SOUND[:length]).shape == (frames, NUM_MELS)
    stream = LogMelStream()
    parts = [stream.push(SOUND[:length]), stream.finish()]
    torch.testing.assert_close(torch.cat(parts), whole(SOUND[:length]), atol=1e-6, rtol=0)


def test_padding_and_neighbours_change_nothing():
    lengths = torch.tensor([32_000, 12_345, 0, 400])
    rows = [SOUND, SOUND.flip(0), SOUND, SOUND * 0.1]
    features, frames = LogMel()(torch.stack(rows), lengths)
    assert frames.tolist() == [200, 78, 0, 3]
    for row, samples in enumerate(rows):
        alone = whole(samples[: lengths[row]])
        torch.testing.assert_close(features[row, : frames[row]], alone, atol=1e-6, rtol=0)
        assert not features[row, frames[row] :].any()


def test_digital_silence_is_the_floor_and_full_scale_is_near_the_top():
    assert torch.equal(whole(torch.zeros(1600)), torch.full((10, NUM_MELS), -1.5))
    tone = torch.sin(torch.arange(16_000) * 0.4)
    assert 1.2 < whole(tone).max() < 1.7


def test_a_frame_does_not_depend_on_the_rest():
    other = SOUND.clone()
    other[10_000:] = 0.9
    before = (10_000 - WINDOW) // HOP + 1
    assert torch.equal(whole(other)[:before], whole(SOUND)[:before])


def test_there_is_nothing_to_save_or_to_cast():
    module = LogMel().to(torch.bfloat16)
    assert not module.state_dict()
    assert torch.equal(module(SOUND[None], torch.tensor([len(SOUND)]))[0][0], whole(SOUND))


def test_a_gradient_reaches_the_samples_even_after_inference():
    with torch.inference_mode():
        whole(SOUND)
    samples = SOUND.clone().requires_grad_()
    whole(samples).sum().backward()
    assert samples.grad.any()


@pytest.mark.parametrize(
    ("samples", "lengths", "found"),
    [
        (torch.zeros(5), torch.tensor([5]), r"samples \[5\]"),
        (torch.zeros(1, 5, dtype=torch.int16), torch.tensor([5]), "torch.int16"),
        (torch.zeros(2, 5), torch.tensor([5]), r"lengths \[1\]"),
        (torch.zeros(1, 5), torch.tensor([5.0]), "torch.float32"),
        (torch.zeros(1, 5), torch.tensor([6]), r"lengths \[6\]; accepted: 0 to 5"),
        (torch.zeros(1, 5), torch.tensor([-1]), r"lengths \[-1\]"),
    ],
)
def test_wrong_shapes_and_lengths_are_refused(samples, lengths, found):
    with pytest.raises(ValueError, match=f"found .*{found}"):
        LogMel()(samples, lengths)


def test_a_stream_takes_one_row_of_floats():
    for samples in (torch.zeros(1, 5), torch.zeros(5, dtype=torch.int16)):
        with pytest.raises(ValueError, match=r"accepted: \[T\] floats"):
            LogMelStream().push(samples)
    assert LogMelStream().finish().shape == (0, NUM_MELS)
