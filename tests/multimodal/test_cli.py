"""The command line: what it prints, where, and the exit code; on a tiny model in a folder and real files."""

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import transformers.utils.logging
from typer.testing import CliRunner, Result

import multimodal
from multimodal import cli
from multimodal.generation import Sampling

from .tiny_assistant import picture, save, tiny_assistant

ROOT = Path(__file__).parents[2]
QUESTION = "how many are there?"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(save(tiny_assistant(), tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def red(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("pictures") / "a red circle.png"
    picture("red").save(path)
    return str(path)


@pytest.fixture(scope="module")
def blue(red) -> str:
    path = Path(red).with_name("blue.jpg")
    picture("blue", side=90).save(path)
    return str(path)


@pytest.fixture(autouse=True)
def loud_libraries():
    """The command line turns the libraries' voices off for its process; here other tests follow."""
    before = transformers.utils.logging.get_verbosity()
    yield
    transformers.utils.logging.set_verbosity(before)
    transformers.utils.logging.enable_progress_bar()


def run(*args: str, text: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, list(args), input=text)


def assert_refused(result: Result, found: str) -> None:
    assert result.exit_code == 2 and result.stdout == ""
    assert re.fullmatch(rf"error: .*{found}.*\n", result.stderr), result.stderr


# ask


def test_ask_prints_the_answer(model, red, blue):
    assistant = multimodal.load(model)
    result = run("ask", QUESTION, "--model", model)
    assert (result.exit_code, result.stdout, result.stderr) == (0, assistant.ask(QUESTION).text + "\n", "")
    how = dict(image=[red, blue], system="be brief", max_new_tokens=9)
    options = ["--image", red, "--image", blue, "--system", "be brief", "--max-new-tokens", "9"]
    result = run("ask", QUESTION, *options, "--model", model)
    assert (result.exit_code, result.stdout, result.stderr) == (0, assistant.ask(QUESTION, **how).text + "\n", "")


def test_ask_json_is_one_object(model, red):
    result = run("ask", "--image", red, "--json", "--model", model)
    told, answer = json.loads(result.stdout), multimodal.load(model).ask(image=red)
    assert told.pop("model") == model and 0 < told.pop("time_to_first_token_s") <= told.pop("total_s")
    expected = {"text": answer.text, "prompt_tokens": answer.prompt_tokens, "new_tokens": answer.new_tokens}
    assert told == expected and result.stderr == ""


def test_ask_samples_by_its_seed(model):
    def sample(*options: str) -> str:
        return run("ask", QUESTION, "--temperature", "1.5", "--max-new-tokens", "30", *options, "--model", model).stdout

    assert sample("--seed", "1") == sample("--seed", "1")
    assert len({sample("--seed", str(seed)) for seed in range(3)}) > 1
    assert sample("--seed", "1", "--top-p", "0.000001") == run("ask", QUESTION, "--model", model).stdout


@pytest.mark.parametrize("command", ["ask", "chat"])
def test_defaults_are_those_of_the_library(command, monkeypatch, model):
    monkeypatch.setattr(multimodal.assistant, "Sampling", lambda **how: seen.append(Sampling(**how)) or seen[-1])
    seen = []
    assert run(command, *([QUESTION] if command == "ask" else []), "--model", model, text="hello\n").exit_code == 0
    assert seen == [Sampling()]


@pytest.mark.parametrize(
    ("args", "found"),
    [
        ([], "found no question, picture, clip or sound"),
        ([" "], "text that is not blank"),
        ([b"caf\xe9".decode("utf-8", "surrogateescape")], "half a surrogate pair"),
        (["x" * 3000], r"3\d+ tokens; this model reads at most 511"),
        ([QUESTION, "--image", "{folder}/none.png"], "none.png: found no such file; accepted: a PNG"),
        ([QUESTION, "--image", "{folder}"], "found a folder"),
        ([QUESTION, "--image", "{folder}/text.png"], "text.png: found "),
        ([QUESTION, "--image", "{folder}/empty.png"], "empty.png: found nothing"),
        ([QUESTION, "--image", "https://example.org/a.png"], "https://example.org/a.png: found an address"),
        ([QUESTION, "--image", "{folder}/a\nb.png"], r"a\?b.png: found no such file"),
        ([QUESTION, "--system", ""], "system prompt"),
        ([QUESTION, "--max-new-tokens", "0"], "max_new_tokens is 0; accepted: 1 or more"),
        ([QUESTION, "--temperature", "-1"], "temperature is -1.0"),
        ([QUESTION, "--temperature", "nan"], "temperature is nan"),
        ([QUESTION, "--top-p", "7"], "top_p is 7.0"),
        ([QUESTION, "--top-p", "much"], "'--top-p'"),
        ([QUESTION, "--colour", "red"], "--colour"),
        ([QUESTION, "another"], "another"),
        ([QUESTION, "--image"], "--image"),
        ([QUESTION, "--model", "{folder}"], "found no config.json"),
        ([QUESTION, "--model", "{folder}/text.png"], "found no config.json"),
        ([QUESTION, "--model", "{folder}/none/at/all"], "no model could be loaded"),
        ([QUESTION, "--model", "no/such-model"], "no model could be loaded"),
        ([QUESTION, "--model", "{folder}/broken"], "no model could be loaded"),
        ([QUESTION, "--json", "--image", "{folder}/none.png"], "found no such file"),
    ],
)
def test_ask_refuses_in_one_line(model, tmp_path, args, found):
    (tmp_path / "text.png").write_text("I am no picture")
    (tmp_path / "empty.png").touch()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}")
    args = [arg.replace("{folder}", str(tmp_path)) for arg in args]
    assert_refused(run("ask", *([] if "--model" in args else ["--model", model]), *args), found)


# chat


def test_chat_keeps_its_history(model, red, blue):
    lines = [QUESTION, f"/image {red}", f"/image   {blue}", "and left of it?", "", "what is in it?", "/new", QUESTION]
    assistant = multimodal.load(model)
    chat = assistant.chat()
    expected = [chat.ask(QUESTION), chat.ask("and left of it?", image=[red, blue]), chat.ask("what is in it?")]
    expected.append(assistant.ask(QUESTION))
    result = run("chat", "--model", model, text="\n".join(lines))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "".join(f"{answer}\n" for answer in expected)


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        ("/image {folder}/none.png", "none.png: found no such file"),
        ("/image {folder}/text.png", "text.png: found "),
        ("/image", "found no such file"),
        ("/picture a.png", "found /picture; accepted: /image PATH"),
        ("x" * 3000, "this model reads at most 511"),
        ("\x00\udcff", "half a surrogate pair"),
    ],
)
def test_chat_lives_on_after_bad_input(model, red, tmp_path, bad, found):
    (tmp_path / "text.png").write_text("I am no picture")
    lines = [QUESTION, f"/image {red}", bad.replace("{folder}", str(tmp_path)), "and left of it?", "/quit", "not read"]
    text = "\n".join(lines).encode("utf-8", "surrogateescape")
    chat = multimodal.load(model).chat()
    answers = [chat.ask(QUESTION), chat.ask("and left of it?", image=red)]
    result = CliRunner().invoke(cli.app, ["chat", "--model", model], input=text)
    assert result.exit_code == 0
    assert result.stdout == "".join(f"{answer}\n" for answer in answers)
    assert re.fullmatch(rf"error: .*{found}.*\n", result.stderr)


