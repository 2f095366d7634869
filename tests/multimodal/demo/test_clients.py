"""The page's interface for programs: its documented example, and twenty clients at once."""

import re
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from typer.testing import CliRunner

from multimodal import cli
from multimodal.demo.serve import opened_page

from .conftest import EXAMPLES

DOCS = Path(__file__).parents[3] / "docs" / "demo.md"
SCENE, SIGN = str(EXAMPLES / "scene.png"), str(EXAMPLES / "sign.jpg")
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
    told = httpx.get(f"{nano_page}gradio_api/call/ask/{event}", timeout=60).text
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
    until = time.monotonic() + 30
    while pictures() and time.monotonic() < until:
        time.sleep(0.1)
    mine.unlink()
    assert not pictures()


SCRIPTS = (
    (("What color is the star?", SCENE), ("How many circles are there?",), ("What is the capital of France?",)),
    (("What does it say?", SIGN), ("What is the capital of Italy?",), ("What does it say?", SIGN)),
)


def talk(address: str, number: int, until: float, expected: list[str], wrong: list[str], turns: list[int]) -> None:
    """Conversations about a picture of one's own, again and again; what is wrong is put down."""
    client = Client(address, verbose=False, httpx_kwargs={"timeout": 120})
    while not turns[number] or time.monotonic() < until:
        asked = SCRIPTS[number % 2]
        given = [client.predict(message(text, *files), *HOW, api_name="/ask")[0] for text, *files in asked]
        if given != expected:
            wrong.append(f"client {number}: {given}, not {expected}")
        turns[number] += len(given)
        client.predict(api_name="/new")
    client.close()


def expected_of(nano, script: tuple) -> list[str]:
    chat = nano.chat()
    return [chat.ask(text, image=list(files) or None).text for text, *files in script]


def at_once(address: str, nano, clients: int, seconds: float) -> None:
    process, wrong, turns = psutil.Process(), [], [0] * clients
    expected = [expected_of(nano, script) for script in SCRIPTS]
    warm = Client(address, verbose=False)
    warm.predict(message("What color is the star?", SCENE), *HOW, api_name="/ask")
    warm.close()
    before, until = process.memory_info().rss, time.monotonic() + seconds
    arguments = [(address, number, until, expected[number % 2], wrong, turns) for number in range(clients)]
    threads = [threading.Thread(target=talk, args=one, daemon=True) for one in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 240)
    grown = (process.memory_info().rss - before) / 2**20
    print(f"{clients} clients, {seconds} s: {sum(turns)} answers, {grown:.0f} MiB more")
    assert not wrong, wrong[:3]
    assert min(turns) > 0
    assert grown < 400


def test_twenty_clients_at_once(nano_page, nano):
    at_once(nano_page, nano, clients=20, seconds=10)


@pytest.mark.slow
def test_twenty_clients_for_two_minutes(nano_page, nano):
    at_once(nano_page, nano, clients=20, seconds=120)


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
