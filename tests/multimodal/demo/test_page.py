"""The page in a browser: what a visitor does and gets, on real nano and, for all parts, on a tiny random model."""

import base64
import io
import os
import re
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from multimodal.demo.conversations import MAX_NEW_TOKENS, Conversation
from multimodal.demo.serve import opened_page

from ..clip_files import write_avi
from ..tiny_assistant import tiny_assistant
from .conftest import EXAMPLES, SPOKEN
from .memory import held

SHOTS = Path(os.environ.get("DEMO_SHOTS") or Path(tempfile.gettempdir()) / "multimodal-demo-shots")
SCENE, SIGN, CLIP = EXAMPLES / "scene.png", EXAMPLES / "sign.jpg", EXAMPLES / "clip.mp4"


def ask(page, question: str = "", *files: Path) -> None:
    if files:
        # as the button does: the same file again would be no change
        page.eval_on_selector("#box input[type=file]", "input => { input.value = ''; }")
        page.set_input_files("#box input[type=file]", [str(file) for file in files])
        page.wait_for_function(
            "n => document.querySelectorAll('#box .thumbnail-item').length === n",
            arg=len(files),
        )
    page.fill("#box textarea", question)
    page.press("#box textarea", "Enter")


def answers(page) -> list[str]:
    """What the model has said, when it is done: the question's field then has its Submit button again."""
    page.get_by_role("button", name="Stop", exact=True).wait_for(state="hidden")
    page.get_by_role("button", name="Submit").wait_for()
    return [text.strip() for text in page.locator("#chat .message.bot").all_inner_texts()]


def begun(page, before: int = 0) -> None:
    """Returns when there are more than `before` answers; the dots that stand for one that is awaited do not count."""
    page.wait_for_function(
        """n => [...document.querySelectorAll("#chat .message.bot")]
          .filter(e => e.innerText.trim() && !e.closest(".pending")).length > n""",
        arg=before,
    )


def next_answer(page, before: int = 0) -> str:
    """The last answer when there are more than `before`."""
    begun(page, before)
    return answers(page)[-1]


def spectrogram(page) -> np.ndarray:
    """What the panel shows of the sound that was heard, [H, W, 3]."""
    source = page.locator("#panel img[alt^='spectrogram of']").get_attribute("src")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB"))


@pytest.fixture
def square(tmp_path) -> Path:
    frames = np.full((10, 40, 60, 3), 30, np.uint8)
    for at, frame in enumerate(frames):
        frame[10:22, 4 * at : 4 * at + 12] = 250
    return write_avi(tmp_path / "square.avi", frames, 5)


# Asking nano


def test_a_picture_is_asked_about_and_the_second_turn_refers_to_the_first(visit, nano_page, nano):
    page, chat = visit(nano_page), nano.chat()
    expected = [
        chat.ask("What color is the star?", image=str(SCENE)).text,
        chat.ask("How many circles are there?").text,
    ]
    ask(page, "What color is the star?", SCENE)
    first = next_answer(page)
    ask(page, "How many circles are there?")
    assert [first, next_answer(page, 1)] == expected == ["orange", "three"]
    panel = page.locator("#panel").inner_text()
    assert re.search(r"new tokens\s+\d", panel) and re.search(r"first token, s\s+0\.\d{3}", panel)


def test_the_panel_shows_the_tiles_that_were_seen(visit, nano_page):
    page = visit(nano_page)
    ask(page, "What does it say?", SIGN)
    assert next_answer(page) == "coffee"
    for number in (1, 2):
        tile = page.locator(f"#panel img[alt='picture 1, tile {number} of 2']")
        tile.wait_for()
        assert tile.evaluate("image => image.naturalWidth") == 128


def test_an_example_is_one_click(visit, nano_page):
    page = visit(nano_page)
    page.get_by_role("button", name="What does it say?").click()
    assert next_answer(page) == "coffee"


def test_new_conversation_forgets(visit, nano_page, nano):
    page = visit(nano_page)
    ask(page, "What does it say?", SIGN)
    next_answer(page)
    page.get_by_role("button", name="New conversation").click()
    page.wait_for_function("() => !document.querySelector('#chat .message.bot')")
    assert "will stand here" in page.locator("#panel").inner_text()
    ask(page, "What does it say?")
    assert next_answer(page) == nano.ask("What does it say?").text


def test_a_hostile_file_is_one_message_and_the_conversation_goes_on(visit, nano_page, tmp_path):
    hostile = tmp_path / "bomb.png"
    hostile.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 99)
    page = visit(nano_page)
    ask(page, "What is this?", hostile)
    message = next_answer(page)
    assert "That cannot be used. bomb.png: found" in message and "accepted: a PNG" in message
    assert "Traceback" not in page.content() and "/tmp/" not in message
    ask(page, "What color is the star?", SCENE)
    assert next_answer(page, 1) == "orange"


