import random
from dataclasses import replace

import pytest
import torch

from multimodal.nano.speech.rooms import NOISES, Room, echoes, record, sample_room, scaled_noise

DRY = Room(0.1, 0.2, None, 1.0, "none", 20.0, None, False, 0.5, 7)
RATE = 16_000


@pytest.fixture(scope="module")
def speech():
    """A second of something that swells and fades."""
    time = torch.arange(RATE) / RATE
    return torch.sin(2 * torch.pi * 300 * time) * torch.sin(2 * torch.pi * 3 * time) * 0.3


def decibels(one, other):
    return float(10 * torch.log10(one.square().mean() / other.square().mean()))


@pytest.mark.parametrize("noise", NOISES[1:])
@pytest.mark.parametrize("snr_db", [0.0, 5.0, 12.5, 30.0])
def test_noise_is_as_loud_as_asked(speech, noise, snr_db):
    """The level is set at the end, so it is undone by what the noise adds to the very same level."""
    room = replace(DRY, noise=noise, snr_db=snr_db, before_s=0.0, after_s=0.0)
    babble = torch.sin(torch.arange(5000) / 7) if noise == "babble" else None
    heard = record(speech, room, babble)
    gain = float(torch.dot(heard, speech) / torch.dot(speech, speech))  # of the speech in it
    assert decibels(gain * speech, heard - gain * speech) == pytest.approx(snr_db, abs=0.5)


def test_the_silence_around_is_not_counted_as_speech(speech):
    room = replace(DRY, noise="white", snr_db=10.0, before_s=2.0, after_s=2.0)
    heard = record(speech, room)
    noise, middle = heard[: 2 * RATE], heard[2 * RATE : 3 * RATE]
    assert decibels(middle, noise) == pytest.approx(10.4, abs=0.5)  # speech and noise over noise


def test_scaled_noise_is_exact():
    one, other = torch.randn(3000), 5 * torch.randn(4000)
    assert decibels(one, scaled_noise(one, other, 7.0)) == pytest.approx(7.0, abs=1e-3)


def test_a_dry_room_adds_silence_and_a_level_and_nothing_else(speech):
    heard = record(speech, DRY)
    assert len(heard) == 1600 + RATE + 3200
    assert heard.abs().max() == pytest.approx(0.5)
    torch.testing.assert_close(heard[1600:-3200], speech * (0.5 / speech.abs().max()))
    assert not heard[:1600].any() and not heard[-3200:].any()


def test_echoes_fall_by_60_db_in_the_time_asked():
    for rt60_s in (0.15, 0.6):
        answer = echoes(rt60_s, 0.5, torch.Generator().manual_seed(1))
        assert float(answer.square().sum()) == pytest.approx(1.0, abs=1e-4)
        assert float(answer[0] ** 2) == pytest.approx(0.5, abs=1e-4)
        tenth = len(answer) // 10  # from the second to the ninth tenth, seven tenths of 60 dB
        assert decibels(answer[tenth : 2 * tenth], answer[8 * tenth : 9 * tenth]) == pytest.approx(42, abs=3)


def test_a_room_sounds_on_after_the_speech(speech):
    heard = record(speech, replace(DRY, rt60_s=0.5, direct_share=0.5))
    assert heard[1600 + RATE + 100 :].abs().max() > 1e-3 and not heard[:1500].abs().max() > 1e-5


def test_a_band_and_a_telephone_take_away_what_lies_outside(speech):
    noisy = replace(DRY, noise="white", snr_db=0.0)

    def share_above(sound, hertz):
        power = torch.fft.rfft(sound).abs().square()
        return float(power[len(power) * hertz // 8000 :].sum() / power.sum())

    assert share_above(record(speech, noisy), 5000) > 0.1
    assert share_above(record(speech, replace(noisy, band_hz=(100.0, 3000.0))), 5000) < 0.01
    assert share_above(record(speech, replace(noisy, telephone=True)), 5000) < 1e-3
    odd = torch.cat([speech, torch.ones(3) * 0.1])
    assert len(record(odd, replace(noisy, telephone=True))) == len(record(odd, noisy))


def test_a_peak_above_one_is_clipped(speech):
    heard = record(speech, replace(DRY, peak=2.0))
    assert heard.abs().max() == 1 and (heard.abs() == 1).float().mean() > 0.05


def test_same_room_same_bits_another_seed_other_noise(speech):
    room = replace(DRY, noise="pink", rt60_s=0.3)
    assert torch.equal(record(speech, room), record(speech, room))
    assert not torch.equal(record(speech, room), record(speech, replace(room, seed=8)))


def test_drawn_rooms_are_finite_and_of_every_kind(speech):
    rng = random.Random(0)
    rooms = [sample_room(rng) for _ in range(150)]
    for room in rooms:
        heard = record(speech, room, speech.flip(0) if room.noise == "babble" else None)
        assert heard.isfinite().all() and heard.dtype == torch.float32 and 0.02 < heard.abs().max() <= 1
    assert {room.noise for room in rooms} == set(NOISES)
    assert {room.telephone for room in rooms} == {room.rt60_s is None for room in rooms} == {True, False}
    assert any(room.peak > 1 for room in rooms) and any(room.band_hz for room in rooms)


def test_babble_goes_with_the_room_that_wants_it(speech):
    with pytest.raises(ValueError, match="babble"):
        record(speech, replace(DRY, noise="babble"))
    with pytest.raises(ValueError, match="'none'"):
        record(speech, DRY, speech)


def test_silence_is_refused():
    with pytest.raises(ValueError, match="100 samples is silent"):
        record(torch.zeros(100), DRY)
