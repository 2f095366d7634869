"""The command from end to end: a tiny model in a folder, a manifest of our own, real files and processes."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import transformers.utils.logging
from typer.testing import CliRunner, Result

import multimodal
from multimodal import cli
from multimodal.evaluation.assistant_answers import AssistantAnswers, conversation, question_of
from multimodal.evaluation.items import TASKS, Item

from ..test_speech import EARS
from ..tiny_assistant import picture, save, tiny_assistant
from .test_outside import whisper  # noqa: F401

ROOT = Path(__file__).parents[3]
COLOURS = ("red", "blue", "green", "black", "orange", "purple")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save(tiny_assistant(speech_config=EARS), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    """Twelve questions about pictures, and a sound in each of two languages."""
    folder = tmp_path_factory.mktemp("data")
    lines = []
    for at in range(12):
        picture(COLOURS[at % 6], side=40 + at).save(folder / f"{at}.png")
        lines.append({"id": f"p{at:02d}", "image": f"{at}.png", "prompt": "how many?" + " red" * (at % 5), "text": "A"})
    (folder / "pictures.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    rng = np.random.default_rng(0)
    for at in range(4):
        soundfile.write(folder / f"{at}.wav", rng.normal(0, 0.1, 16_000 + 4_000 * at), 16_000)
    rows = ["audio\ttext\tlanguage", *(f"{at}.wav\tA B C\t{('Hindi', 'Thai')[at % 2]}" for at in range(4))]
    (folder / "sounds.tsv").write_text("\n".join(rows) + "\n")
    return folder / "pictures.jsonl"


@pytest.fixture(autouse=True)
def loud_libraries():
    before = transformers.utils.logging.get_verbosity()
    yield
    transformers.utils.logging.set_verbosity(before)
    transformers.utils.logging.enable_progress_bar()


def run(*args) -> Result:
    return CliRunner().invoke(cli.app, ["evaluate", *map(str, args)])


def options(model: Path, manifest: Path, out: Path, **more) -> list[str]:
    told = {"model": model, "data": manifest, "out": out, "batch": 3, "max-new-tokens": 8} | more
    return [str(one) for name, value in told.items() for one in (f"--{name}", value)]


def assert_refused(result: Result, found: str) -> None:
    assert result.exit_code == 2 and result.stdout == ""
    assert re.search(found, result.stderr.splitlines()[-1]) and "Traceback" not in result.stderr, result.stderr


def results(out: Path) -> dict:
    return json.loads((out / "results.json").read_text())


def test_the_list_names_every_task():
    told = run("list").stdout
    assert all(task in told for task in TASKS)


def test_a_run_writes_the_report_and_everything_it_rests_on(tmp_path, model, manifest):
    ran = run("image-qa", *options(model, manifest, tmp_path))
    assert ran.exit_code == 0, ran.stderr
    assert "accuracy, %" in ran.stdout and "English" in ran.stdout
    found = results(tmp_path)
    [section] = found["tasks"]
    assert [one["id"] for one in section["items"]] == [f"p{at:02d}" for at in range(12)]
    assert found["settings"]["seed"] == 0 and set(found["settings"]["weights"]) == {"model.safetensors"}
    assert {"torch", "jiwer", "sacrebleu"} <= set(found["versions"])
    report = (tmp_path / "report.md").read_text()
    assert "plots/image-qa.png" in report and (tmp_path / "plots" / "image-qa.png").stat().st_size > 1000
    assert "first_token_s" in json.loads((tmp_path / "timings.json").read_text())["image-qa"]


def test_answers_are_those_of_ask(tmp_path, model, manifest):
    run("image-qa", *options(model, manifest, tmp_path))
    assistant = multimodal.load(model)
    for one in results(tmp_path)["tasks"][0]["items"]:
        image = manifest.parent / f"{int(one['id'][1:])}.png"
        assert one["hypothesis"] == assistant.ask(one["prompt"], image=image, max_new_tokens=8).text.strip()


def test_transcripts_are_those_of_transcribe(tmp_path, model, manifest):
    ran = run("asr", *options(model, manifest.with_name("sounds.tsv"), tmp_path))
    assert ran.exit_code == 0 and "WER or" in ran.stdout, ran.stderr
    assistant = multimodal.load(model)
    section = results(tmp_path)["tasks"][0]
    assert list(section["languages"]) == ["Hindi", "Thai"] and len(section["items"]) == 4
    for at, one in enumerate(section["items"]):
        answers = AssistantAnswers(assistant, max_new_tokens=8)
        item = Item(one["id"], "asr", one["language"], None, ("A",), audio=manifest.with_name(f"{at}.wav"))
        [alone] = answers.answer([item], [answers.load(item)])
        assert one["hypothesis"] == alone.text
    assert json.loads((tmp_path / "timings.json").read_text())["asr"]["first_token_s"]["p50"] > 0


def test_a_question_about_several_pictures_shows_them_all_in_their_places(tmp_path, monkeypatch):
    paths = [tmp_path / f"{colour}.png" for colour in ("red", "blue")]
    for path in paths:
        picture(path.stem).save(path)
    assistant = tiny_assistant()
    answers, shown = AssistantAnswers(assistant, max_new_tokens=8), []
    generate = assistant.model.generate
    monkeypatch.setattr(assistant.model, "generate", lambda **inputs: shown.append(inputs) or generate(**inputs))

    def said(prompt, images):
        item = Item("x", "image-qa", "English", prompt, ("A",), images=tuple(images))
        [reply] = answers.answer([item], [answers.load(item)])
        return reply.text

    for images in (paths, paths[::-1]):
        asked = assistant.ask("what is left?", image=images, max_new_tokens=8)
        assert said("what is left?", images) == asked.text.strip()
    said("is <image 2> left of <image 1>?", paths)
    text, places = ["is", "left of", "?"], [{"type": "image", "image": paths[1]}, {"type": "image", "image": paths[0]}]
    content = [{"type": "text", "text": text[0]}, places[0], {"type": "text", "text": text[1]}, places[1]]
    conversation = [{"role": "user", "content": [*content, {"type": "text", "text": text[2]}]}]
    inputs = assistant.processor.apply_chat_template(conversation, tokenize=True, add_generation_prompt=True)
    assert inputs["input_ids"].tolist() == shown[-1]["input_ids"].tolist()
    assert torch.equal(inputs["pixel_values"], shown[-1]["pixel_values"])
    assert not torch.equal(shown[0]["pixel_values"], shown[1]["pixel_values"])


def test_two_runs_give_the_same_file_and_a_finished_run_asks_nothing(tmp_path, model, manifest):
    for name in ("a", "b"):
        assert run("image-qa", *options(model, manifest, tmp_path / name)).exit_code == 0
    first, second = ((tmp_path / name / "results.json").read_bytes() for name in ("a", "b"))
    assert first == second
    logs = tmp_path / "a" / "answers" / "image-qa.0.jsonl"
    before = logs.read_bytes()
    report = (tmp_path / "a" / "report.md").read_text()
    assert run("image-qa", *options(model, manifest, tmp_path / "a")).exit_code == 0
    assert logs.read_bytes() == before and (tmp_path / "a" / "report.md").read_text() == report
    compared = run("compare", tmp_path / "a", tmp_path / "b")
    assert compared.exit_code == 0 and "image-qa" in compared.stdout and "1.000" in compared.stdout


def test_a_folder_holds_one_run(tmp_path, model, manifest):
    run("image-qa", *options(model, manifest, tmp_path))
    assert_refused(run("image-qa", *options(model, manifest, tmp_path, seed=1, batch=4)), "other batch_size, seed")


def test_answers_to_other_questions_are_not_gone_on_with(tmp_path, model, manifest):
    mine = manifest.with_name("mine.jsonl")
    mine.write_text(manifest.read_text())
    assert run("image-qa", *options(model, mine, tmp_path)).exit_code == 0
    mine.write_text(manifest.read_text().replace("how many?", "which?"))
    assert_refused(run("image-qa", *options(model, mine, tmp_path)), "holds a run with other items")


def test_contamination_stands_in_the_report(tmp_path, model, manifest):
    texts = manifest.with_name("train.txt")
    texts.write_text("something about nothing at all\n")
    more = {"training-manifest": texts}
    assert run("image-qa", *options(model, manifest, tmp_path, **more)).exit_code == 0
    assert "12 items are too short" in (tmp_path / "report.md").read_text()
    assert results(tmp_path)["tasks"][0]["contamination"]["manifest"] == "train.txt"


def test_what_a_model_cannot_do_is_refused_or_left_out_of_all(tmp_path, manifest):
    deaf = save(tiny_assistant(), tmp_path / "deaf")
    assert_refused(run("asr", *options(deaf, manifest, tmp_path / "a")), "error: asr needs ears, a speech encoder")
    assert_refused(run("tts-intelligibility", *options(deaf, manifest, tmp_path / "a")), "needs a voice")
    ran = run("all", *options(deaf, manifest, tmp_path / "b"))
    assert ran.exit_code == 0 and "left out: asr needs ears" in ran.stdout
    assert "asr needs ears" in (tmp_path / "b" / "report.md").read_text()
    assert results(tmp_path / "b")["settings"]["skipped"]["video-qa"].startswith("video-qa needs a clip encoder")


def test_a_model_from_outside_is_measured_by_the_same_ruler(tmp_path, model, whisper, manifest):  # noqa: F811
    sounds = manifest.with_name("sounds.tsv")
    for name, told in (("ours", model), ("theirs", f"whisper={whisper}")):
        ran = run("asr", *options(told, sounds, tmp_path / name, languages="hi"))
        assert ran.exit_code == 0, ran.stderr
    section = results(tmp_path / "theirs")["tasks"][0]
    assert list(section["languages"]) == ["Hindi"] and section["languages"]["Hindi"]["items"] == 2
    assert "Hindi" in run("compare", tmp_path / "ours", tmp_path / "theirs").stdout
    assert_refused(
        run("image-qa", *options(f"whisper={whisper}", manifest, tmp_path / "x")), "does not do image-qa; it does asr"
    )


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (["asrr"], "found task asrr; accepted: asr, "),
        (["image-qa", "--languages", "hi,klingon"], "unknown language 'klingon'"),
        (["image-qa", "--model", "no-such-folder/at-all"], "no model could be loaded"),
        (["image-qa", "--data", "imagenet"], "found data 'imagenet'"),
        (["image-qa", "--data", "no.jsonl"], "no.jsonl"),
        (["compare", "a"], "found 1 runs to compare"),
        (["compare", "a", "b"], "a: found no results.json"),
        (["all", "list"], "found task list"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, args, found):
    monkeypatch.chdir(tmp_path)
    assert_refused(run(*args), found)
    assert not (tmp_path / "runs" / "evaluation" / "results.json").exists()


def test_the_papers_prompts_are_asked():
    def asked(task, prompt=None, language="Hindi", **extra):
        return Item("x", task, language, prompt, ("a",), audio=Path("a.wav"), extra=extra)

    assert conversation(asked("asr"))[0]["content"] == "Repeat after me in Hindi:"
    assert conversation(asked("code-switch"))[0]["content"] == "Repeat after me in Hindi:"
    into, out_of = (conversation(asked(task))[0]["content"] for task in ("ast-into-english", "ast-from-english"))
    assert into == "Translate the following sentence into English:"
    assert out_of == "Translate the following sentence into Hindi:"
    assert conversation(asked("spoken-qa")) == [{"role": "user", "content": [{"type": "audio"}]}]
    assert question_of(asked("image-qa", "Why?", metric="vqa")).startswith("Answer the question using a single word")
    choice = question_of(asked("image-qa", "Why?", metric="choice", options=["x", "y"]))
    assert choice.endswith("Why?\nA. x\nB. y\nAnswer with the correct option letter and nothing else.")
    assert question_of(asked("image-qa", "Why?")) == "Why?"


# Real processes


def command(*args, processes: int = 1) -> list[str]:
    start = [sys.executable, "-m", "multimodal"]
    if processes > 1:
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        start += ["-m", "multimodal"]
    return [*start, "evaluate", *map(str, args)]


ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.mark.slow
def test_two_processes_give_the_same_results_and_may_end_what_one_began(tmp_path, model, manifest):
    run("image-qa", *options(model, manifest, tmp_path / "one"))
    one = (tmp_path / "one" / "results.json").read_bytes()
    for name in ("two", "begun"):
        out = tmp_path / name
        if name == "begun":
            logs = (tmp_path / "one" / "answers" / "image-qa.0.jsonl").read_bytes()
            (out / "answers").mkdir(parents=True)
            (out / "run.json").write_bytes((tmp_path / "one" / "run.json").read_bytes())
            (out / "answers" / "image-qa.0.jsonl").write_bytes(logs[: logs.index(b"\n") + 9])  # a torn second line
        args = ["image-qa", *options(model, manifest, out)]
        subprocess.run(command(*args, processes=2), cwd=ROOT, env=ENVIRONMENT, check=True, timeout=300)
        assert (out / "results.json").read_bytes() == one
        lines = [len(path.read_bytes().splitlines()) for path in sorted((out / "answers").iterdir())]
        assert lines == [2, 2]


@pytest.mark.slow
def test_a_run_killed_ten_times_ends_with_the_same_results(tmp_path, model, manifest):
    questions = [json.loads(line) for line in manifest.read_text().splitlines()]
    longer = manifest.with_name("longer.jsonl")  # more questions than ten short lives can answer
    rows = [one | {"id": f"{one['id']}-{turn}"} for turn in range(5) for one in questions]
    longer.write_text("\n".join(map(json.dumps, rows)) + "\n")
    run("image-qa", *options(model, longer, tmp_path / "whole", batch=1))
    rng, out, killed = random.Random(0), tmp_path / "killed", 0
    args = command("image-qa", *options(model, longer, out, batch=1))
    log = out / "answers" / "image-qa.0.jsonl"
    while killed < 10:
        process = subprocess.Popen(
            args, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        before = log.stat().st_size if log.exists() else 0
        # killed while it starts, or soon after it has written an answer
        deadline = time.monotonic() + (rng.uniform(0, 6) if rng.random() < 0.3 else 600)
        while time.monotonic() < deadline and process.poll() is None:
            if log.exists() and log.stat().st_size > before:
                time.sleep(rng.uniform(0, 0.01))
                break
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        if (out / "results.json").exists():
            break
    subprocess.run(args, cwd=ROOT, env=ENVIRONMENT, check=True, timeout=300)
    assert killed == 10
    assert (out / "results.json").read_bytes() == (tmp_path / "whole" / "results.json").read_bytes()
    answers = [json.loads(line) for line in log.read_bytes().splitlines()]
    assert sorted(one["batch"] for one in answers) == list(range(60))