def test_a_file_that_is_too_large_or_of_no_kind_is_refused_in_words(visit, nano_page, tmp_path):
    (tmp_path / "large.png").touch()
    os.truncate(tmp_path / "large.png", 65 * 2**20)
    (tmp_path / "tool.exe").write_bytes(b"MZ")
    page = visit(nano_page)
    for name, message in (("large.png", "exceed the maximum allowed size"), ("tool.exe", "Invalid file type")):
        page.set_input_files("#box input[type=file]", str(tmp_path / name))
        page.get_by_text(message).first.wait_for()
    assert page.locator("#box .thumbnail-item").count() == 0


def test_text_is_shown_letter_for_letter(visit, nano_page):
    page, text = visit(nano_page), "2 * 3 * 4 <b>bold</b> <|eot_id|> _and_ $$x$$ `code`"
    ask(page, text)
    next_answer(page)
    assert page.locator("#chat .message.user").inner_text().strip() == text


def test_nothing_is_requested_from_beyond_this_machine(context, nano_page):
    page, requested = context.new_page(), []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(nano_page)
    page.get_by_role("button", name="What does it say?").click()
    next_answer(page)
    page.close()
    assert len(requested) > 10
    outside = [url for url in requested if not url.startswith((nano_page, "data:", "blob:"))]
    assert not outside


def test_by_keyboard_alone(visit, nano_page):
    page = visit(nano_page)
    page.locator("#box textarea").focus()
    page.keyboard.type("What is the capital of France?")
    page.keyboard.press("Enter")
    assert next_answer(page)
    wanted = {"Upload a file", "Your question", "Submit", "New conversation", "Light or dark"}
    for _ in range(60):
        page.keyboard.press("Tab")
        wanted -= {
            page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.innerText")
        }
        if not wanted:
            break
    assert not wanted


