"""Sound of any length to text: cut at pauses, pieces in batches, each by the paper's prompt (8.3)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import LogitsProcessor, LogitsProcessorList

from adapters.token_adapter import TokenAdapter

from .alignment import Word, word_times
from .generation import end_tokens
from .languages import find_language
from .model import MultimodalLlama
from .processor import MultimodalLlamaProcessor

if TYPE_CHECKING:
    from speech.segments import Piece

TRANSCRIBE = "Repeat after me in {language}:"
TRANSLATE = "Translate the following sentence into {language}:"
BATCH = 16  # pieces at once,
BATCH_S = 240.0  # and so many seconds with their padding: an hour then takes no more memory than five minutes
MAX_NEW_TOKENS = 448  # of a piece of at most a minute


@dataclass(frozen=True)
class Segment:
    """A piece of a sound and what is said in it; times in seconds from the beginning of the sound.

    `words`: with their own times, where they were asked for and the encoder can tell.
    """

    start_s: float
    end_s: float
    text: str
    words: tuple[Word, ...] = ()


def transcribe(
    model: MultimodalLlama,
    processor: MultimodalLlamaProcessor,
    sounds: Iterable[Any],
    language: str,
    translate: bool = False,
    words: bool = False,
    progress: bool = False,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> Iterator[list[Segment]]:
    """The segments of each sound, in the order of the sounds, each when it is done.

    language: of the text wanted; words: tell when each was said; progress: show a bar over the seconds
    done, of all seconds where a list of sounds tells how long each is; max_new_tokens: of a piece. Pieces of
    several sounds share a batch, and no more than a batch of them is in memory at once.

    Raises MediaError for a sound that cannot be used, ValueError for an unknown language, or for words of
    an encoder that names no letters.
    """
    # not needed for text and pictures, and a second to import
    from speech.audio import seconds_of
    from speech.segments import cut_at_pauses

    system = (TRANSLATE if translate else TRANSCRIBE).format(language=find_language(language).name)
    segments: dict[int, list[Segment]] = {}
    waiting: list[tuple[int, Piece]] = []
    lengths_s = [seconds_of(sound) for sound in sounds] if progress and isinstance(sounds, Sequence) else [None]
    total_s = None if None in lengths_s else sum(lengths_s)
    reached_s: dict[int, float] = defaultdict(float)  # of each sound
    with tqdm(desc="transcribed", total=total_s, unit="s", unit_scale=True, disable=not progress) as bar:

        def reach(number: int, second: float) -> None:
            bar.update(second - reached_s[number])
            reached_s[number] = second

        def finished(numbers: Iterable[int]) -> list[list[Segment]]:
            if total_s is not None:
                for number in numbers:
                    reach(number, lengths_s[number])  # the silence at its end
            return [segments.pop(number) for number in numbers]

        def write() -> None:
            pieces = [piece for _, piece in waiting]
            texts = _write(model, processor, system, pieces, max_new_tokens, as_said=not translate)
            for (number, piece), text in zip(waiting, texts, strict=True):
                times = word_times(model, piece.samples, text, piece.start_s) if words else ()
                segments[number].append(Segment(piece.start_s, piece.end_s, text, times))
                reach(number, piece.end_s)
            waiting.clear()

        for number, sound in enumerate(sounds):
            segments[number] = []
            for piece in cut_at_pauses(sound):
                if waiting and not _fits(piece, [one for _, one in waiting]):
                    write()
                waiting.append((number, piece))
            first_waiting = waiting[0][0] if waiting else number + 1
            yield from finished([done for done in sorted(segments) if done < first_waiting])
        if waiting:
            write()
        yield from finished(sorted(segments))


def _fits(piece: "Piece", batch: Sequence["Piece"]) -> bool:
    """Whether a batch takes one more piece: in their number, and in the seconds that all of them are padded to."""
    longest = max(one.end_s - one.start_s for one in (piece, *batch))
    return len(batch) < BATCH and (len(batch) + 1) * longest <= BATCH_S


class _OnlyWhatWasHeard(LogitsProcessor):
    """Each row may write the tokens that it was told [B, V], each as often, and no others.

    A core that loses its thread would write one word without end, or another month than was heard.
    """

    def __init__(self, prompt: int, told: Tensor, ends: Iterable[int]):
        self.prompt, self.told, self.ends = prompt, told, list(ends)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        written = input_ids[:, self.prompt :]
        left = self.told.scatter_add(1, written, -torch.ones_like(written))
        left[:, self.ends] = 1
        return scores.masked_fill(left <= 0, -torch.inf)


@torch.no_grad()
def _write(
    model: MultimodalLlama,
    processor: MultimodalLlamaProcessor,
    system: str,
    pieces: Sequence["Piece"],
    max_new_tokens: int,
    as_said: bool,
) -> list[str]:
    """The text of each piece, greedily, all in one batch.

    as_said: in the language spoken, so that where an adapter tells a core tokens, no text has others or more of them.
    """
    conversations = [
        [
            {"role": "system", "content": system},
            {"role": "user", "content": [{"type": "audio", "audio": (piece.samples, piece.sample_rate)}]},
        ]
        for piece in pieces
    ]
    inputs = processor.apply_chat_template(conversations, tokenize=True, add_generation_prompt=True)
    inputs = {name: value.to(model.device) for name, value in inputs.items()}
    prompt = inputs["input_ids"].shape[1]
    heard = model.hear(inputs["input_ids"], inputs.pop("speech_samples"), inputs.pop("speech_lengths"))
    only = LogitsProcessorList()
    if as_said and isinstance(model.speech_adapter, TokenAdapter):
        told = model.speech_adapter.tokens_told(heard, model.core.get_input_embeddings().weight)
        only.append(_OnlyWhatWasHeard(prompt, told, end_tokens(model)))
    how = dict(max_new_tokens=max_new_tokens, do_sample=False, logits_processor=only)
    answers = model.generate(**inputs, speech_embeddings=heard, **how)[:, prompt:]
    return [text.strip() for text in processor.batch_decode(answers, skip_special_tokens=True)]
