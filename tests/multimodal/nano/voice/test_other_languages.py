"""Nano's voice in other languages, by its own ears."""

import multimodal
from multimodal.nano.speech.held_out import held_out_phrases
from multimodal.nano.voice.other_languages import measure


def test_nano_understands_itself_and_espeak():
    languages = ("es", "fi", "sw")
    phrases = [one for one in held_out_phrases(3) if one.language in languages]
    figures = measure(multimodal.load("nano", device="cpu"), phrases)
    for voice in ("nano", "espeak-ng"):
        assert set(figures[voice]["languages"]) == {"Spanish", "Finnish", "Swahili"}
        assert figures[voice]["cer"] < 0.5  # of noise, or of another language, nearly all would be wrong
    assert figures["ratio"] == figures["nano"]["cer"] / figures["espeak-ng"]["cer"]