def test_every_control_has_a_name(visit, tiny_page, hummed):
    page = visit(tiny_page)
    ask(page, "hello", SCENE, hummed)
    next_answer(page)
    page.locator("#panel img").last.wait_for()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, textarea, select, audio, video, img")]
        .filter(e => e.offsetParent && !(e.ariaLabel || e.innerText?.trim() || e.title || e.alt
          || e.labels?.length || e.querySelector?.("img[alt]:not([alt=''])"))).map(e => e.outerHTML.slice(0, 200))"""
    )
    assert not nameless


def test_a_conversation_that_is_over_leaves_nothing_in_memory(visit, nano_page):
    page = visit(nano_page)

    def conversation() -> None:
        ask(page, "What color is the star?", SCENE)
        next_answer(page)
        page.get_by_role("button", name="New conversation").click()
        page.wait_for_function("() => !document.querySelector('#chat .message.bot')")

    conversation()
    before = held()
    conversation()
    assert held() <= before


# All parts, on random weights


def test_stop_keeps_what_was_written_and_the_next_question_is_answered(visit, monkeypatch):
    endless = tiny_assistant()
    stopped, tokens, stop = threading.Event(), 0, Conversation.stop
    monkeypatch.setattr(Conversation, "stop", lambda conversation: (stop(conversation), stopped.set()))

    def wait_for_stop(*_) -> None:  # after some tokens: as slow as a large model, however long a browser needs
        nonlocal tokens
        tokens += 1
        assert tokens < 4 or stopped.wait(240)

    with torch.no_grad():
        endless.model.core.lm_head.weight[endless.processor.tokenizer.eos_token_id] = 0.0
    endless.model.core.register_forward_pre_hook(wait_for_stop)
    with opened_page(endless, name="endless") as address:
        page = visit(address)
        for turn, question in enumerate(("how many red circles are there?", "and left of it?")):
            stopped.clear()
            tokens = 0
            ask(page, question)
            begun(page, turn)
            page.press("#box textarea", "Enter")  # sends nothing while an answer is written
            page.get_by_role("button", name="Stop", exact=True).click()
            written = answers(page)
            assert len(written) == turn + 1 and 0 < len(written[-1]) < 100
        assert page.locator("#chat .message.user").count() == 2
        page.close()


def test_what_nobody_foresaw_is_a_message_without_its_trace(visit):
    broken = tiny_assistant()

    def fail(*_) -> None:
        raise RuntimeError("secret detail")

    hook = broken.model.core.register_forward_pre_hook(fail)
    with opened_page(broken, name="broken") as address:
        page = visit(address)
        ask(page, "how many red circles are there?")
        assert next_answer(page).startswith("That was not answered.")
        assert "secret detail" not in page.content() and "Traceback" not in page.content()
        hook.remove()
        ask(page, "how many red circles are there?")
        assert not next_answer(page, 1).startswith("That was not answered.")
        page.close()


def test_sounds_and_clips_are_shown_as_they_were_taken(visit, tiny_page, hummed, square):
    page = visit(tiny_page)
    ask(page, "what is in this picture?", SCENE, square, hummed)
    next_answer(page)
    panel = page.locator("#panel")
    panel.locator("img[alt^='spectrogram of 1.0 s']").wait_for()
    assert panel.locator("img[alt^='frame at']").count() == 8  # of ten, this model takes eight
    assert "FRAMES SEEN: 8 OF 8" in panel.inner_text().upper()
    assert panel.locator("img[alt^='picture 1, tile']").count() >= 1


def test_the_microphone(visit, tiny_page):
    page = visit(tiny_page)
    record(page, soundfile.info(SPOKEN).duration + 0.5)
    page.press("#box textarea", "Enter")
    next_answer(page)
    assert spectrogram(page).std() > 20  # of silence it is 0


def record(page, seconds: float) -> None:
    files = page.locator("#box .thumbnail-item").count()
    for press in ("Record audio", "Start recording"):
        page.get_by_role("button", name=press).click()
    page.wait_for_timeout(int(seconds * 1000))
    for press in ("Stop recording", "Attach audio"):
        page.get_by_role("button", name=press).click()
    page.wait_for_function("n => document.querySelectorAll('#box .thumbnail-item').length === n", arg=files + 1)


def test_a_spoken_reply_plays(visit, tiny_page):
    page = visit(tiny_page)
    page.get_by_label("Speak the answer").check()
    ask(page, "how many are there?")
    page.wait_for_function("() => document.querySelector('#spoken audio').currentTime > 0.05")
    next_answer(page)
    assert re.search(r"first sound, s\s+\d", page.locator("#panel").inner_text())
    page.wait_for_function("() => document.querySelector('#spoken audio').src.startsWith('blob:')")
    page.wait_for_function("() => document.querySelector('#spoken audio').duration > 0")  # to hear again


def test_tasks_have_a_language(visit, tiny_page, hummed):
    page = visit(tiny_page)
    page.get_by_label("Task").click()
    page.get_by_role("option", name="Write down what is said").click()
    page.get_by_label("Language of the answer").fill("Hindi")
    page.keyboard.press("Enter")
    ask(page, "", hummed)
    next_answer(page)
    assert "Write down what is said (Hindi)" in page.locator("#chat .message.user").inner_text()


# What nano gets with its ears, clips and voice


def test_nano_is_asked_aloud_by_upload(visit, nano_page, nano):
    page = visit(nano_page)
    ask(page, "", SCENE, SPOKEN)
    said = nano.ask(image=str(SCENE), audio=str(SPOKEN), max_new_tokens=MAX_NEW_TOKENS).text
    assert next_answer(page) == (said.strip() or "(no words)")  # right or wrong: that is measured elsewhere


def test_nano_is_asked_about_a_clip(visit, nano_page, nano):
    page, question = visit(nano_page), "What moves, and where to?"
    ask(page, question, CLIP)
    assert next_answer(page) == nano.ask(question, video=str(CLIP)).text


def test_nano_is_asked_by_microphone(visit, nano_page, nano):
    page = visit(nano_page)
    page.set_input_files("#box input[type=file]", str(SCENE))
    page.wait_for_selector("#box .thumbnail-item")
    with page.expect_response(lambda response: "/upload" in response.url) as uploaded:
        record(page, soundfile.info(SPOKEN).duration + 0.5)
    [recorded] = uploaded.value.json()
    page.press("#box textarea", "Enter")
    said = nano.ask(image=str(SCENE), audio=recorded, max_new_tokens=MAX_NEW_TOKENS).text
    assert next_answer(page) == (said.strip() or "(no words)")
    assert spectrogram(page).std() > 20


def test_nano_speaks(visit, nano_page, nano):
    page = visit(nano_page)
    page.get_by_label("Speak the answer").check()
    ask(page, "Describe the picture.", SCENE)
    page.wait_for_function("() => document.querySelector('#spoken audio').currentTime > 0.2")


# How it looks


@pytest.mark.parametrize("name", ["nano", "all"])
def test_it_fits_and_is_drawn_light_and_dark(visit, tiny_page, nano_page, name, hummed):
    page = visit(nano_page if name == "nano" else tiny_page)
    SHOTS.mkdir(exist_ok=True)
    for state in ("empty", "asked"):
        if state == "asked":
            ask(page, "How many things are there?", SCENE, *([hummed] if name == "all" else []))
            next_answer(page)
            page.wait_for_selector("#panel img")
        for scheme in ("light", "dark"):
            for width, height in ((1280, 860), (390, 844)):
                page.set_viewport_size({"width": width, "height": height})
                fits(page, width)
                page.screenshot(path=SHOTS / f"{name}-{width}-{scheme}-{state}.png", full_page=state == "asked")
            ground = page.evaluate("getComputedStyle(document.querySelector('#under')).backgroundColor")
            assert (int(re.findall(r"\d+", ground)[0]) > 128) is (scheme == "light")
            page.get_by_role("button", name="Light or dark").click()


def fits(page, width: int) -> None:
    wide = page.evaluate(
        "w => [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > w + 0.5)"
        ".map(e => e.outerHTML.slice(0, 120))",
        arg=width,
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width, wide


def test_a_system_that_is_dark_gets_a_dark_page(context, nano_page):
    page = context.new_page()
    page.emulate_media(color_scheme="dark")
    page.goto(nano_page)
    page.wait_for_selector("body.dark #box")
    page.close()
