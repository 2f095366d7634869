"""Conversations of the page: each knows its own chat and its own uploads, and nothing of any other."""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from adapters.media import MediaError

from ..assistant import Assistant, Event
from ..voice import Speech
from .abilities import Abilities
from .witness import Seen, witness

ANSWER, TRANSCRIBE, TRANSLATE = "Answer", "Write down what is said", "Translate what is said"
MAX_FILES = 8  # with a question (our choice)
MAX_NEW_TOKENS = 512
MAX_CONVERSATIONS = 64  # each holds its keys and values; beyond, the one longest unused ends
MAX_IDLE_S = 3600.0


@dataclass(frozen=True)
class Progress:
    """A piece of a turn: the text so far, sound that is new, and at the end what the turn took and saw."""

    text: str
    sound: Speech | None = None
    facts: dict[str, float] | None = None
    seen: Seen | None = None


class Conversation:
    """One chat; `files` are the uploads it was shown. Its methods, `stop` apart, are called one at a time."""

    def __init__(self, assistant: Assistant):
        self._assistant, self._abilities = assistant, Abilities.of(assistant)
        self._chat = assistant.chat()
        self._stopped = threading.Event()
        self.files: set[str] = set()
        self.shown: list[dict] = []  # what the page shows of it, in gradio's format
        self.turns = 0
        self.used_s = time.monotonic()

    def stop(self) -> None:
        """The answer in progress, if any, ends after its next piece, and the part written stays."""
        self._stopped.set()

    def turn(
        self, question: str, files: Sequence[str], task: str = ANSWER, language: str = "English", speak: bool = False
    ) -> Iterator[Progress]:
        """The answer to a question about files, or what is said in them, piece by piece.

        Raises ValueError, in words for a visitor, for what cannot be used.
        """
        self._stopped.clear()
        self.turns += 1
        media = self._sorted(files)
        with plain_names():
            if task in (TRANSCRIBE, TRANSLATE):
                yield from self._written_down(media["sound"], task, language)
            else:
                yield from self._answer(question, media, speak)

    def _sorted(self, files: Sequence[str]) -> dict[str, list[str]]:
        if len(files) > MAX_FILES:
            raise ValueError(f"found {len(files)} files; accepted: at most {MAX_FILES} with a question")
        media: dict[str, list[str]] = {"picture": [], "clip": [], "sound": []}
        for path in files:
            media[self._abilities.kind_of(path)].append(path)
        return media

    def _answer(self, question: str, media: dict[str, list[str]], speak: bool) -> Iterator[Progress]:
        given = dict(image=media["picture"] or None, video=media["clip"] or None, audio=media["sound"] or None)
        aloud = dict(speak=True) if speak and self._abilities.voice else {}
        started, first_text_s, first_sound_s, pieces, text = time.perf_counter(), 0.0, 0.0, 0, ""
        events: Iterator[Event] = self._chat.stream(
            question.strip() or None, max_new_tokens=MAX_NEW_TOKENS, **given, **aloud
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
                if self._stopped.is_set():
                    break
        facts = {"new tokens": answer.new_tokens if answer else pieces}
        if answer:
            facts = {"prompt tokens": answer.prompt_tokens} | facts
        facts |= {"first token, s": answer.time_to_first_token_s if answer else first_text_s}
        facts |= {"first sound, s": first_sound_s} if first_sound_s else {}
        facts["whole answer, s"] = time.perf_counter() - started
        yield Progress(text, facts=facts, seen=witness(self._assistant, media))

    def _written_down(self, sounds: list[str], task: str, language: str) -> Iterator[Progress]:
        if not sounds:
            raise ValueError("found no sound; accepted: a recording or a sound file to write down")
        started, texts = time.perf_counter(), []
        for sound in sounds:
            if self._stopped.is_set():
                break
            if task == TRANSLATE:
                texts.append(self._assistant.translate(sound, into=language))
            else:
                texts.append(self._assistant.transcribe(sound, language=language))
            yield Progress("\n\n".join(texts))
        facts = {"whole answer, s": time.perf_counter() - started}
        seen = witness(self._assistant, {"picture": [], "clip": [], "sound": sounds})
        yield Progress("\n\n".join(texts), facts=facts, seen=seen)


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
