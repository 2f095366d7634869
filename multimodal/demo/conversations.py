"""Conversations of the page: each knows its own chat and its own uploads, and nothing of any other."""

import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.media import MediaError

from ..assistant import Assistant, Event
from ..transcription import transcribe
from ..voice import Speech
from .abilities import Abilities
from .witness import Seen, witness

if TYPE_CHECKING:
    from speech.audio import Sound

ANSWER, TRANSCRIBE, TRANSLATE = "Answer", "Write down what is said", "Translate what is said"
MAX_FILES = 8  # with a question (our choice)
MAX_SOUND_S = 900.0  # of one sound: others wait while it is heard (our choice)
SOUND_DEADLINE_S = 30.0  # for decoding one
MAX_NEW_TOKENS = 512
MAX_CONVERSATIONS = 64  # each holds its keys and values; beyond, the one longest unused ends
MAX_IDLE_S = 3600.0


@dataclass(frozen=True)
class Question:
    """What a visitor asks about files; `language`: of the text wanted, and of the voice that says it."""

    text: str
    files: Sequence[str] = ()
    task: str = ANSWER
    language: str = "English"
    speak: bool = False


@dataclass(frozen=True)
class Progress:
    """A piece of a turn: the text so far, sound that is new, and at the end what the turn took and saw."""

    text: str
    sound: Speech | None = None
    facts: dict[str, float] | None = None
    seen: Seen | None = None


class Conversation:
    """One chat; `files` are the uploads it was shown. `turn` is called for one question at a time."""

    def __init__(self, assistant: Assistant):
        self._assistant, self._abilities = assistant, Abilities.of(assistant)
        self._chat = assistant.chat()
        self._stopped = threading.Event()
        self.files: set[str] = set()
        self.waiting: deque[Question] = deque()  # asked and not yet answered
        self.shown: list[dict] = []  # what the page shows of it, in gradio's format
        self.panel: str | None = None  # and under the hood, as HTML
        self.used_s = time.monotonic()

    def ask(self, question: Question) -> None:
        """Put a question down, to be answered when those before it are; a stop before it does not count."""
        self._stopped.clear()
        self.waiting.append(question)

    def stop(self) -> None:
        """The answer in progress, or the one waited for, ends after its next piece, and the part written stays."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether the last question was stopped."""
        return self._stopped.is_set()

    def turn(self, question: Question) -> Iterator[Progress]:
        """The answer to a question about files, or what is said in them, piece by piece.

        Raises ValueError, in words for a visitor, for what cannot be used.
        """
        if self.stopped:
            return
        files = self._sorted(question.files)
        with plain_names():
            media: dict[str, list[Any]] = files | {"sound": [_heard(path) for path in files["sound"]]}
            if question.task in (TRANSCRIBE, TRANSLATE):
                yield from self._written_down(question, media["sound"])
            else:
                yield from self._answer(question, media)

    def _sorted(self, files: Sequence[str]) -> dict[str, list[str]]:
        if len(files) > MAX_FILES:
            raise ValueError(f"found {len(files)} files; accepted: at most {MAX_FILES} with a question")
        media: dict[str, list[str]] = {"picture": [], "clip": [], "sound": []}
        for path in files:
            media[self._abilities.kind_of(path)].append(path)
        return media

    def _answer(self, question: Question, media: dict[str, list[Any]]) -> Iterator[Progress]:
        given = dict(image=media["picture"] or None, video=media["clip"] or None, audio=media["sound"] or None)
        speak = question.speak and self._abilities.voice
        aloud = dict(speak=True, language=question.language) if speak else {}
        started, first_text_s, first_sound_s, pieces, text = time.perf_counter(), 0.0, 0.0, 0, ""
        events: Iterator[Event] = self._chat.stream(
            question.text.strip() or None, max_new_tokens=MAX_NEW_TOKENS, **given, **aloud
        )
        answer = None
        with closing(events):  # one who stops leaves the part that he read in the history
            for event in events:
                answer = event.answer or answer
                if event.text:
                    pieces, text = pieces + 1, text + event.text
                    first_text_s = first_text_s or time.perf_counter() - started
                if event.audio:
                    first_sound_s = first_sound_s or time.perf_counter() - started
                if event.text or event.audio:
                    yield Progress(text, event.audio)
                if self.stopped:
                    break
        facts = {"new tokens": answer.new_tokens if answer else pieces}
        if answer:
            facts = {"prompt tokens": answer.prompt_tokens} | facts
        facts |= {"first token, s": answer.time_to_first_token_s if answer else first_text_s}
        facts |= {"first sound, s": first_sound_s} if first_sound_s else {}
        facts["whole answer, s"] = time.perf_counter() - started
        yield Progress(text, facts=facts, seen=witness(self._assistant, media))

    def _written_down(self, question: Question, sounds: list["Sound"]) -> Iterator[Progress]:
        if not sounds:
            raise ValueError("found no sound; accepted: a recording or a sound file to write down")
        started, first_text_s, first_sound_s, text = time.perf_counter(), 0.0, 0.0, ""
        for text in self._texts(question, sounds):
            first_text_s = first_text_s or time.perf_counter() - started
            yield Progress(text)
            if self.stopped:
                break
        if question.speak and self._abilities.voice and text and not self.stopped:
            for [piece] in self._assistant.speak_pieces([text], question.language):
                if piece is not None:
                    first_sound_s = first_sound_s or time.perf_counter() - started
                    yield Progress(text, piece)
                if self.stopped:
                    break
        facts = {"first text, s": first_text_s} | ({"first sound, s": first_sound_s} if first_sound_s else {})
        facts["whole answer, s"] = time.perf_counter() - started
        seen = witness(self._assistant, {"picture": [], "clip": [], "sound": sounds})
        yield Progress(text, facts=facts, seen=seen)

    def _texts(self, question: Question, sounds: list["Sound"]) -> Iterator[str]:
        """What is said in all sounds so far, sound by sound, and in a long one piece by piece."""
        from speech.segments import cut_at_pauses

        texts: list[str] = []
        for sound in sounds:
            texts.append("")
            pieces = ((piece.samples, piece.sample_rate) for piece in cut_at_pauses(sound))
            for segments in transcribe(
                self._assistant.model,
                self._assistant.processor,
                pieces,
                question.language,
                translate=question.task == TRANSLATE,
            ):
                texts[-1] = " ".join([texts[-1], *(segment.text for segment in segments)]).strip()
                yield "\n\n".join(texts)


