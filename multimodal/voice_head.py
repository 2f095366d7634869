"""Our own voice: the streaming head of `tts`, conditioned on the core's states."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from torch import Tensor

from .core_states import CoreStates, StateStream
from .languages import find_language
from .model import MultimodalLlama
from .processor import MultimodalLlamaProcessor
from .voice import CONFIG, WEIGHTS, Speaking

if TYPE_CHECKING:
    from tts.head import SpeechHead, SpeechStream


READ_AT_ONCE = 16  # tokens of a known text: few enough that the first sound waits for no more (our choice)


class HeadVoice:
    """A `SpeechHead` beside a core: each token that is written goes to it with the core's state of that token.

    Raises ValueError if the head was trained on states of another width than this core's.
    """

    def __init__(self, head: "SpeechHead", model: MultimodalLlama, processor: MultimodalLlamaProcessor):
        self.head = head.eval()
        self.states = CoreStates(model, processor) if head.hidden_dim is not None else None
        if self.states and self.states.hidden_dim != head.hidden_dim:
            raise ValueError(
                f"this voice was trained around another core: on states of width {head.hidden_dim}, not "
                f"{self.states.hidden_dim}"
            )
        self.sample_rate, self.speakers = head.sample_rate, tuple(head.speakers)

    @classmethod
    def load(cls, folder: Path, model: MultimodalLlama, processor: MultimodalLlamaProcessor) -> "HeadVoice":
        """The head in a folder. Raises ValueError if it is damaged or was made for another core."""
        from tts.head import load_head
        from tts.spoken_numbers import import_ahead

        import_ahead()
        try:
            head = load_head(folder / CONFIG, folder / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{folder / WEIGHTS}: found no readable safetensors file ({error})") from error
        return cls(head.to(model.device), model, processor)

    def start(self, how: Speaking, rows: int = 1) -> "_Stream":
        """Raises ValueError for an unknown speaker."""
        if how.speaker is not None and how.speaker not in self.speakers:
            raise ValueError(f"found speaker {how.speaker!r}; accepted by this voice: {', '.join(self.speakers)}")
        code = find_language(how.language).code
        stream = self.head.start(rows, language=code, speaker=how.speaker, rate=how.rate, pitch=how.pitch)
        return _Stream(stream, self.states.start(rows) if self.states else None)

    def save(self, folder: Path, by_name: bool = False) -> None:
        """Beside a model, whole: a head is never left out, since it was trained for its core."""
        from tts.head import save_head

        save_head(self.head, folder / CONFIG, folder / WEIGHTS)


class _Stream:
    """Texts through the head; states of tokens that are known before come many at a time."""

    def __init__(self, stream: "SpeechStream", states: StateStream | None):
        self._stream, self._states = stream, states
        self._expected, self._ready = torch.zeros(0, 0, dtype=torch.long), torch.zeros(0)  # tokens [B, T], states

    def expect(self, tokens: Sequence[Sequence[int]]) -> None:
        """The tokens that are going to be pushed."""
        self._expected = torch.tensor(tokens)

    @torch.no_grad()
    def push(self, texts: Sequence[str], tokens: Sequence[int]) -> list[Tensor]:
        """Texts and the tokens that they came with -> samples a row."""
        return self._stream.push(list(texts), None if self._states is None else self._state(tokens))

    @torch.no_grad()
    def flush(self) -> list[Tensor]:
        """The rest of each row's samples."""
        return self._stream.flush()

    def _state(self, tokens: Sequence[int]) -> Tensor:
        """The state of the newest token [B, D]."""
        if not self._ready.numel():
            now = torch.tensor(tokens).unsqueeze(1)
            known = self._expected[:, :READ_AT_ONCE]
            assert not known.numel() or torch.equal(known[:, :1], now)
            self._expected = self._expected[:, READ_AT_ONCE:]
            self._ready = self._states.push(known if known.numel() else now).float()
        state, self._ready = self._ready[:, 0], self._ready[:, 1:]
        return state
