"""The page in a browser: what a visitor does and gets, on real nano and, for all parts, on a tiny random model."""

import os
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from multimodal.demo.serve import opened_page

from ..clip_files import write_avi
from ..tiny_assistant import tiny_assistant
from .conftest import CHROMIUM_OPTIONS, EXAMPLES

SHOTS = Path(os.environ.get("DEMO_SHOTS") or Path(tempfile.gettempdir()) / "multimodal-demo-shots")
SCENE, SIGN, SPOKEN = EXAMPLES / "scene.png", EXAMPLES / "sign.jpg", EXAMPLES / "question.wav"
STOP_AFTER = """n => {
  const button = document.querySelector("#box .stop-button");
  const written = document.querySelectorAll("#chat .message.bot").length > n;
  if (written && button) button.click();
  return written && button;
}"""
CLIP = next(iter(sorted(EXAMPLES.glob("*.mp4"))), None)


def ask(page, question: str = "", *files: Path, press: str = "Enter") -> None:
    if files:
        page.set_input_files("#box input[type=file]", [str(file) for file in files])
        page.wait_for_function(
            "n => document.querySelectorAll('#box .thumbnail-item').length === n",
            arg=len(files),
        )
    page.fill("#box textarea", question)
    page.press("#box textarea", press)


def answers(page) -> list[str]:
    """What the model has said, when it is done: the question's field then has its Submit button again."""
    page.wait_for_selector("#box .stop-button", state="detached", timeout=30_000)
    page.wait_for_selector("#box .submit-button", timeout=30_000)
    return [text.strip() for text in page.locator("#chat .message.bot").all_inner_texts()]


def next_answer(page, before: int = 0) -> str:
    """The last answer when there are more than `before`; the dots that stand for one that is awaited do not count."""
    page.wait_for_function(
        """n => [...document.querySelectorAll("#chat .message.bot")]
          .filter(e => e.innerText.trim() && !e.closest(".pending")).length > n""",
        arg=before,
    )
    return answers(page)[-1]


@pytest.fixture
def hummed(tmp_path) -> Path:
    at = np.arange(16_000) / 16_000
    soundfile.write(tmp_path / "hummed.wav", 0.3 * np.sin(2 * np.pi * 300 * at), 16_000)
    return tmp_path / "hummed.wav"


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
    tile = page.locator("#panel img[alt='picture 1, tile 1 of 1']")
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


def test_text_is_shown_letter_for_letter(visit, nano_page):
    page, text = visit(nano_page), "2 * 3 * 4 <b>bold</b> <|eot_id|> _and_ $$x$$ `code`"
    ask(page, text)
    next_answer(page)
    assert page.locator("#chat .message.user").inner_text().strip() == text


def test_nothing_is_requested_from_beyond_this_machine(browser, nano_page):
    page, requested = browser.new_page(), []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(nano_page)
    page.wait_for_selector("#box textarea")
    page.get_by_role("button", name="What does it say?").click()
    next_answer(page)
    page.context.close()
    assert len(requested) > 10
    outside = [url for url in requested if not url.startswith((nano_page, "data:", "blob:"))]
    assert not outside


def test_by_keyboard_alone(visit, nano_page):
    page = visit(nano_page)
    page.locator("#box textarea").focus()
    page.keyboard.type("What is the capital of France?")
    page.keyboard.press("Enter")
    assert next_answer(page)
    names = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        names.add(
            page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.innerText")
        )
    assert {"Upload a file", "Your question", "Submit", "New conversation", "Light or dark"} <= names


