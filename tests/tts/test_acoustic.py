import pytest
import torch

from tts.acoustic import FRAME_S, Acoustic, AcousticState, Phones

PHONES = 14


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Acoustic(50, 2, 3, width=32, phone_blocks=2, frame_blocks=2).eval()


@pytest.fixture
def phones():
    torch.manual_seed(1)
    shape = (1, PHONES)
    return Phones(
        torch.randint(0, 50, shape), torch.randn(shape) * 0.4 - 2.5, torch.randn(shape) * 0.1, torch.randn(shape)
    )


WHO = torch.tensor([1]), torch.tensor([2])


@torch.no_grad()
@pytest.mark.parametrize("size", [1, 3, PHONES])
def test_pieces_are_the_whole(model, phones, size):
    whole = model.push(AcousticState(), phones, *WHO, last=True)
    state, pieces = AcousticState(), []
    for at in range(0, PHONES, size):
        pieces.append(model.push(state, phones.of(slice(at, at + size)), *WHO, last=at + size >= PHONES))
    for name in ("mel", "log_f0", "voiced"):
        joined = torch.cat([getattr(piece, name) for piece in pieces], 1)
        torch.testing.assert_close(joined, getattr(whole, name), rtol=0, atol=1e-4)


@torch.no_grad()
def test_training_and_speaking_are_the_same(model, phones):
    durations = phones.log_duration.double().exp()
    ends = durations.cumsum(1)
    frames = round(ends[0, -1].item() / FRAME_S)
    times = (torch.arange(frames) + 0.5) * FRAME_S
    owners = torch.searchsorted(ends[0], times.double(), right=True).clamp(max=PHONES - 1)[None]
    trained = model(phones, (ends - durations).float(), owners, *WHO)
    spoken = model.push(AcousticState(), phones, *WHO, last=True)
    assert abs(spoken.mel.shape[1] - frames) <= 1
    count = min(frames, spoken.mel.shape[1])
    torch.testing.assert_close(spoken.mel[:, :count], trained.mel[:, :count], rtol=0, atol=1e-4)


@torch.no_grad()
def test_a_phone_is_as_long_as_it_is_told_to_be(model, phones):
    frames = model.push(AcousticState(), phones, *WHO, last=True).mel.shape[1]
    assert abs(frames * FRAME_S - phones.log_duration.exp().sum().item()) <= FRAME_S
    slower = Phones(phones.ids, phones.log_duration + 0.7, phones.log_f0, phones.power)
    assert model.push(AcousticState(), slower, *WHO, last=True).mel.shape[1] == pytest.approx(2.01 * frames, rel=0.03)


@torch.no_grad()
def test_only_the_next_phone_is_waited_for(model, phones):
    known = model.push(AcousticState(), phones.of(slice(6)), *WHO, last=False).mel
    changed = Phones(*(value.clone() for value in vars(phones).values()))
    changed.ids[:, 6:] = 0
    whole = model.push(AcousticState(), changed, *WHO, last=True).mel
    torch.testing.assert_close(whole[:, : known.shape[1]], known, rtol=0, atol=1e-4)
    assert known.shape[1] > 0
