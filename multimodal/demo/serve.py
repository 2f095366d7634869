"""Opens the page: gradio's server with our page, and nothing that reaches beyond this machine."""

import atexit
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from ..assistant import Assistant
from .conversations import MAX_CONVERSATIONS

MAX_UPLOAD = "64mb"  # of one file (our choice)


@contextmanager
def opened_page(
    assistant: Assistant,
    name: str = "nano",
    host: str = "127.0.0.1",
    port: int | None = None,
    share: bool = False,
    auth: tuple[str, str] | None = None,
) -> Iterator[str]:
    """The address of the page, which is served while the context lasts; uploads are gone after it.

    host: who may come; "0.0.0.0" is everybody who reaches this machine. port: by default the first free one
    from 7860 on. share: through gradio's own relay, which is a third party. auth: the one name and password.

    Raises ValueError if there is no such host, or the port is taken.
    """
    _check_free(host, port)
    folder = _uploads()
    import gradio as gr

    from .page import STATIC, Page

    font = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif"]
    theme = gr.themes.Base(
        primary_hue="indigo", secondary_hue="indigo", neutral_hue="slate", font=font, font_mono=["ui-monospace"]
    )
    page = Page(assistant, name, folder)
    _, address, shared = page.blocks.launch(
        server_name=host,
        server_port=port,
        share=share,
        auth=auth,
        prevent_thread_lock=True,
        quiet=True,
        show_error=False,
        max_file_size=MAX_UPLOAD,
        state_session_capacity=MAX_CONVERSATIONS,
        enable_monitoring=False,
        run_history=False,
        ssr_mode=False,
        footer_links=[],
        theme=theme,
        css=(STATIC / "page.css").read_text("utf-8"),
        head="".join(f"<script>{path.read_text('utf-8')}</script>" for path in sorted(STATIC.glob("*.js"))),
    )
    try:
        yield shared or address
    finally:
        page.conversations.end_all()
        page.blocks.close(verbose=False)


def _check_free(host: str, port: int | None) -> None:
    """Listens there for a moment: gradio itself would try a hundred ports of a host that is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port or 0), family=family).close()
    except OSError as error:
        raise ValueError(f"{host}, {port or 'any'} port: cannot be listened at ({error.strerror})") from None


@cache
def _uploads() -> Path:
    """The folder of the uploads of this process, which gradio looks up by the environment; it goes with the process."""
    folder = tempfile.TemporaryDirectory(prefix="multimodal-demo-")
    atexit.register(folder.cleanup)
    os.environ |= {"GRADIO_TEMP_DIR": folder.name, "GRADIO_ANALYTICS_ENABLED": "False"}
    return Path(folder.name)
