import pytest
import torch

from multimodal.assistant import NANO
from multimodal.nano.voice.quality import _interval, intelligibility, seams, speaking
from tts.head import load_head


@pytest.fixture(scope="module")
def speak():
    return speaking(load_head(NANO / "voice.json", NANO / "voice.safetensors"))


@pytest.mark.slow
def test_words_are_made_out(speak):
    """Measured on 160 sentences: 2.5% wrong, and 2.9% of espeak-ng's own sound."""
    figures = intelligibility(speak, 40)
    assert figures["word errors"][0] < 0.05
    assert figures["of espeak-ng"][0] < 0.06


@pytest.mark.slow
def test_no_seam_clicks(speak):
    """Flux where pieces meet stays within the range of the rest."""
    figures = seams(speak, 6)
    assert figures["at seams, largest"] <= figures["elsewhere, largest"]
    assert figures["at seams, 99 of 100"] <= figures["elsewhere, 99 of 100"]


def test_intervals_hold_the_figure():
    values = torch.randn(200, generator=torch.Generator().manual_seed(0)) + 3
    mean, low, high = _interval(lambda rows: values[rows].mean(), 200)
    assert low < mean < high and high - low == pytest.approx(2 * 1.96 / 200**0.5, rel=0.25)