def test_a_home_folder_is_known_in_a_chat(model, red, monkeypatch):
    monkeypatch.setenv("HOME", str(Path(red).parent))
    result = run("chat", "--model", model, text=f"/image ~/{Path(red).name}\n{QUESTION}\n")
    assert result.stderr == "" and result.stdout == f"{multimodal.load(model).ask(QUESTION, image=red)}\n"


# A process of its own: nothing else is printed, and Ctrl-C


def test_a_real_process_prints_nothing_else_and_ends_quietly(model, red):
    command = [sys.executable, "-m", "multimodal", "chat", "--model", model]
    how = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    # tests that run in the background ignore Ctrl-C, and would hand that on to the process
    how |= dict(
        env=os.environ | {"PYTHONUNBUFFERED": "1"}, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    process = subprocess.Popen(command, **how)
    try:
        chat = multimodal.load(model).chat()
        for line, image in ((QUESTION, None), ("and left of it?", red)):
            print(*([f"/image {image}"] if image else []), line, sep="\n", file=process.stdin, flush=True)
            assert process.stdout.readline() == f"{chat.ask(line, image=image)}\n"
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, rest, errors) == (130, "", "")


def test_ctrl_c_while_loading_is_quiet(monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(multimodal.assistant, "load", interrupted)
    result = run("ask", QUESTION)
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "")


