"""The page on real nano and on a tiny random model of all parts, and Debian's chromium to look at them."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import multimodal
from multimodal import Assistant
from multimodal.demo.serve import opened_page

from ..test_speech import EARS
from ..test_video import VIDEO
from ..tiny_assistant import tiny_assistant
from ..tiny_voices import vits_folder

EXAMPLES = Path(__file__).parents[3] / "examples"
SPOKEN = EXAMPLES / "question.wav"
PATIENCE_MS = 240_000  # a condition is waited for so long: on a busy machine everything comes, but late
# The microphone hears the spoken question once from the moment that a page listens, then silence.
CHROMIUM_OPTIONS = f"""
--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --use-fake-device-for-media-stream --use-fake-ui-for-media-stream
--use-file-for-fake-audio-capture={SPOKEN}%noloop
""".split()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of chromium, which is installed where root and apt are there."""
    if found := shutil.which("chromium"):
        return found
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        pytest.skip("chromium is not installed, and installing it needs root and apt")
    for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        done = subprocess.run(["apt-get", "-q", *command], capture_output=True, text=True, timeout=500)
        if done.returncode:
            pytest.skip(f"chromium cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
    return shutil.which("chromium")


@pytest.fixture(scope="session")
def context(chromium):
    """One browser for all tests, with one cache: a page is a session of its own whatever it shares with others."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright comes with the extra dev")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS, timeout=PATIENCE_MS)
        context = browser.new_context(permissions=["microphone"])
        context.set_default_timeout(PATIENCE_MS)
        yield context
        browser.close()


@pytest.fixture(scope="session")
def nano() -> Assistant:
    return multimodal.load("nano")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Assistant:
    """Random weights that see, hear, watch and speak; its answers are a few letters."""
    made = tiny_assistant(ends_at="K", speech_config=EARS, **VIDEO)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in made.model.named_parameters():
            if name.startswith(("speech.", "speech_adapter.")):
                parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.3)
    return Assistant(made.model, made.processor, vits_folder(tmp_path_factory.mktemp("voice")))


@pytest.fixture(scope="session")
def nano_page(nano) -> Iterator[str]:
    with opened_page(nano) as address:
        yield address


@pytest.fixture(scope="session")
def tiny_page(tiny) -> Iterator[str]:
    with opened_page(tiny, name="tiny") as address:
        yield address


@pytest.fixture
def visit(context) -> Iterator[Callable]:
    """visit(address) -> a page of a fresh session; at the end none of them had an error."""
    pages, errors = [], []
    aborted = "signal is aborted without reason"  # gradio's recorder leaves it when the player of a recording goes

    def open_page(address: str):
        pages.append(page := context.new_page())
        page.set_viewport_size({"width": 1280, "height": 860})
        page.on("pageerror", lambda error: errors.extend({str(error)} - {aborted}))
        page.goto(address)
        page.wait_for_selector("#box textarea")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not errors


@pytest.fixture
def hummed(tmp_path) -> Path:
    """A second of 300 Hz."""
    at = np.arange(16_000) / 16_000
    soundfile.write(tmp_path / "hummed.wav", 0.3 * np.sin(2 * np.pi * 300 * at), 16_000)
    return tmp_path / "hummed.wav"