def test_every_control_has_a_name(visit, tiny_page, hummed):
    page = visit(tiny_page)
    ask(page, "hello", SCENE, hummed)
    next_answer(page)
    page.wait_for_timeout(300)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, textarea, select, audio, video, img")]
        .filter(e => e.offsetParent && !(e.ariaLabel || e.innerText?.trim() || e.title || e.alt
          || e.labels?.length || e.querySelector?.("img[alt]:not([alt=''])"))).map(e => e.outerHTML.slice(0, 200))"""
    )
    assert not nameless


# All parts, on random weights


def test_stop_keeps_what_was_written_and_the_next_question_is_answered(visit):
    endless = tiny_assistant()
    with torch.no_grad():
        endless.model.core.lm_head.weight[endless.processor.tokenizer.eos_token_id] = 0.0
    # as slow as a large model: its 256 tokens take longer than a busy browser needs to press the button
    endless.model.core.register_forward_pre_hook(lambda *_: time.sleep(0.04))
    with opened_page(endless, name="endless") as address:
        page = visit(address)
        ask(page, "how many red circles are there?")
        page.wait_for_function(STOP_AFTER, arg=0)
        [stopped] = answers(page)
        page.wait_for_timeout(400)
        assert answers(page) == [stopped] and 0 < len(stopped) < 400
        ask(page, "and left of it?")
        page.wait_for_function(STOP_AFTER, arg=1)
        assert len(answers(page)) == 2


def test_sounds_and_clips_are_shown_as_they_were_taken(visit, tiny_page, hummed, square):
    page = visit(tiny_page)
    ask(page, "what is in this picture?", SCENE, square, hummed)
    next_answer(page)
    panel = page.locator("#panel")
    panel.locator("img[alt^='spectrogram of 1.0 s']").wait_for()
    assert panel.locator("img[alt^='frame at']").count() == 8  # of ten, this model takes eight
    assert "FRAMES SEEN: 8 OF 8" in panel.inner_text().upper()
    assert panel.locator("img[alt^='picture 1, tile']").count() >= 1


def test_the_microphone(playwright, chromium, tiny_page, hummed):
    options = [*CHROMIUM_OPTIONS, f"--use-file-for-fake-audio-capture={hummed}"]
    browser = playwright.chromium.launch(executable_path=chromium, args=options)
    page = browser.new_context(permissions=["microphone"]).new_page()
    page.goto(tiny_page)
    record(page)
    page.press("#box textarea", "Enter")
    next_answer(page)
    page.locator("#panel img[alt^='spectrogram of']").wait_for()
    browser.close()


def record(page, seconds: float = 1.2) -> None:
    for press in ("Record audio", "Start recording"):
        page.get_by_role("button", name=press).click()
    page.wait_for_timeout(int(seconds * 1000))
    for press in ("Stop recording", "Attach audio"):
        page.get_by_role("button", name=press).click()
    page.wait_for_selector("#box .thumbnail-item, #box [aria-label='Uploaded files'] *")


def test_a_spoken_reply_plays(visit, tiny_page):
    page = visit(tiny_page)
    page.get_by_label("Speak the answer").check()
    ask(page, "how many are there?")
    page.wait_for_function("() => document.querySelector('#spoken audio').currentTime > 0.05", timeout=30_000)
    next_answer(page)
    assert re.search(r"first sound, s\s+\d", page.locator("#panel").inner_text())
    page.wait_for_function("() => document.querySelector('#spoken audio').src.startsWith('blob:')", timeout=60_000)
    page.wait_for_function("() => document.querySelector('#spoken audio').duration > 0")  # to hear again


def test_tasks_have_a_language(visit, tiny_page, hummed):
    page = visit(tiny_page)
    page.get_by_label("Task").click()
    page.get_by_role("option", name="Write down what is said").click()
    page.get_by_label("Language of the text").fill("Hindi")
    page.keyboard.press("Enter")
    ask(page, "", hummed)
    next_answer(page)
    assert "Write down what is said (Hindi)" in page.locator("#chat .message.user").inner_text()


# What nano gets with its ears, clips and voice


def test_nano_is_asked_aloud_by_upload(visit, nano_page, nano):
    if nano.model.speech is None:
        pytest.skip("nano has no ears yet")
    page = visit(nano_page)
    ask(page, "", SCENE, SPOKEN)
    assert next_answer(page) == nano.ask(image=str(SCENE), audio=str(SPOKEN)).text


def test_nano_is_asked_about_a_clip(visit, nano_page, nano):
    page, question = visit(nano_page), "What moves, and where to?"
    ask(page, question, CLIP)
    assert next_answer(page) == nano.ask(question, video=str(CLIP)).text


def test_nano_is_asked_by_microphone(playwright, chromium, nano_page, nano):
    if nano.model.speech is None:
        pytest.skip("nano has no ears yet")
    options = [*CHROMIUM_OPTIONS, f"--use-file-for-fake-audio-capture={SPOKEN}%noloop"]
    browser = playwright.chromium.launch(executable_path=chromium, args=options)
    page = browser.new_context(permissions=["microphone"]).new_page()
    page.goto(nano_page)
    page.set_input_files("#box input[type=file]", str(SCENE))
    page.wait_for_selector("#box .thumbnail-item")
    record(page, soundfile.info(SPOKEN).duration + 0.8)
    page.press("#box textarea", "Enter")
    assert next_answer(page)
    page.locator("#panel img[alt^='spectrogram of']").wait_for()
    browser.close()


def test_nano_speaks(visit, nano_page, nano):
    page = visit(nano_page)
    page.get_by_label("Speak the answer").check()
    ask(page, "Describe the picture.", SCENE)
    page.wait_for_function("() => document.querySelector('#spoken audio').currentTime > 0.2", timeout=30_000)


# How it looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_and_is_drawn(visit, tiny_page, nano_page, scheme, width, hummed):
    height = 860 if width == 1280 else 844
    SHOTS.mkdir(exist_ok=True)
    for name, address in (("nano", nano_page), ("all", tiny_page)):
        page = visit(address, viewport={"width": width, "height": height}, color_scheme=scheme)
        page.screenshot(path=SHOTS / f"{name}-{width}-{scheme}-empty.png")
        ask(page, "How many things are there?", SCENE, *([hummed] if name == "all" else []))
        next_answer(page)
        page.wait_for_selector("#panel dl")
        time.sleep(0.3)
        page.screenshot(path=SHOTS / f"{name}-{width}-{scheme}-asked.png", full_page=True)
        wide = page.evaluate(
            "w => [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > w + 0.5)"
            ".map(e => e.outerHTML.slice(0, 120))",
            arg=width,
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= width, wide
        lightness = page.evaluate("getComputedStyle(document.querySelector('#under')).backgroundColor")
        assert (int(re.findall(r"\d+", lightness)[0]) > 128) is (scheme == "light")
