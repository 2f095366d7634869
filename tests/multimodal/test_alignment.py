"""When words are said: letters placed on a path through the frames."""

import pytest
import torch

from multimodal.alignment import letter_frames, word_times
from multimodal.config import SpeechConfig

from .tiny_assistant import tiny_assistant

LETTERS = list("abc ")
EARS = SpeechConfig(
    encoder_keywords=dict(num_mels=80, width=16, layers=1, heads=2, ffn_dim=24, kernel=7),
    adapter_keywords=dict(width=16, num_heads=2, ffn_dim=24),
    letters=LETTERS,
)


def certain(path: str) -> torch.Tensor:
    """Logits [T, 5] of an encoder that is sure of a letter a frame; `-` is the blank."""
    return torch.nn.functional.one_hot(torch.tensor(["-abc ".index(one) for one in path]), 5).float() * 20


@pytest.mark.parametrize(
    ("path", "text", "frames"),
    [
        ("--aa-b--c", "abc", [2, 5, 8]),
        ("a-a--a", "aaa", [0, 2, 5]),
        ("ab", "ab", [0, 1]),
        ("aaa", "a", [0]),
        ("ab", "aab", []),  # more letters than frames
        ("aaa", "aaaa", []),
        ("abc", "", []),
    ],
)
def test_letters_are_where_they_were_named(path, text, frames):
    assert letter_frames(certain(path), ["-abc ".index(one) for one in text]) == frames


def test_words_have_the_times_of_their_letters(monkeypatch):
    model = tiny_assistant(speech_config=EARS).model
    path = "-a--bb-ca----cc-b--a"  # 20 frames of 40 ms
    monkeypatch.setattr(model.speech_letters, "forward", lambda x: certain(path))
    words = word_times(model, torch.randn(20 * 640) * 0.1, "Ab, ca! ?? cba", offset_s=10.0)
    assert [(word.text, word.start_s, word.end_s) for word in words] == [
        ("Ab,", 10.04, 10.2),
        ("ca!", 10.28, 10.36),
        ("cba", 10.52, 10.8),
    ]


def test_an_encoder_that_names_no_letters_is_refused():
    without = SpeechConfig(encoder_keywords=EARS.encoder_keywords, adapter_keywords=EARS.adapter_keywords)
    with pytest.raises(ValueError, match=r"names no letters; accepted: one with speech_config\.letters"):
        word_times(tiny_assistant(speech_config=without).model, torch.zeros(1000), "a")
