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
from .conversations import ANSWER, TRANSCRIBE, TRANSLATE, Conversation, Conversations, Question
from .examples import Example, examples
from .panel import EMPTY, panel_html
from .witness import witness

_UNANSWERED = "**That was not answered.** Too many are asking, or something went wrong on the server; please ask again."
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
# The two buttons of the question's field, of which CSS shows one. Updates from here would do the same, but of each
# gradio keeps a copy of the whole component for as long as the session lasts.
_TURN_BUTTONS = "watch('value', () => document.body.classList.toggle('answering', Boolean(props.value)));"
_NOTHING = {"text": "", "files": []}


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
        self.assistant, self.abilities, self.cache = assistant, Abilities.of(assistant), cache
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
            height="min(56vh, 560px)",
            elem_id="chat",
            placeholder="**Try one of these, or ask something of your own**",
            examples=[self._card(example) for example in self.examples],
            feedback_options=None,
            buttons=["copy"],
            allow_tags=False,
        )
        spoken = '<div id="spoken"><span>Spoken answer</span><audio controls aria-label="Spoken answer"></audio></div>'
        gr.HTML(spoken, visible=self.abilities.voice, elem_id="reply")
        self.sound = gr.HTML(visible="hidden", html_template="", js_on_load=_HEAR)
        self.answering = gr.HTML(visible="hidden", html_template="", js_on_load=_TURN_BUTTONS)
        self.box = gr.MultimodalTextbox(
            label="Your question",
            show_label=False,
            placeholder=self._invitation(),
            sources=["upload"] * bool(self.abilities.kinds) + ["microphone"] * self.abilities.sound,
            file_types=self.abilities.suffixes,
            file_count="multiple",
            elem_id="box",
            max_plain_text_length=20_000,
            stop_btn=True,
        )
        with gr.Row(elem_id="controls"):
            hears, speaks = self.abilities.sound, self.abilities.voice
            tasks = [ANSWER, TRANSCRIBE, TRANSLATE]
            self.task = gr.Dropdown(tasks, value=ANSWER, label="Task", visible=hears, filterable=False)
            names = [language.name for language in LANGUAGES]
            self.language = gr.Dropdown(names, value="English", label="Language of the answer", visible=hears or speaks)
            self.speak = gr.Checkbox(label="Speak the answer", visible=speaks)
            self.new = gr.Button("New conversation", elem_id="new", size="md")

    def _card(self, example: Example) -> dict:
        """An example as gradio shows it: with its picture, or a frame of its clip."""
        card = {"text": example.question or example.title, "display_text": example.title or example.question}
        pictures = [path for path in example.files if self.abilities.kind_of(path) == "picture"]
        clips = [path for path in example.files if self.abilities.kind_of(path) == "clip"]
        if clips:
            frames = witness(self.assistant, {"picture": [], "clip": clips, "sound": []}).frames
            pictures.append(str(self.cache / f"{Path(clips[0]).stem}.png"))
            frames[-1].image.save(pictures[-1])
        return card | ({"icon": pictures[0]} if pictures else {})

    def _invitation(self) -> str:
        """What the question's field takes, short enough for a phone."""
        ways = ["Ask", *["drop files"] * bool(self.abilities.kinds), *["speak"] * self.abilities.sound]
        return " or ".join(filter(None, [", ".join(ways[:-1]), ways[-1]]))

    # What happens on it.

    def _events(self) -> None:
        at_once = dict(queue=False, show_progress="hidden")
        private = dict(api_visibility="private")
        how = [self.task, self.language, self.speak]
        limit = dict(concurrency_id="answers", concurrency_limit=1)  # one after the other: first come, first served
        taken = [self.box, self.answering, self.chat]  # what is seen last comes last
        asked = self.box.submit(self._on_ask, [self.box, *how], taken, trigger_mode="once", **at_once, **private)
        chosen = self.chat.example_select(self._on_example, how, taken, trigger_mode="once", **at_once, **private)
        answered = []
        for event in (asked, chosen):
            answer = event.then(self._on_answer, None, [self.chat, self.sound, self.panel], **limit, **private)
            answer.success(None, None, self.answering, js="() => false", **private)
            answer.failure(self._on_failure, None, [self.answering, self.chat], **at_once, **private)
            answered.append(answer)
        self.box.stop(self._on_stop, None, None, **at_once, **private)
        everything = [self.sound, self.panel, *taken]
        self.new.click(self._on_new, None, everything, queue=False, cancels=answered, api_name="new")
        self.blocks.unload(self._on_leave)
        text, sound, facts = (
            gr.Textbox(visible=False, label="The answer so far"),
            gr.File(visible=False, label="The spoken answer, a WAV file, when it is complete"),
            gr.JSON(visible=False, label="What it took, when it is complete"),
        )
        ask = gr.Button(visible=False)
        ask.click(self._on_api, [self.box, *how], [text, sound, facts], api_name="ask", **limit)

    def _on_ask(self, message: dict, task: str, language: str, speak: bool, request: gr.Request) -> tuple:
        """The question is in the conversation, and the field empty, however long the answer has to wait."""
        conversation = self.conversations.of(request.session_hash)
        conversation.files.update(set(message["files"]) - self._kept)
        return self._asked(conversation, Question(message["text"], message["files"], task, language, speak))

    def _on_example(self, task: str, language: str, speak: bool, event: gr.SelectData, request: gr.Request) -> tuple:
        index = event.index if isinstance(event.index, int) else event.index[0]
        example = self.examples[index]
        conversation = self.conversations.of(request.session_hash)
        return self._asked(conversation, Question(example.question, example.files, ANSWER, language, speak))

    def _asked(self, conversation: Conversation, question: Question) -> tuple[dict, bool, list[dict]]:
        """The page's question's field, its buttons and the conversation, with a question that is put down."""
        content = [{"path": path, "alt_text": Path(path).name} for path in question.files]
        if question.task != ANSWER and any(path.lower().endswith(SUFFIXES["sound"]) for path in question.files):
            content.append(f"{question.task} ({question.language})")
        elif question.text.strip():
            content.append(plain(question.text))
        if not content:  # a key pressed for nothing
            return _NOTHING, False, list(conversation.shown)
        conversation.shown.append({"role": "user", "content": content})
        conversation.ask(question)
        return _NOTHING, True, list(conversation.shown)

    def _on_answer(self, request: gr.Request) -> Iterator[tuple[list[dict], dict | None, str]]:
        """The page's conversation, sound and panel, step by step."""
        conversation = self.conversations.of(request.session_hash)
        shown, panel = conversation.shown, conversation.panel or EMPTY
        if not conversation.waiting:  # forgotten with its conversation
            yield list(shown), None, panel
            return
        question, spoken, drawn_s, text = conversation.waiting.popleft(), SpokenSoFar(), 0.0, ""
        shown.append(answer := {"role": "assistant", "content": ""})
        yield list(shown), None, panel
        try:
            for progress in conversation.turn(question):
                if progress.sound is None and progress.facts is None and time.monotonic() - drawn_s < REDRAW_S:
                    continue
                drawn_s, text = time.monotonic(), progress.text
                if progress.sound is not None:
                    spoken.add(progress.sound)
                if progress.facts is not None:
                    spoken.done, conversation.panel = True, panel_html(progress)
                answer["content"] = text or "…"
                yield list(shown), _sound(spoken), conversation.panel or EMPTY
            answer["content"] = text or ("(stopped)" if conversation.stopped else "(no words)")
        except ValueError as error:
            answer["content"] = "\n\n".join(filter(None, [text, _failed(error)]))
        yield list(shown), _sound(spoken), conversation.panel or EMPTY

    def _on_failure(self, request: gr.Request) -> tuple[bool, list[dict]]:
        """The queue is full, or what nobody foresaw: the log has it, and the visitor a message."""
        conversation = self.conversations.of(request.session_hash)
        conversation.waiting.clear()
        if conversation.shown[-1:] and conversation.shown[-1]["role"] == "assistant":
            conversation.shown.pop()
        conversation.shown.append({"role": "assistant", "content": _UNANSWERED})
        return False, list(conversation.shown)

    def _on_stop(self, request: gr.Request) -> None:
        self.conversations.stop(request.session_hash)

    def _on_new(self, request: gr.Request) -> tuple:
        self.conversations.end(request.session_hash)
        return None, EMPTY, _NOTHING, False, []

    def _on_leave(self, request: gr.Request) -> None:
        """Neither our conversation nor what gradio holds of it outlives the visit."""
        self.conversations.end(request.session_hash)
        self.blocks.state_holder.session_data.pop(request.session_hash, None)

    def _on_api(
        self, message: dict, task: str, language: str, speak: bool, request: gr.Request
    ) -> Iterator[tuple[str, str | None, dict | None]]:
        """One question of a program's conversation; its text grows from piece to piece."""
        conversation = self.conversations.of(request.session_hash)
        conversation.files.update(set(message["files"]) - self._kept)
        sounds = []
        try:
            for progress in conversation.turn(Question(message["text"], message["files"], task, language, speak)):
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


def _sound(spoken: SpokenSoFar) -> dict | None:
    if not spoken.chunks:
        return None
    return {"turn": spoken.turn, "rate_hz": spoken.rate_hz, "chunks": list(spoken.chunks), "done": spoken.done}


def plain(text: str) -> str:
    """Text that the page shows letter for letter, though it reads Markdown and HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#+\-!|~$&^])", r"\\\1", text)


def _failed(error: ValueError) -> str:
    return f"**That cannot be used.** {plain(str(error))}"
