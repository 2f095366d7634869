"""The page: one conversation, what can be dropped into it, and a panel that shows what happened."""

import base64
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from uuid import uuid4

import gradio as gr
import numpy as np

from ..assistant import Assistant
from ..languages import LANGUAGES
from ..voice import Speech
from .abilities import SUFFIXES, Abilities
from .conversations import ANSWER, TRANSCRIBE, TRANSLATE, Conversation, Conversations
from .examples import Example, examples
from .panel import EMPTY, panel_html

MAX_WAITING = 64  # questions in the queue; one more is told that it is full
REDRAW_S = 0.05  # text is drawn no more often: a browser that lags behind would not show it sooner (our choice)
STATIC = Path(__file__).with_name("static")
_MARK = (
    '<svg width="24" height="24" viewBox="0 0 24 24" fill="none" stroke="#fff" stroke-width="2" stroke-linecap="round" '
    'aria-hidden="true"><path d="M2 12s4-6 10-6 10 6 10 6-4 6-10 6S2 12 2 12Z"/><circle cx="12" cy="12" r="2.6"/></svg>'
)
_MOON = (
    '<svg width="18" height="18" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
    'aria-hidden="true"><circle cx="12" cy="12" r="8"/><path d="M12 4a8 8 0 0 1 0 16Z" fill="currentColor"/></svg>'
)
# a gesture of the visitor's own; the system's choice holds until then
_TURN_LIGHT = """
element.querySelector("button").addEventListener("click", () => document.body.classList.toggle("dark"));
"""
_HEAR = "watch('value', () => window.speakAnswer(props.value));"


@dataclass
class SpokenSoFar:
    """The sound of one answer as the page takes it: all of it each time, of which gradio sends what is new."""

    turn: str = field(default_factory=lambda: uuid4().hex)
    rate_hz: int = 0
    chunks: list[str] = field(default_factory=list)
    done: bool = False

    def add(self, sound: Speech) -> None:
        self.rate_hz = sound.sample_rate
        self.chunks.append(base64.b64encode(pcm16(sound.samples)).decode())


def pcm16(samples: np.ndarray) -> bytes:
    """Samples [n] in -1..1 as 16-bit little-endian numbers."""
    return (samples.clip(-1, 1) * 32767).astype("<i2").tobytes()


