"""The page's interface for programs: its documented example, and twenty clients at once."""

import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from typer.testing import CliRunner

from multimodal import cli
from multimodal.demo.conversations import MAX_NEW_TOKENS
from multimodal.demo.serve import opened_page

from . import conftest
from .conftest import EXAMPLES
from .memory import held

DOCS = Path(__file__).parents[3] / "docs" / "demo.md"
SCENE, SIGN, CLIP = (str(EXAMPLES / name) for name in ("scene.png", "sign.jpg", "clip.mp4"))
SPOKEN = str(conftest.SPOKEN)
HOW = ("Answer", "English", False)


def message(text: str, *files: str) -> dict:
    return {"text": text, "files": [handle_file(file) for file in files]}


def test_the_documented_example_runs(nano_page, capsys, monkeypatch):
    monkeypatch.chdir(EXAMPLES.parent)
    [code] = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.S)
    names: dict = {}
    exec(compile(code.replace("http://127.0.0.1:7860", nano_page), str(DOCS), "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert "orange" in lines and lines[-1].startswith("three {'prompt tokens': ")
    names["client"].close()


def test_an_error_is_its_message(nano_page, tmp_path):
    (tmp_path / "text.png").write_text("I am no picture")
    client = Client(nano_page, verbose=False)
    with pytest.raises(AppError, match=r"^text\.png: found .*; accepted: a PNG"):
        client.predict(message("What is this?", str(tmp_path / "text.png")), *HOW, api_name="/ask")
    client.close()


def test_a_file_that_was_not_uploaded_is_refused(nano_page):
    stolen = {"path": SCENE, "meta": {"_type": "gradio.FileData"}}  # it is on the server and would be answered about
    asked = {"data": [{"text": "What color is the star?", "files": [stolen]}, *HOW]}
    event = httpx.post(f"{nano_page}gradio_api/call/ask", json=asked).json()["event_id"]
    told = httpx.get(f"{nano_page}gradio_api/call/ask/{event}", timeout=240).text
    assert "event: error" in told and "orange" not in told and "Traceback" not in told


def test_uploads_go_with_their_session(nano_page):
    from multimodal.demo.serve import _uploads

    def pictures() -> set[Path]:
        return {path for path in _uploads().rglob("*.jpg") if path.name == "mine.jpg"}

    mine = _uploads().parent / "mine.jpg"
    mine.write_bytes(Path(SIGN).read_bytes())
    client = Client(nano_page, verbose=False)
    client.predict(message("What does it say?", str(mine)), *HOW, api_name="/ask")
    assert len(pictures()) == 1
    client.close()
    until = time.monotonic() + 120
    while pictures() and time.monotonic() < until:
        time.sleep(0.1)
    mine.unlink()
    assert not pictures()


def test_a_session_leaves_nothing_in_memory(nano_page):
    def session() -> None:
        client = Client(nano_page, verbose=False)
        for _ in range(2):
            client.predict(message("What color is the star?", SCENE), *HOW, api_name="/ask")
            client.predict(message("How many circles are there?"), *HOW, api_name="/ask")
            client.predict(api_name="/new")
        client.close()

    session()
    before = settled(held)
    session()
    session()
    assert settled(held) <= before


def settled(count: Callable[[], Counter], patience_s: float = 60.0) -> Counter:
    """What is counted when it has been the same twice, a second apart: sessions end soon after their clients."""
    until, last, now = time.monotonic() + patience_s, None, count()
    while now != last and time.monotonic() < until:
        time.sleep(1)
        last, now = now, count()
    return now


# Turns: a text, its files, and whether it is to be spoken.
SCRIPTS = [
    [("What color is the star?", [SCENE], False), ("How many circles are there?", [], False)],
    [
        ("What does it say?", [SIGN], False),
        ("What is the capital of Italy?", [], False),
        ("What does it say?", [], False),
    ],
    [("What moves, and where to?", [CLIP], False), ("What is the capital of France?", [], False)],
    [("What color is the star?", [SCENE], True), ("Is there a red circle?", [SCENE, SIGN], False)],
]


def talk(address: str, script: list, until: float, expected: list[str], wrong: list[str]) -> int:
    """A client's conversations about files of its own, again and again -> how many answers; puts down what is wrong."""
    client, turns = Client(address, verbose=False, httpx_kwargs={"timeout": 240}), 0
    while not turns or time.monotonic() < until:
        given = []
        for text, files, speak in script:
            answer, sound, _ = client.predict(message(text, *files), "Answer", "English", speak, api_name="/ask")
            given.append(answer)
            if (sound is not None) is not speak:
                wrong.append(f"{text}: spoken as {sound}")
        if given != expected:
            wrong.append(f"{given}, not {expected}")
        turns += len(given)
        client.predict(api_name="/new")
    client.close()
    return turns


def at_once(address: str, nano, clients: int, seconds: float) -> None:
    """Asks and checks the answers of `clients` that talk at the same time."""
    scripts = list(SCRIPTS)
    if nano.model.speech is not None:
        scripts.append([("", [SCENE, SPOKEN], False), ("What color is the star?", [], False)])
    expected, wrong = [expected_of(nano, script) for script in scripts], []
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(clients) as pool:
        kinds = [number % len(scripts) for number in range(clients)]
        turns = list(pool.map(lambda kind: talk(address, scripts[kind], until, expected[kind], wrong), kinds))
    print(f"{clients} clients, {seconds} s: {sum(turns)} answers, {min(turns)} to {max(turns)} each")
    assert not wrong, wrong[:3]


def expected_of(nano, script: list) -> list[str]:
    chat, texts = nano.chat(), []
    for text, files, _ in script:
        kinds = {"image": [SCENE, SIGN], "video": [CLIP], "audio": [SPOKEN]}
        media = {name: [file for file in files if file in those] or None for name, those in kinds.items()}
        texts.append(chat.ask(text or None, max_new_tokens=MAX_NEW_TOKENS, **media).text)
    return texts


def test_clients_at_once_get_their_own_answers(nano_page, nano):
    at_once(nano_page, nano, clients=8, seconds=0)


@pytest.mark.slow
def test_twenty_clients_for_two_minutes(nano):
    """Against the command in a process of its own, whose size is then the server's alone."""
    command = [sys.executable, "-m", "multimodal", "demo", "--port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        [address] = re.findall(r"http://\S+", server.stdout.readline())
        at_once(address, nano, clients=20, seconds=0)  # threads and caches are there
        before = psutil.Process(server.pid).memory_info().rss
        at_once(address, nano, clients=20, seconds=120)
        grown = (psutil.Process(server.pid).memory_info().rss - before) / 2**20
        server.terminate()
    print(f"the server has grown by {grown:.0f} MiB")
    assert server.returncode == 0
    assert grown < 150


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


# The command


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--auth", "ada"], "NAME:PASSWORD"),
        (["--host", "203.0.113.9"], "203.0.113.9, any port: cannot be listened at"),
        (["--port", "0"], "--port"),
    ],
)
def test_the_command_refuses_in_one_line(options, found):
    result = CliRunner().invoke(cli.app, ["demo", *options])
    assert result.exit_code == 2 and found in result.stderr and result.stderr.count("\n") == 1


def test_a_visitor_needs_the_password(nano):
    with opened_page(nano, auth=("ada", "secret")) as address:
        assert httpx.get(f"{address}gradio_api/info").status_code == 401
        asked = {"username": "ada", "password": "secret"}
        assert httpx.post(f"{address}login", data=asked | {"password": "wrong"}).status_code == 400
        assert httpx.post(f"{address}login", data=asked).status_code == 200
