"""Clips from files and from memory, through processor, assistant and command line."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoProcessor
from typer.testing import CliRunner

import multimodal
from adapters.media import MediaError
from multimodal import cli
from multimodal.assistant import Assistant
from multimodal.processor import processor_of
from video.reader import read_clip
from vision.tiles import arrangements, prepare

from .clip_files import write_avi
from .test_speech import EARS, RATE, tone
from .test_video import VIDEO
from .tiny_assistant import picture, save, tiny_assistant

QUESTION, HOW = "how many are there?", dict(max_new_tokens=8)


@pytest.fixture(scope="module")
def assistant() -> Assistant:
    return tiny_assistant(speech_config=EARS, **VIDEO)


def frames(number: int = 10, height: int = 40, width: int = 60, colour: int = 0) -> np.ndarray:
    """A bright square that moves to the right on a dark ground, uint8 [F, H, W, 3]."""
    clip = np.full((number, height, width, 3), 30, np.uint8)
    for at, frame in enumerate(clip):
        left = at * (width - 12) // number
        frame[10:22, left : left + 12, colour] = 250
    return clip


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """Two seconds of five frames each, with a sound track."""
    sound = (20_000 * tone(2.0)[0]).astype(np.int16)
    return write_avi(tmp_path_factory.mktemp("clips") / "a square.avi", frames(), 5, (sound, RATE))


@pytest.fixture(scope="module")
def silent(file) -> Path:
    return write_avi(file.with_name("silent.avi"), frames(6, colour=1), 5)


def by_generate(assistant: Assistant, *messages: dict) -> str:
    inputs = assistant.processor.apply_chat_template(list(messages), tokenize=True, add_generation_prompt=True)
    tokens = assistant.model.generate(**inputs, do_sample=False, **HOW)[0, inputs["input_ids"].shape[1] :]
    return assistant.processor.tokenizer.decode(tokens, skip_special_tokens=True)


def user(question: str, **media) -> dict:
    parts = [{"type": kind, kind: one} for kind, one in media.items()]
    return {"role": "user", "content": [*parts, {"type": "text", "text": question}]}


# The processor


def test_frames_in_memory_come_in_any_form(assistant):
    array = frames()
    tensor = torch.from_numpy(array).permute(0, 3, 1, 2)
    expected = assistant.processor.clips([(array, 2.0)])
    assert expected["frames_per_clip"].tolist() == [8]  # of ten, evenly spread
    assert expected["frame_times_s"].tolist() == [at / 2 for at in (0, 1, 3, 4, 5, 6, 8, 9)]
    for form in ((tensor, 2.0), (tensor.float() / 255, 2), (tensor.contiguous(), 2), (array / 255, 2.0)):
        found = assistant.processor.clips([form])
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    alone = assistant.processor.clips([array])
    assert torch.equal(alone["frame_times_s"], 2 * expected["frame_times_s"])  # a second apart


def test_a_frame_is_cut_as_a_picture_is(assistant):
    clip = frames(3, 90, 40)
    found = assistant.processor.clips([clip])
    tiles = [prepare(frame, assistant.processor.tile_px, assistant.processor.max_tiles) for frame in clip]
    assert found["clip_aspect_ids"].tolist() == [tiles[0].aspect_id] and len(found["frame_values"]) == 3 * len(
        tiles[0].pixels
    )
    torch.testing.assert_close(found["frame_values"], torch.cat([one.pixels for one in tiles]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("most", "tiles"), [(1, 1), (2, 2), (None, 4)])
def test_a_frame_may_have_fewer_tiles_than_a_picture(assistant, tmp_path, most, tiles):
    config = copy.deepcopy(assistant.model.config)
    config.video_config.max_tiles = most
    processor_of(config, assistant.processor.tokenizer).save_pretrained(tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    shown = processor.clips([frames(3, 90, 40 if tiles == 2 else 90)])
    assert len(shown["frame_values"]) == 3 * tiles
    # aspects are numbered by all the arrangements that a picture may have, as the encoder numbers them
    [aspect] = shown["clip_aspect_ids"].tolist()
    assert math.prod(arrangements(config.vision_config.max_tiles)[aspect - 1]) == tiles


def test_a_file_is_the_clip_that_was_read(assistant, file):
    clip = read_clip(file, max_frames=8)
    expected = assistant.processor.clips([clip])
    for form in (file, str(file), file.read_bytes()):
        found = assistant.processor.clips([form])
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    part = assistant.processor.clips([file], start_s=0.8, end_s=1.6)
    assert len(part["frame_times_s"]) < 8
    assert part["frame_times_s"].min() >= 0.8 and part["frame_times_s"].max() <= 1.6


def test_clips_of_a_batch_answer_as_each_alone(assistant, file, silent):
    asked = [user(QUESTION, video=file), user("only text?"), user(QUESTION, image=picture("red"), video=silent)]
    how = dict(tokenize=True, add_generation_prompt=True)
    inputs = assistant.processor.apply_chat_template([[one] for one in asked], **how)
    tokens = assistant.model.generate(**inputs, do_sample=False, **HOW)[:, inputs["input_ids"].shape[1] :]
    answers = assistant.processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    assert answers == [by_generate(assistant, one) for one in asked]
    assert assistant.processor.video_token_id == assistant.model.config.video_token_id


@pytest.mark.parametrize(
    ("clip", "found"),
    [
        (np.zeros((4, 5, 6)), r"frames: found shape \[4, 5, 6\]; accepted: frames \[F, 3, H, W\]"),
        (np.zeros((0, 3, 8, 8)), r"found shape \[0, 3, 8, 8\]"),
        (np.zeros((2, 8, 8, 4), np.uint8), "found shape"),
        (np.full((2, 3, 8, 8), np.nan), "found float values from nan to nan"),
        (np.full((2, 3, 8, 8), 7.0), "found float values from 7.0 to 7.0"),
        (np.zeros((2, 3, 8, 8), np.int64), "found values of type torch.int64"),
        ((np.zeros((2, 3, 8, 8), np.uint8), 0), "found a rate of 0"),
        ("none.mp4", "none.mp4: found no such file"),
    ],
)
def test_what_is_no_clip_is_named(assistant, clip, found):
    with pytest.raises(MediaError, match=found):
        assistant.processor("<|video|>", videos=clip)


def test_clips_and_tokens_must_pair_and_the_model_must_have_them(assistant, file):
    with pytest.raises(ValueError, match=r"found 1 clips for 0 <\|video\|> tokens"):
        assistant.processor("no token", videos=file)
    with pytest.raises(ValueError, match=r"this model has no video encoder; accepted: text and pictures$"):
        tiny_assistant().ask(QUESTION, video=file)
    with pytest.raises(ValueError, match=r"this model has no speech encoder; accepted: text, pictures and clips$"):
        tiny_assistant(**VIDEO).ask(audio=(np.zeros(8000, np.float32), 16_000))


# Asking


def test_an_answer_is_what_generate_gives(assistant, file):
    answer = assistant.ask(QUESTION, video=file, **HOW)
    assert answer.text == by_generate(assistant, user(QUESTION, video=file))
    assert "".join(event.text for event in assistant.stream(QUESTION, video=file, **HOW)) == answer.text
    part = assistant.ask(QUESTION, video=file, start_s=0.5, end_s=1.5, **HOW)
    assert part.text == by_generate(
        assistant, user(QUESTION, video=read_clip(file, max_frames=8, start_s=0.5, end_s=1.5))
    )


def test_pictures_clips_sound_and_text_in_one_question(assistant, file, silent):
    answer = assistant.ask(QUESTION, image=picture("red"), video=[file, silent], audio=tone(0.5), **HOW)
    parts = [("image", picture("red")), ("video", file), ("video", silent), ("audio", tone(0.5))]
    content = [{"type": kind, kind: one} for kind, one in parts] + [{"type": "text", "text": QUESTION}]
    assert answer.text == by_generate(assistant, {"role": "user", "content": content})


def test_a_clip_s_own_sound_is_heard_behind_it(assistant, file, silent):
    track = (tone(2.0)[0] * 20_000).astype(np.int16)
    heard = user(QUESTION, video=file, audio=(track, RATE))
    assert assistant.ask(QUESTION, video=file, sound=True, **HOW).text == by_generate(assistant, heard)
    whole, part = (
        assistant.ask(QUESTION, video=file, sound=True, end_s=end_s, **HOW).prompt_tokens for end_s in (None, 1.0)
    )
    assert whole - part == 12  # a second of 80 ms an embedding: 25 of them, or 13
    with pytest.raises(MediaError, match=r"silent\.avi"):
        assistant.ask(QUESTION, video=silent, sound=True)
    with pytest.raises(ValueError, match="without a clip"):
        assistant.ask(QUESTION, sound=True)


def test_a_second_question_about_a_clip_encodes_nothing_again(assistant, file, silent):
    chat, dialogue, answers, encoded = assistant.chat(), [], [], []
    turns = ((QUESTION, file), ("and left of it?", None), ("and here?", silent), ("and now?", None))
    hook = assistant.model.vision.register_forward_pre_hook(lambda vision, args: encoded.append(len(args[1])))
    for question, video in turns:
        answers.append(chat.ask(question, video=video, **HOW).text)
    hook.remove()
    assert encoded == [8, 6]  # frames a call
    assert chat.messages[0]["content"][0] == {"type": "video"}
    for (question, video), answer in zip(turns, answers, strict=True):
        dialogue.append(user(question, **({"video": video} if video else {})))
        assert answer == by_generate(assistant, *dialogue)
        dialogue.append({"role": "assistant", "content": answer})


def test_a_saved_assistant_answers_alike(assistant, file, tmp_path):
    loaded = multimodal.load(save(assistant, tmp_path / "whole"))
    assert loaded.processor.max_frames == 8
    expected = assistant.ask(QUESTION, video=file, **HOW).text
    assert loaded.ask(QUESTION, video=file, **HOW).text == expected
    composed = multimodal.compose(text=tmp_path / "whole", vision=tmp_path / "whole", dtype=torch.float32)
    assert composed.ask(QUESTION, video=file, **HOW).text == expected


# The command line


@pytest.fixture(scope="module")
def folder(assistant, tmp_path_factory) -> str:
    return str(save(assistant, tmp_path_factory.mktemp("model")))


def run(*args: str, text: str | None = None):
    return CliRunner().invoke(cli.app, list(args), input=text)


def test_ask_takes_clips_and_their_parts(assistant, folder, file, silent):
    options = ["--video", str(file), "--video", str(silent), "--model", folder, "--max-new-tokens", "8"]
    result = run("ask", QUESTION, *options)
    assert (result.stdout, result.stderr) == (assistant.ask(QUESTION, video=[file, silent], **HOW).text + "\n", "")
    options = ["--video", str(file), "--start", "0.5", "--end", "1.5", "--sound", "--model", folder, "--json"]
    told = json.loads(run("ask", QUESTION, *options, "--max-new-tokens", "8").stdout)
    expected = assistant.ask(QUESTION, video=file, start_s=0.5, end_s=1.5, sound=True, **HOW)
    assert (told["text"], told["prompt_tokens"]) == (expected.text, expected.prompt_tokens)


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (["--video", "none.mp4"], "none.mp4: found no such file"),
        (["--start", "1"], "without a clip"),
        (["--sound"], "without a clip"),
        (["--video", "none.mp4", "--start", "soon"], "'--start'"),
    ],
)
def test_ask_refuses_in_one_line(folder, args, found):
    result = run("ask", QUESTION, "--model", folder, *args)
    assert result.exit_code == 2 and result.stdout == "" and found in result.stderr
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


def test_chat_shows_a_clip(assistant, folder, file):
    lines = [f"/video {file}", QUESTION, "and left of it?", "/video none.mp4", "/quit"]
    result = run("chat", "--model", folder, "--max-new-tokens", "8", text="\n".join(lines))
    chat = assistant.chat()
    answers = [chat.ask(QUESTION, video=file, **HOW), chat.ask("and left of it?", **HOW)]
    assert result.stdout == "".join(f"{answer}\n" for answer in answers)
    assert result.stderr.startswith("error: none.mp4: found no such file")
