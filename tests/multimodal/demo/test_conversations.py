"""What the page keeps: conversations apart, files as long as somebody needs them; and what it says about a model."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from gradio.route_utils import delete_files_created_by_app

from multimodal.demo import conversations
from multimodal.demo.abilities import Abilities
from multimodal.demo.conversations import TRANSCRIBE, TRANSLATE, Conversation, Conversations, Question
from multimodal.demo.examples import examples
from multimodal.demo.page import Page, plain
from multimodal.demo.serve import _uploads

from ..clip_files import write_avi
from ..tiny_assistant import picture, tiny_assistant

SEES = Abilities(picture=True, clip=False, sound=False, voice=False)
ALL = Abilities(picture=True, clip=True, sound=True, voice=True)


@pytest.fixture(scope="module")
def assistant():
    return tiny_assistant()


def upload(folder, session: str = "") -> str:
    path = folder / f"hash{session}" / "red.png"
    path.parent.mkdir()
    picture().save(path)
    return str(path)


def test_a_file_that_two_share_goes_with_the_last(assistant, tmp_path):
    opened, shared, own = Conversations(lambda: Conversation(assistant)), upload(tmp_path), upload(tmp_path, "own")
    opened.of("a").files.update({shared, own})
    opened.of("b").files.add(shared)
    opened.end("a")
    assert [path.parent.name for path in tmp_path.rglob("*.png")] == ["hash"]
    opened.end("b")
    assert not list(tmp_path.iterdir()) and len(opened) == 0


def test_sessions_are_apart_and_the_longest_unused_ends(assistant, tmp_path, monkeypatch):
    monkeypatch.setattr(conversations, "MAX_CONVERSATIONS", 2)
    opened = Conversations(lambda: Conversation(assistant))
    first, second = opened.of("a"), opened.of("b")
    first.files.add(upload(tmp_path))
    assert first is not second and opened.of("b") is second and len(opened) == 2
    opened.of("c")
    assert len(opened) == 2 and not list(tmp_path.iterdir())
    assert opened.of("b") is second


def test_idle_conversations_end(assistant, monkeypatch):
    opened = Conversations(lambda: Conversation(assistant))
    old = opened.of("a")
    old.used_s -= conversations.MAX_IDLE_S + 1
    opened.of("b")
    assert len(opened) == 1 and opened.of("a") is not old


def test_a_turn_is_the_chats_own_answer(assistant, tmp_path):
    path, question = upload(tmp_path), "how many red circles are there?"
    *_, last = Conversation(assistant).turn(Question(question, [path]))
    answer = assistant.ask(question, image=path)
    assert last.text == answer.text and last.facts["prompt tokens"] == answer.prompt_tokens
    assert len(last.seen.tiles) == len(assistant.processor.pictures([path])["pixel_values"])


@pytest.mark.parametrize(
    ("files", "task", "found"),
    [
        (["a.exe"], "Answer", r"^a\.exe: found a file that ends in \.exe; accepted: \.png"),
        (["clip.mp4"], "Answer", r"accepted: \.png"),
        (["a.png"] * 9, "Answer", "found 9 files; accepted: at most 8"),
        (["/nowhere/secret/none.png"], "Answer", r"^none\.png: found no such file"),
        ([], TRANSCRIBE, "found no sound"),
        ([], "Answer", "found no question"),
    ],
)
def test_what_cannot_be_used_is_one_message(assistant, files, task, found):
    conversation = Conversation(assistant)
    with pytest.raises(ValueError, match=found):
        list(conversation.turn(Question("", files, task)))


@pytest.mark.parametrize("task", ["Answer", TRANSCRIBE])
def test_an_hour_of_sound_is_one_message(tiny, tmp_path, task):
    samples, rate_hz = np.zeros(3600 * 4000, np.uint8), 4000
    soundfile.write(tmp_path / "hour.wav", samples.astype(np.int16), rate_hz, subtype="PCM_U8")
    conversation = Conversation(tiny)
    with pytest.raises(ValueError, match=r"^hour\.wav: found .* of 3600 s or more; accepted: .* 0\.25 hours"):
        list(conversation.turn(Question("what is said?", [str(tmp_path / "hour.wav")], task)))


def test_a_text_of_a_book_is_one_message(assistant):
    with pytest.raises(ValueError, match=r"^the conversation has \d+ tokens; this model reads at most"):
        list(Conversation(assistant).turn(Question("circle " * 20_000)))


@pytest.mark.parametrize("task", [TRANSCRIBE, TRANSLATE])
def test_what_is_written_down_is_what_the_assistant_writes_and_is_said(tiny, hummed, task):
    *before, last = Conversation(tiny).turn(Question("", [str(hummed)], task, "Hindi", speak=True))
    if task == TRANSLATE:
        assert last.text == tiny.translate(str(hummed), into="Hindi")
    else:
        assert last.text == tiny.transcribe(str(hummed), language="Hindi")
    said = [progress.sound for progress in before if progress.sound is not None]
    assert last.text and said and {"first text, s", "first sound, s"} <= last.facts.keys()
    assert [look.words for look in last.seen.sounds] == ["spectrogram of 1.0 s, 0 to 8 kHz"]


def test_a_question_that_is_stopped_while_it_waits_is_not_answered(assistant):
    conversation, question = Conversation(assistant), Question("how many red circles are there?")
    conversation.ask(question)
    conversation.stop()
    assert list(conversation.turn(question)) == []
    conversation.ask(question)
    assert list(conversation.turn(question))


def test_frames_of_several_clips_are_whole(tiny, tmp_path):
    clips = [write_avi(tmp_path / "wide.avi", np.full((3, 20, 40, 3), 90, np.uint8), 5)]
    clips.append(write_avi(tmp_path / "tall.avi", np.full((2, 40, 20, 3), 90, np.uint8), 5))
    *_, last = Conversation(tiny).turn(Question("what moves?", [str(clip) for clip in clips]))
    frames = last.seen.frames
    assert last.seen.num_frames == len(frames) == 5 and frames[3].words == "frame at 0.0 s of clip 2"
    assert [frame.image.width / frame.image.height for frame in frames] == [2, 2, 2, 0.5, 0.5]


def test_the_page_says_what_a_model_can_and_cannot():
    can, cannot = SEES.about("nano")
    assert "colour" in can and "clip" not in can and "speak" not in can and "photographs" in cannot
    assert all(word in ALL.about("nano")[0] for word in ("clip", "hear", "speak"))
    assert SEES.about("meta/model") == (
        "meta/model takes text, pictures.",
        "It has no part for clips, sounds, a voice. Answers can be wrong: check what matters.",
    )


def test_examples_are_those_that_can_be_done(tmp_path):
    for name in ("scene.png", "sign.jpg", "question.wav", "a.mp4"):
        (tmp_path / name).touch()
    kinds = [[SEES.kind_of(path) for path in one.files] for one in examples(SEES, tmp_path)]
    assert kinds == [["picture"], ["picture"], ["picture"], []]
    assert len(examples(ALL, tmp_path)) == 6
    assert [one.files for one in examples(ALL, tmp_path / "none")] == [()]


def test_plain_text_has_no_markup_left():
    assert plain("*a* <b>") == r"\*a\* \<b\>"


def test_pictures_of_examples_outlive_uploads(assistant):
    page = Page(assistant, "tiny", _uploads())
    icons = [Path(card["icon"]["path"]) for card in page.chat.examples if "icon" in card]
    delete_files_created_by_app(page.blocks, age=None)  # what gradio does to all that is an hour old
    assert len(icons) == 3 and all(icon.is_file() for icon in icons)
