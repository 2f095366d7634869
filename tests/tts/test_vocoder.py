import math

import pytest
import torch

from tts.mel import HOP, SAMPLE_RATE_HZ, SILENCE
from tts.vocoder import _LEAD, Vocoder, VocoderState, _minimum_phase, _pulses, spectral_loss

FRAMES = 40


@pytest.fixture(scope="module")
def vocoder():
    torch.manual_seed(0)
    made = Vocoder(width=32, blocks=2).eval()
    with torch.no_grad():
        made.filters.weight.mul_(0.3)
    return made


@pytest.fixture
def frames():
    torch.manual_seed(1)
    return torch.randn(2, FRAMES, 80) - 2.5, 4.8 + 0.3 * torch.rand(2, FRAMES), torch.rand(2, FRAMES)


@torch.no_grad()
@pytest.mark.parametrize("size", [1, 2, 3, 8, FRAMES])
def test_pieces_are_the_whole(vocoder, frames, size):
    whole = vocoder(*frames)
    assert whole.shape == (2, FRAMES * HOP) and whole.std() > 0.01
    state = VocoderState()
    pieces = [
        vocoder.push(state, *(one[:, at : at + size] for one in frames), last=at + size >= FRAMES)
        for at in range(0, FRAMES, size)
    ]
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("size", [1, 3, FRAMES])
def test_a_text_begins_as_if_silence_were_before_it(vocoder, frames, size):
    quiet = torch.full((2, _LEAD, 80), SILENCE), frames[1][:, :1].expand(-1, _LEAD), torch.zeros(2, _LEAD)
    after_silence = vocoder(*(torch.cat(pair, 1) for pair in zip(quiet, frames, strict=True)))[:, _LEAD * HOP :]
    state = Vocoder.start()
    pieces = [vocoder.push(state, *(one[:, :0] for one in frames), last=False)]  # nothing is ready yet
    pieces += [
        vocoder.push(state, *(one[:, at : at + size] for one in frames), last=at + size >= FRAMES)
        for at in range(0, FRAMES, size)
    ]
    torch.testing.assert_close(torch.cat(pieces, 1), after_silence, rtol=0, atol=1e-4)
    assert (after_silence - vocoder(*frames))[:, :HOP].abs().max() > 1e-2


@torch.no_grad()
def test_sound_lags_forty_milliseconds_at_most(vocoder, frames):
    ready = vocoder.push(VocoderState(), *frames, last=False).shape[1]
    assert (FRAMES * HOP - ready) / SAMPLE_RATE_HZ <= 0.04


@torch.no_grad()
def test_a_row_is_as_alone(vocoder, frames):
    alone = vocoder(*(one[1:] for one in frames))
    torch.testing.assert_close(vocoder(*frames)[1:], alone, rtol=0, atol=1e-4)


def test_pulses_have_the_pitch_and_no_sound_above_half_the_rate():
    hz = torch.full((1, SAMPLE_RATE_HZ), 123.4)
    sound = _pulses(((hz.double() / SAMPLE_RATE_HZ).cumsum(1) % 1).float(), hz)
    assert sound.square().mean().item() == pytest.approx(1, abs=0.05)
    spectrum = torch.fft.rfft(sound[0] * torch.hann_window(SAMPLE_RATE_HZ)).abs()  # bins of 1 Hz
    harmonics = [spectrum[round(123.4 * k) - 1 : round(123.4 * k) + 2].max() for k in range(1, 64)]
    between = [spectrum[round(123.4 * (k + 0.5))] for k in range(1, 63)]
    assert min(harmonics) > 100 * max(between)


def test_filters_ring_after_a_pulse_and_not_before():
    torch.manual_seed(0)
    response = torch.fft.irfft(_minimum_phase(torch.randn(5, 128) * 0.3), 1024)
    early, late = response[:, :512].square().sum(1), response[:, 512:].square().sum(1)
    assert torch.all(late < 1e-3 * early)
    level = _minimum_phase(torch.tensor([[math.log(0.5)] + [0.0] * 127]))
    torch.testing.assert_close(level.abs(), torch.full((1, 513), 0.5))


def test_the_loss_knows_a_sound_from_itself_at_another_level():
    torch.manual_seed(0)
    wave = torch.randn(1, 8000)
    assert spectral_loss(wave, wave) == 0 and spectral_loss(0.5 * wave, wave) > 0.5
