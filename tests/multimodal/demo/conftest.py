"""The page on real nano and on a tiny random model of all parts, and Debian's chromium to look at them."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import multimodal
from multimodal import Assistant
from multimodal.demo.serve import opened_page

from ..test_speech import EARS
from ..test_video import VIDEO
from ..tiny_assistant import tiny_assistant
from ..tiny_voices import vits_folder

EXAMPLES = Path(__file__).parents[3] / "examples"
CHROMIUM_OPTIONS = """
--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --use-fake-device-for-media-stream --use-fake-ui-for-media-stream
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
def playwright():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright comes with the extra dev")
    with sync_api.sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def browser(playwright, chromium):
    browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
    yield browser
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
def visit(browser) -> Iterator[Callable]:
    """visit(address, **of the context) -> a page of a fresh session; at the end none of them had an error."""
    contexts, errors = [], []

    def open_page(address: str, **options):
        contexts.append(browser.new_context(**({"viewport": {"width": 1280, "height": 860}} | options)))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector("#box textarea")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors
