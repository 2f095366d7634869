"""Every benchmark runs and prints both figures and their ratio; what they measure is a matter for a quiet machine."""

import re
import subprocess
import sys
from itertools import pairwise

import pytest
import torch

from benchmarks import (
    cold_start,
    evaluation_processes,
    picture_preparation,
    picture_question,
    speech_memory,
    speech_rtf,
    text_only,
)
from benchmarks.hearing import load_hearing
from benchmarks.measure import in_turns, peak_memory, ratio, row
from multimodal.config import SpeechConfig
from tests.multimodal.tiny_assistant import save, tiny_assistant

TINY = picture_question.Shapes(
    text_width=32,
    text_layers=2,
    text_heads=4,
    ffn_width=32,
    vocab_size=96,
    image_layers=(1,),
    tile_px=28,
    vision_width=16,
    vision_layers=3,
    vision_heads=2,
    global_layers=1,
    taps=(1, 2),
    prompt_tokens=6,
    new_tokens=3,
)


def printed(capsys: pytest.CaptureFixture) -> dict[str, list[float]]:
    """The rows printed so far: name -> ours, theirs, ratio."""
    row = re.compile(r"^(\S.*?) +([\d.]+) +([\d.]+) {3}([\d.]+)", re.M)
    return {name: [float(value) for value in values] for name, *values in row.findall(capsys.readouterr().out)}


# What they share


def test_sides_take_turns_and_the_order_turns_too():
    calls = []
    seconds = in_turns([lambda: calls.append("a"), lambda: calls.append("b")], rounds=4, warmup=1)
    assert [len(of_side) for of_side in seconds] == [4, 4]
    pairs = ["".join(calls[i : i + 2]) for i in range(0, len(calls), 2)]
    assert sorted(pairs[1:]) == ["ab", "ab", "ba", "ba"]
    assert all(pair != following for pair, following in pairwise(pairs))


def test_a_ratio_is_that_of_the_medians_and_lies_in_its_interval():
    of = ratio([2.0, 2.2, 1.8, 90.0, 2.0], [1.0, 1.0, 1.1, 1.0, 0.9])
    assert of.value == 2.0
    assert 1.6 < of.low <= 2.0 <= of.high


@pytest.mark.parametrize("bound, met", [({}, True), ({"most": 0.7}, True), ({"least": 0.99}, False)])
def test_a_row_tells_whether_its_requirement_is_met(capsys, bound, met):
    assert row("a name", "1.0", "2.0", 0.5, **bound) is met
    assert ("MISSED" in capsys.readouterr().out) is not met


# Each of them


def test_text_only(capsys):
    tiny = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    text_only.compare(2, tiny | dict(num_key_value_heads=1, vocab_size=64))
    assert set(printed(capsys)) == set(text_only.KINDS)


def test_the_plain_core_has_the_same_weights_in_the_same_place():
    tiny = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    ours, plain = text_only.models(tiny | dict(num_key_value_heads=1, vocab_size=64))
    theirs = dict(plain.named_parameters())
    assert all(value.data_ptr() == theirs[name].data_ptr() for name, value in ours.core.named_parameters())


def test_picture_question(capsys):
    picture_question.compare_time(TINY, 2)
    assert set(printed(capsys)) == {"generate", "our own loop"}
    picture_question.compare_picture_bytes(TINY)
    rows = printed(capsys)
    places, of_one = (28 // 14) ** 2 + 1, 2 * TINY.text_kv_heads * (32 // 4) * 4 / 2**10
    assert rows["4 of 4 tiles"][:2] == [round(4 * places * of_one)] * 2
    assert rows["1 of 4 tiles"][2] == pytest.approx(0.25)


def test_both_sides_have_the_same_shapes():
    """In all that multiplies: linear layers, and the one matrix in which torch's attention holds three of them."""
    sizes = []
    for side in picture_question.SIDES.values():
        model, _ = side(TINY)
        linear = sum(module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Linear))
        sizes.append(linear + sum(p.numel() for name, p in model.named_parameters() if name.endswith("in_proj_weight")))
    assert sizes[0] == sizes[1]


@pytest.mark.slow
def test_peak_memory_of_a_question(capsys):
    assert peak_memory(bytearray, 2**28).peak > 2**28
    picture_question.compare_memory(TINY)
    assert set(printed(capsys)) == {"whole process", "above its imports"}


def test_picture_preparation(capsys):
    picture_preparation.compare([96], 2)
    assert set(printed(capsys)) == {*picture_preparation.KINDS, "JPEG photographs, PNG drawings"}


def test_cold_start(capsys):
    idle = (sys.executable, "-S", "-c", "pass")
    cold_start.compare(idle, idle, 2)
    assert set(printed(capsys)) == {"process"}
    with pytest.raises(subprocess.CalledProcessError):
        cold_start.run((sys.executable, "-S", "-c", "raise SystemExit(2)"))


EARS = SpeechConfig(
    encoder_keywords=dict(num_mels=80, width=16, layers=1, heads=2, ffn_dim=24, kernel=7),
    adapter_keywords=dict(width=16, num_heads=2, ffn_dim=24),
)


def test_speech_rtf(capsys, monkeypatch):
    monkeypatch.setattr(speech_rtf, "BATCH", 2)
    monkeypatch.setattr(speech_rtf, "LONG", 2)
    assistant = tiny_assistant(speech_config=EARS)
    speech_rtf.compare(assistant, 1, 2)
    assert {"phrases", "nearly 30 s"} <= set(printed(capsys))
    sounds = speech_rtf.some_sounds(assistant, 3)
    assert len(sounds.sounds) == 3 and sounds.seconds == sum(len(one) / rate for one, rate in sounds.sounds)
    texts = speech_rtf.ours(assistant, sounds)
    assert [len(text) for text in texts] == [sounds.tokens] * 3  # a letter a token, none ends early
    assert speech_rtf.write_by_whisper(speech_rtf.whisper(assistant), sounds) == sounds.tokens


def test_both_sides_of_speech_rtf_have_as_many_parameters():
    assistant = load_hearing("nano")
    theirs, model = speech_rtf.whisper(assistant).model, assistant.model
    for ours, whispers in (((model.speech, model.speech_adapter), theirs.encoder), ((model.core,), theirs.decoder)):
        assert speech_rtf.count(whispers) == pytest.approx(speech_rtf.count(*ours), rel=0.01)


@pytest.mark.slow
def test_speech_memory(capsys, tmp_path):
    model = str(save(tiny_assistant(speech_config=EARS), tmp_path / "model"))
    speech_memory.compare(model, 10, 30)
    assert set(printed(capsys)) == {"whole process", "above its imports"}


@pytest.mark.slow
def test_evaluation_processes(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # where the command keeps the sounds that it makes
    model = save(tiny_assistant(speech_config=EARS), tmp_path / "model")
    manifest = evaluation_processes.write_pictures(tmp_path, 16, 100)
    evaluation_processes.compare("pictures", ("image-qa", "--data", str(manifest), "--batch", "4"), model, 1)
    evaluation_processes.compare("transcripts", ("asr", "--limit", "1", "--batch", "8"), model, 1)
    assert set(printed(capsys)) == {"pictures, a second", "transcripts, a second", "seconds of the whole command"}