def _heard(path: str) -> "Sound":
    """A sound of a size that the page takes, opened once for the model and for the visitor's eyes."""
    from speech.audio import SoundLimits, open_sound  # not needed for text and pictures, and a second to import

    return open_sound(path, limits=SoundLimits(max_seconds=MAX_SOUND_S, deadline_s=SOUND_DEADLINE_S))


class Conversations:
    """The conversations that are open, by the session of their page; `make` opens one.

    Uploads lie by their content: two sessions that upload the same file share it, and it goes with the last.
    """

    def __init__(self, make: Callable[[], Conversation]):
        self._make, self._lock = make, threading.Lock()
        self._open: OrderedDict[str, Conversation] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def of(self, session: str) -> Conversation:
        """The conversation of a session, a new one if it has none; those long unused end."""
        with self._lock:
            conversation = self._open.pop(session, None) or self._make()
            self._open[session] = conversation
            conversation.used_s = now = time.monotonic()
            for other, (name, first) in enumerate(list(self._open.items())):
                if now - first.used_s > MAX_IDLE_S or len(self._open) - other > MAX_CONVERSATIONS:
                    self._end(name)
            return conversation

    def stop(self, session: str) -> None:
        """The session's answer in progress ends."""
        with self._lock:
            if conversation := self._open.get(session):
                conversation.stop()

    def end(self, session: str) -> None:
        """Forget the session's conversation and delete its uploads."""
        with self._lock:
            self._end(session)

    def end_all(self) -> None:
        """Forget every conversation."""
        with self._lock:
            for session in list(self._open):
                self._end(session)

    def _end(self, session: str) -> None:
        if (conversation := self._open.pop(session, None)) is None:
            return
        conversation.stop()
        shared = {path for other in self._open.values() for path in other.files}
        for path in conversation.files - shared:
            with suppress(FileNotFoundError):
                os.remove(path)
            with suppress(OSError):  # another file of the same content lies there too
                os.rmdir(os.path.dirname(path))


@contextmanager
def plain_names() -> Iterator[None]:
    """An error about a file names it as the visitor does, not by its place on the server."""
    try:
        yield
    except MediaError as error:
        raise MediaError(Path(error.name).name, error.found, error.accepted) from None
