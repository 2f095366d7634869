"""A hub on this machine: folders served as models are, with ranges of their files; it counts what it sends."""

import json
import re
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

SHA = "0123456789abcdef0123456789abcdef01234567"


class HubServer(ThreadingHTTPServer):
    """folders: by the id of the model. `sent`: bytes of each file; `hidden`: files that are not there."""

    def __init__(self, folders: dict[str, Path]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folders, self.hidden, self.gated, self.sent = dict(folders), set(), False, Counter()
        self.address = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> "HubServer":
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exception) -> None:
        self.stop()

    def stop(self) -> None:
        """From now on nobody listens; a second time changes nothing."""
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if model := re.fullmatch(r"/api/models/(\w+/\w+)", self.path):
            self._tell(model[1])
        elif file := re.fullmatch(rf"/(\w+/\w+)/resolve/{SHA}/([\w.-]+)", self.path):
            self._send_file(*file.groups())
        else:
            self._refuse(404, "EntryNotFound")

    do_HEAD = do_GET

    def _tell(self, model: str) -> None:
        if model not in self.server.folders:
            return self._refuse(404, "RepoNotFound")
        names = {file.name for file in self.server.folders[model].iterdir()} - self.server.hidden
        told = {"id": model, "sha": SHA, "siblings": [{"rfilename": name} for name in sorted(names)]}
        self._answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _send_file(self, model: str, name: str) -> None:
        if self.server.gated:
            return self._refuse(403, "GatedRepo")
        content, headers, code = (self.server.folders[model] / name).read_bytes(), {}, 200
        if asked := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            first, last = int(asked[1]), min(int(asked[2]), len(content) - 1)
            headers, code = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}, 206
            content = content[first : last + 1]
        if self.command == "GET":
            self.server.sent[name] += len(content)
        self._answer(code, content, headers | {"ETag": f'"{name}"', "X-Repo-Commit": SHA})

    def _refuse(self, code: int, reason: str) -> None:
        self._answer(code, b"", {"X-Error-Code": reason})

    def _answer(self, code: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *args) -> None:
        """Nothing is printed."""
