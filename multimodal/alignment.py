"""When each word of a transcript was said: the letters that a CTC head names, aligned to the text.

Only encoders that were taught to spell have such a head (`SpeechConfig.letters`); nano's is one.
"""

import unicodedata
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from .model import MultimodalLlama

BLANK = 0


@dataclass(frozen=True)
class Word:
    """A word of a transcript and when it is said, in seconds from the beginning of the sound."""

    start_s: float
    end_s: float
    text: str


@torch.no_grad()
def word_times(model: MultimodalLlama, samples: Tensor, text: str, offset_s: float = 0.0) -> tuple[Word, ...]:
    """The words of `text`, said in samples [N] at 16 kHz, each from its first letter's frame to its last's.

    A word without any letter of the head's is left out; where there are more letters than frames, none
    can be placed and there are no words. offset_s: of the samples in the whole sound.

    Raises ValueError if the model has no head that names letters.
    """
    if model.speech_letters is None:
        raise ValueError(
            "found a model whose speech encoder names no letters; accepted: one with speech_config.letters"
        )
    prepared = {name: value.to(model.device) for name, value in model.speech.prepare([samples]).items()}
    x, keep = model.speech(**prepared)
    logits = model.speech_letters(x[0][keep[0]])  # [T, letters + 1]
    words, targets, word_of = text.split(), [], []
    for at, word in enumerate(words):
        named = [model.config.speech_config.letters.index(one) + 1 for one in _heard(word, model)]
        targets += named
        word_of += [at] * len(named)
    frames = letter_frames(logits, targets)
    spans: dict[int, list[int]] = {}
    for at, frame in zip(word_of, frames, strict=False):  # no frames: nothing could be placed
        spans.setdefault(at, []).append(frame)
    step = model.speech.frame_s
    return tuple(
        Word(round(offset_s + min(of_word) * step, 3), round(offset_s + (max(of_word) + 1) * step, 3), words[at])
        for at, of_word in spans.items()
    )


def letter_frames(logits: Tensor, targets: list[int]) -> list[int]:
    """The first frame of each target letter on the likeliest path: logits [T, letters + 1] -> one frame a target.

    Empty if there are more targets, and blanks that must part equal neighbours, than frames.
    """
    from torchaudio.functional import forced_align  # not needed for text and pictures, and slow to import

    parted = sum(one == other for one, other in pairwise(targets))
    if not targets or len(targets) + parted > len(logits):
        return []
    logs = logits.float().log_softmax(-1).unsqueeze(0).cpu()
    path = forced_align(logs, torch.tensor([targets], dtype=torch.int32), blank=BLANK)[0][0].tolist()
    before = [BLANK, *path]
    return [frame for frame, one in enumerate(path) if one != BLANK and one != before[frame]]


def _heard(word: str, model: MultimodalLlama) -> list[str]:
    known = set(model.config.speech_config.letters)
    return [letter for letter in unicodedata.normalize("NFC", word.lower()) if letter in known]
