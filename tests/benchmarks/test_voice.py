"""The benchmark of the voice runs and prints its rows; how fast the voice is, is a matter for a quiet machine."""

from benchmarks import voice
from multimodal import Assistant
from multimodal.voice_head import HeadVoice
from tests.multimodal.tiny_assistant import tiny_assistant
from tests.multimodal.tiny_voices import HummingHead, tiny_vits


def humming() -> Assistant:
    assistant = tiny_assistant()
    head = HummingHead(hidden_dim=48)
    return Assistant(assistant.model, assistant.processor, HeadVoice(head, assistant.model, assistant.processor))


def test_both_say_the_same_sentence(capsys):
    voice.compare(humming(), voice.vits(tiny_vits(30)), rounds=1)
    printed = capsys.readouterr().out
    assert "a sentence of 20 words" in printed
    assert "seconds to the first sound" in printed and "at most 0.2" in printed
    assert "seconds for a second of sound" in printed and "at most 1:" in printed


def test_ours_alone(capsys):
    assistant = humming()
    voice.measure_alone(assistant, rounds=1)
    printed = capsys.readouterr().out
    assert all(f"at most {most}:" in printed for most in ("60", "120", "4", "0.1"))
    heard = voice.say(assistant, "It is Monday.")
    assert 0 < heard.first_s < heard.total_s and heard.words == 1 and heard.sound_s > 0
