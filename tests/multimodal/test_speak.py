"""The command line with a voice: what `speak` and `ask --speak` write and print, and what they refuse."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import transformers.utils.logging
from typer.testing import CliRunner, Result

import multimodal
from multimodal import cli

from .tiny_assistant import save, tiny_assistant
from .tiny_voices import vits_folder

QUESTION = "how many are there?"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(save(tiny_assistant(), tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def voice(tmp_path_factory) -> str:
    return str(vits_folder(tmp_path_factory.mktemp("voice")))


@pytest.fixture(autouse=True)
def loud_libraries():
    """The command line turns the libraries' voices off for its process; here other tests follow."""
    before = transformers.utils.logging.get_verbosity()
    yield
    transformers.utils.logging.set_verbosity(before)
    transformers.utils.logging.enable_progress_bar()


def run(*args: str) -> Result:
    return CliRunner().invoke(cli.app, list(args))


def samples_of(file: Path) -> np.ndarray:
    samples, rate = soundfile.read(file)
    assert rate == 16_000
    return samples


def test_speak_writes_what_the_voice_says(model, voice, tmp_path):
    out = tmp_path / "a b.wav"
    result = run("speak", "hello there", "--model", model, "--voice", voice, "--out", str(out))
    expected = multimodal.load(model, voice=voice).speak("hello there")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{out}: {expected.duration_s:.2f} s at 16000 Hz\n"
    np.testing.assert_allclose(samples_of(out), expected.samples, atol=1e-4)


def test_speak_json_is_one_object(model, voice, tmp_path):
    out = str(tmp_path / "a.wav")
    result = run("speak", "hello", "--rate", "2", "--model", model, "--voice", voice, "--out", out, "--json")
    told = json.loads(result.stdout)
    assert told.pop("time_to_first_audio_s") > 0 and told.pop("duration_s") == len(samples_of(out)) / 16_000
    assert told == {"model": model, "text": "hello", "speech": out, "sample_rate": 16_000}


def test_ask_prints_the_same_answer_and_says_it(model, voice, tmp_path):
    out = tmp_path / "a.wav"
    silent = run("ask", QUESTION, "--model", model)
    aloud = run("ask", QUESTION, "--model", model, "--voice", voice, "--speak", str(out))
    assert (aloud.exit_code, aloud.stdout, aloud.stderr) == (0, silent.stdout, "")
    answer = multimodal.load(model, voice=voice).ask(QUESTION, speak=True)
    np.testing.assert_allclose(samples_of(out), answer.speech.samples, atol=1e-4)


def test_ask_json_tells_of_the_speech(model, voice, tmp_path):
    out = str(tmp_path / "a.wav")
    options = ["--model", model, "--voice", voice, "--speak", out, "--json"]
    silent, told = (json.loads(run("ask", QUESTION, *of).stdout) for of in (["--model", model, "--json"], options))
    assert told["speech"] == out and 0 < told["time_to_first_audio_s"] <= told["total_s"] and told["duration_s"] > 0
    assert told.keys() - silent.keys() == {"speech", "sample_rate", "duration_s", "time_to_first_audio_s"}
    assert all(told[name] == silent[name] for name in ("model", "text", "prompt_tokens", "new_tokens"))


@pytest.mark.skipif(os.path.exists("/dev/snd"), reason="this machine has a sound device")
def test_a_machine_without_a_sound_device_says_so(model, voice):
    result = run("speak", "hello", "--play", "--model", model, "--voice", voice)
    assert result.exit_code == 2
    assert re.fullmatch(r"error: (playing needs|found no sound device).*\n", result.stderr), result.stderr


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (["hello"], "found neither --out nor --play"),
        (["", "--out", "{folder}/a.wav"], "the text to say is ''; accepted: text that is not blank"),
        (["👍", "--out", "{folder}/a.wav"], "found nothing that this voice can say"),
        (["hello", "--out", "{folder}"], "found a folder; accepted: the path of a WAV file"),
        (["hello", "--out", "{folder}/a.ogg"], "found .ogg"),
        (["hello", "--out", "{folder}/no/a.wav"], "found no folder"),
        (["hello", "--out", "{folder}/a.wav", "--language", "Klingon"], "unknown language 'Klingon'"),
        (["hello", "--out", "{folder}/a.wav", "--rate", "nan"], "rate is nan; accepted: 0.5 to 2.0"),
        (["hello", "--out", "{folder}/a.wav", "--pitch", "9"], "pitch is 9.0; accepted"),
        (["hello", "--out", "{folder}/a.wav", "--pitch", "high"], "'--pitch'"),
        (["hello", "--out", "{folder}/a.wav", "--speaker", "nobody"], "found speaker 'nobody'"),
        (["hello", "--out", "{folder}/a.wav", "--voice", "{folder}"], "found no voice there; accepted"),
        (["hello", "--out", "{folder}/a.wav", "--voice", "no/such-voice"], "no/such-voice: found neither"),
    ],
)
def test_speak_refuses_in_one_line(model, voice, tmp_path, args, found):
    args = [arg.replace("{folder}", str(tmp_path)) for arg in args]
    result = run("speak", *args, "--model", model, *([] if "--voice" in args else ["--voice", voice]))
    assert result.exit_code == 2 and result.stdout == "" and not list(tmp_path.iterdir())
    assert re.fullmatch(rf"error: .*{found}.*\n", result.stderr), result.stderr


@pytest.mark.parametrize("option", [["--speak", "{folder}"], ["--speak", "{folder}/a.wav", "--rate", "9"]])
def test_ask_refuses_before_it_answers(model, voice, tmp_path, option):
    option = [arg.replace("{folder}", str(tmp_path)) for arg in option]
    result = run("ask", QUESTION, "--model", model, "--voice", voice, *option)
    assert result.exit_code == 2 and result.stdout == "" and not list(tmp_path.iterdir())


def test_a_model_without_a_voice_says_what_is_accepted(model, tmp_path):
    result = run("ask", QUESTION, "--model", model, "--speak", str(tmp_path / "a.wav"))
    assert result.exit_code == 2 and result.stdout == ""
    assert re.fullmatch(r"error: this model has no voice: give it one with .*--voice; accepted: .*\n", result.stderr)