def test_a_bug_is_not_hidden(monkeypatch):
    def buggy(*args):
        raise RuntimeError("a bug")

    monkeypatch.setattr(multimodal.assistant, "load", buggy)
    assert isinstance(run("ask", QUESTION).exception, RuntimeError)


# train


@pytest.fixture
def trained(monkeypatch) -> list[tuple]:
    from multimodal.nano import recipe

    calls = []
    monkeypatch.setattr(recipe, "train_nano", lambda *args: calls.append(args))
    return calls


def test_train_passes_its_options_on(trained):
    assert run("train", "nano").exit_code == 0
    options = ["--stage", "core", "--stage", "trunk", "--out", "a/b", "--threads", "2", "--workers", "3"]
    assert run("train", "nano", *options, "--device", "cpu").exit_code == 0
    assert trained == [(Path("runs/nano"), None, "cpu", 0, None), (Path("a/b"), ["core", "trunk"], "cpu", 3, 2)]


@pytest.mark.parametrize(
    ("args", "found"),
    [
        ([], "model"),
        (["llama"], "found llama; accepted: nano"),
        (["nano", "--device", "toaster"], "the device is toaster .*; accepted: cpu, cuda"),
        (["nano", "--device", "cuda:99"], "the device is cuda:99"),
        (["nano", "--threads", "0"], "--threads"),
        (["nano", "--workers", "-1"], "--workers"),
    ],
)
def test_train_refuses_in_one_line(trained, args, found):
    assert_refused(run("train", *args), found)
    assert trained == []


def test_train_refuses_an_unknown_stage(tmp_path):
    assert_refused(run("train", "nano", "--stage", "cores", "--out", str(tmp_path)), "found stage cores; accepted: ")


def test_train_names_the_extra_that_is_missing(monkeypatch, trained):
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name in ("tensorboard", "font_lato") else object())
    assert_refused(run("train", "nano"), r"font_lato, tensorboard; .*pip install 'multimodal-llama\[train\]'")
    assert trained == []


def test_what_training_needs_is_in_its_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    asked = {re.match(r"[\w-]+", one)[0].replace("-", "_") for one in extras["train"]}
    assert set(cli.TRAINING_NEEDS) <= asked
    assert {name for name in asked if name.startswith("font_")} < set(cli.TRAINING_NEEDS)


# All of it


@pytest.mark.parametrize("command", ["ask", "chat", "train", "info"])
def test_help_has_an_example(command):
    result = run(command, "--help")
    assert result.exit_code == 0 and f"Example: multimodal {command}" in result.stdout


def test_no_command_is_help_and_a_wrong_one_is_refused():
    assert run().exit_code == 0 and run().stdout == run("--help").stdout
    assert_refused(run("aks"), "No such command 'aks'.*'ask'")


def test_version():
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"multimodal {multimodal.__version__}\n")