class Page:
    """The page of one assistant: `blocks` is gradio's, `conversations` are those that are open.

    cache: the folder of uploads, which whoever made it deletes.
    """

    def __init__(self, assistant: Assistant, name: str, cache: Path):
        self.abilities, self.cache = Abilities.of(assistant), cache
        self.conversations = Conversations(lambda: Conversation(assistant))
        self.examples = examples(self.abilities)
        # uploads that were never sent with a question go after an hour; the others with their conversation
        self.blocks = gr.Blocks(title="multimodal-llama", analytics_enabled=False, delete_cache=(600, 3600))
        with self.blocks:
            self._head(name)
            with gr.Row(elem_id="columns", equal_height=False):
                with gr.Column(scale=7, min_width=320, elem_id="talk"):
                    self._talk()
                with gr.Column(scale=3, min_width=260, elem_id="under"):
                    gr.HTML("<h2>Under the hood</h2>")
                    self.panel = gr.HTML(EMPTY, elem_id="panel")
            self._events()
        # cards lie in the cache by their content, as uploads do: the one is not deleted with the other
        self._kept = {card["icon"]["path"] for card in self.chat.examples if "icon" in card}
        self.chat.keep_in_cache |= self._kept  # nor with age
        self.blocks.queue(default_concurrency_limit=1, max_size=MAX_WAITING)

    # What stands on it.

    def _head(self, name: str) -> None:
        can, cannot = self.abilities.about(name)
        shown = escape(Path(name).name)
        words = f"<h1>multimodal-llama<span>{shown}</span></h1><p>{escape(can)}<br>{escape(cannot)}</p>"
        turn = f'<button type="button" aria-label="Light or dark" title="Light or dark">{_MOON}</button>'
        head = f'<div class="mark">{_MARK}</div><div class="words">{words}</div>{turn}'
        gr.HTML(f'<header id="head">{head}</header>', js_on_load=_TURN_LIGHT)

    def _talk(self) -> None:
        self.chat = gr.Chatbot(
            label="Conversation",
            show_label=False,
            height="min(58vh, 560px)",
            elem_id="chat",
            placeholder=f"**{self._invitation()}**",
            examples=[_card(example) for example in self.examples],
            feedback_options=None,
            buttons=["copy"],
            allow_tags=False,
        )
        spoken = '<div id="spoken"><span>Spoken answer</span><audio controls aria-label="Spoken answer"></audio></div>'
        gr.HTML(spoken, visible=self.abilities.voice)
        self.sound = gr.HTML(visible="hidden", html_template="", js_on_load=_HEAR)
        self.box = gr.MultimodalTextbox(
            label="Your question",
            show_label=False,
            placeholder=self._invitation(),
            sources=["upload"] * bool(self.abilities.kinds) + ["microphone"] * self.abilities.sound,
            file_types=self.abilities.suffixes,
            file_count="multiple",
            elem_id="box",
            max_plain_text_length=20_000,
        )
        with gr.Row(elem_id="controls"):
            hears = self.abilities.sound
            tasks = [ANSWER, TRANSCRIBE, TRANSLATE]
            self.task = gr.Dropdown(tasks, value=ANSWER, label="Task", visible=hears, filterable=False)
            names = [language.name for language in LANGUAGES]
            self.language = gr.Dropdown(names, value="English", label="Language of the text", visible=hears)
            self.speak = gr.Checkbox(label="Speak the answer", visible=self.abilities.voice)
            self.new = gr.Button("New conversation", elem_id="new", size="md")

    def _invitation(self) -> str:
        kinds = [f"{kind}s" for kind in self.abilities.kinds]
        dropped = f", drop {' and '.join(filter(None, [', '.join(kinds[:-1]), kinds[-1]]))}" if kinds else ""
        spoken = " or speak" if self.abilities.sound else ""
        return f"Ask a question{dropped}{spoken}"

    # What happens on it.

    def _events(self) -> None:
        shown, private = [self.chat, self.box, self.sound, self.panel], dict(api_visibility="private")
        how = [self.task, self.language, self.speak]
        limit = dict(concurrency_id="answers", concurrency_limit=1)  # one after the other: first come, first served
        asked = self.box.submit(self._on_submit, [self.box, *how], shown, trigger_mode="once", **limit, **private)
        chosen = self.chat.example_select(self._on_example, how, shown, trigger_mode="once", **limit, **private)
        # whatever became of the answer, the next question can be asked
        for event in (asked, chosen):
            event.then(_ready, None, self.box, queue=False, show_progress="hidden", **private)
        self.box.stop(self._on_stop, None, None, queue=False, show_progress="hidden", **private)
        self.new.click(self._on_new, None, shown, queue=False, cancels=[asked, chosen], api_name="new")
        self.blocks.unload(self._on_leave)
        text, sound, facts = (
            gr.Textbox(visible=False, label="The answer so far"),
            gr.File(visible=False, label="The spoken answer, a WAV file, when it is complete"),
            gr.JSON(visible=False, label="What it took, when it is complete"),
        )
        ask = gr.Button(visible=False)
        ask.click(self._on_api, [self.box, *how], [text, sound, facts], api_name="ask", **limit)

    def _on_submit(self, message: dict, task: str, language: str, speak: bool, request: gr.Request) -> Iterator[tuple]:
        conversation = self.conversations.of(request.session_hash)
        conversation.files.update(set(message["files"]) - self._kept)
        yield from self._turn(conversation, message["text"], message["files"], task, language, speak)

    def _on_example(
        self, task: str, language: str, speak: bool, event: gr.SelectData, request: gr.Request
    ) -> Iterator[tuple]:
        index = event.index if isinstance(event.index, int) else event.index[0]
        example = self.examples[index]
        conversation = self.conversations.of(request.session_hash)
        yield from self._turn(conversation, example.question, example.files, ANSWER, language, speak)

    def _turn(self, conversation: Conversation, question: str, files, task: str, language: str, speak: bool):
        """The page's outputs, step by step: conversation, question box, sound, panel."""
        shown = conversation.shown
        asked = [{"path": path, "alt_text": Path(path).name} for path in files]
        if task != ANSWER and any(path.lower().endswith(SUFFIXES["sound"]) for path in files):
            asked.append(f"{task} ({language})")
        elif question.strip():
            asked.append(plain(question))
        if asked:
            shown.append({"role": "user", "content": asked})
        yield list(shown), _busy(), None, gr.skip()
        answer, spoken, drawn_s = {"role": "assistant", "content": ""}, SpokenSoFar(), 0.0
        shown.append(answer)
        try:
            for progress in conversation.turn(question, files, task, language, speak):
                if progress.sound is None and progress.facts is None and time.monotonic() - drawn_s < REDRAW_S:
                    continue
                drawn_s = time.monotonic()
                answer["content"] = progress.text or ("…" if progress.facts is None else "(no words)")
                if progress.sound is not None:
                    spoken.add(progress.sound)
                spoken.done = progress.facts is not None
                panel = gr.skip() if progress.facts is None else panel_html(progress)
                yield list(shown), gr.skip(), _sound(spoken), panel
        except ValueError as error:
            answer["content"] = _failed(error)
            yield list(shown), gr.skip(), None, gr.skip()

    def _on_stop(self, request: gr.Request) -> None:
        self.conversations.stop(request.session_hash)

    def _on_new(self, request: gr.Request) -> tuple:
        self.conversations.end(request.session_hash)
        return [], gr.update(value={"text": "", "files": []}, submit_btn=True, stop_btn=False), None, EMPTY

    def _on_leave(self, request: gr.Request) -> None:
        self.conversations.end(request.session_hash)

    def _on_api(
        self, message: dict, task: str, language: str, speak: bool, request: gr.Request
    ) -> Iterator[tuple[str, str | None, dict | None]]:
        """One question of a program's conversation; its text grows from piece to piece."""
        conversation = self.conversations.of(request.session_hash)
        conversation.files.update(set(message["files"]) - self._kept)
        sounds = []
        try:
            for progress in conversation.turn(message["text"], message["files"], task, language, speak):
                sounds += [progress.sound] if progress.sound is not None else []
                path = self._saved(conversation, sounds) if progress.facts and sounds else None
                yield progress.text, path, progress.facts
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from None

    def _saved(self, conversation: Conversation, sounds: list) -> str:
        folder = self.cache / uuid4().hex
        folder.mkdir()
        path = folder / "answer.wav"
        Speech(np.concatenate([sound.samples for sound in sounds]), sounds[0].sample_rate).save(path)
        conversation.files.add(str(path))
        return str(path)


def _card(example: Example) -> dict:
    card = {"text": example.question or example.title, "display_text": example.title or example.question}
    pictures = [path for path in example.files if path.endswith((".png", ".jpg"))]
    return card | ({"icon": pictures[0]} if pictures else {})


def _busy() -> dict:
    return gr.update(value={"text": "", "files": []}, submit_btn=False, stop_btn=True)


def _ready() -> dict:
    return gr.update(submit_btn=True, stop_btn=False)


def _sound(spoken: SpokenSoFar) -> dict | None:
    if not spoken.chunks:
        return gr.skip()
    return {"turn": spoken.turn, "rate_hz": spoken.rate_hz, "chunks": list(spoken.chunks), "done": spoken.done}


def plain(text: str) -> str:
    """Text that the page shows letter for letter, though it reads Markdown and HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#+\-!|~$&^])", r"\\\1", text)


def _failed(error: ValueError) -> str:
    return f"**That cannot be used.** {plain(str(error))}"
