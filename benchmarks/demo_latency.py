"""What the page adds: the first text, and the first sound, in a browser against the assistant's own stream.

    python -m benchmarks.demo_latency

The same question about the same picture goes, in turns, through `assistant.stream` and through the page, in one
process, with Debian's chromium as the browser. The page's time runs from the key that sends the question to the first
letter that a reader can see, or to the first sound that the audio element has played; the upload is done before.
Required: at most 1.5 times the assistant's time plus 300 ms. Exits with 1 if it is missed.
"""

import statistics
import time
from pathlib import Path

import typer
from playwright.sync_api import Page, sync_playwright

import multimodal
from multimodal import Assistant
from multimodal.demo.serve import opened_page

from .measure import machine

SCENE = Path(__file__).parents[1] / "examples" / "scene.png"
QUESTION = "What color is the star?"
FACTOR, MORE_S = 1.5, 0.3
OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
# Stands in the page: seconds from the Enter key to the moment that `seen` first holds.
TIMED = """async seen => {
  const holds = new Function("return " + seen), begun = performance.now();
  const field = document.querySelector("#box textarea");
  field.dispatchEvent(new KeyboardEvent("keypress", { key: "Enter", bubbles: true, cancelable: true }));
  while (!holds()) await new Promise(requestAnimationFrame);
  return (performance.now() - begun) / 1000;
}"""
TEXT = "document.querySelector('#chat .message.bot')?.innerText.trim()"
SOUND = "document.querySelector('#spoken audio').currentTime > 0"


def of_assistant(assistant: Assistant, speak: bool) -> float:
    """Seconds to the first text, or sound, of the assistant's own stream."""
    started = time.perf_counter()
    for event in assistant.stream(QUESTION, image=str(SCENE), **({"speak": True} if speak else {})):
        if event.audio if speak else event.text:
            return time.perf_counter() - started
    raise AssertionError("an answer without text or sound")


def of_page(page: Page, address: str, speak: bool) -> float:
    """The same through the page, in a conversation of its own."""
    page.goto(address)
    page.wait_for_selector("#box textarea")
    if speak:
        page.get_by_label("Speak the answer").check()
    page.set_input_files("#box input[type=file]", str(SCENE))
    page.wait_for_selector("#box .thumbnail-item img")
    page.fill("#box textarea", QUESTION)
    seconds = page.evaluate(TIMED, SOUND if speak else TEXT)
    page.wait_for_selector("#box .submit-button")
    return seconds


def compare(assistant: Assistant, rounds: int) -> bool:
    """Print both times for text and, if the model speaks, sound -> whether the requirement is met."""
    met = True
    print(f"{'seconds to the first':22}{'assistant':>11}{'page':>9}{'at most':>9}")
    with opened_page(assistant) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=OPTIONS)
        page = browser.new_page()
        for name, speak in (("text", False), ("sound", True)):
            if speak and not assistant.has_voice:
                print("sound: this model has no voice")
                continue
            turns = [(of_assistant(assistant, speak), of_page(page, address, speak)) for _ in range(rounds + 1)][1:]
            ours, theirs = (statistics.median(of_side) for of_side in zip(*turns, strict=True))
            most = FACTOR * ours + MORE_S
            print(f"{name:22}{ours:11.3f}{theirs:9.3f}{most:9.3f}{'' if theirs <= most else '   MISSED'}")
            met &= theirs <= most
        browser.close()
    return met


def main(rounds: int = 7) -> None:
    """Exits with 1 if the requirement is missed."""
    print(f"{machine()}\n{rounds} rounds\n")
    raise SystemExit(not compare(multimodal.load("nano"), rounds))


if __name__ == "__main__":
    typer.run(main)
