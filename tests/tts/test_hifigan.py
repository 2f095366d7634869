import pytest
import torch
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from tts.hifigan import HifiGan
from tts.mel import HOP

SMALL = dict(
    width=32,
    upsample_rates=(4, 4, 4, 4),
    upsample_kernels=(8, 8, 8, 8),
    kernels=(3, 5),
    dilations=((1, 3), (1, 2)),
)


@pytest.fixture(scope="module")
def published():
    torch.manual_seed(0)
    config = SpeechT5HifiGanConfig(
        upsample_initial_channel=32,
        resblock_kernel_sizes=[3, 5],
        resblock_dilation_sizes=[[1, 3], [1, 2]],
        initializer_range=0.2,
    )
    model = SpeechT5HifiGan(config).eval()
    model.mean.normal_()
    model.scale.uniform_(0.5, 2.0)
    return model


@pytest.fixture(scope="module")
def ours(published):
    vocoder = HifiGan(**SMALL).eval()
    vocoder.load_published(published.state_dict())
    return vocoder


@torch.no_grad()
def test_it_is_the_published_one(published, ours):
    mel = torch.randn(2, 40, 80)
    wave = ours(mel)
    assert wave.shape == (2, 40 * HOP) and wave.std() > 0.01
    torch.testing.assert_close(wave, published(mel))


@torch.no_grad()
def test_folded_weight_normalisation_is_the_same(published, ours):
    plain = SpeechT5HifiGan(published.config)
    plain.load_state_dict(published.state_dict())
    plain.apply_weight_norm()
    again = HifiGan(**SMALL).eval()
    stored = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in plain.state_dict().items()
    }
    again.load_published(stored)
    mel = torch.randn(1, 8, 80)
    torch.testing.assert_close(again(mel), ours(mel), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("size", [1, 5, 60])
def test_pieces_are_the_whole(ours, size):
    mel, state = torch.randn(1, 60, 80), HifiGan.start()
    none = torch.zeros(1, 0)
    pieces = [ours.push(state, mel[:, at : at + size], none, none, at + size >= 60) for at in range(0, 60, size)]
    torch.testing.assert_close(torch.cat(pieces, 1), ours(mel), rtol=0, atol=1e-4)


def test_another_shape_is_refused(published):
    other = HifiGan(**{**SMALL, "kernels": (3,), "dilations": ((1, 3),)})
    with pytest.raises(ValueError, match="names differ"):
        other.load_published(published.state_dict())
    with pytest.raises(ValueError, match="makes 64 samples of a frame; accepted are 256"):
        HifiGan(**{**SMALL, "upsample_rates": (4, 4, 4), "upsample_kernels": (8, 8, 8)})
