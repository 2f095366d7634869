"""How soon a voice is heard, and how fast it speaks: ours beside `VitsModel` of the size of facebook/mms-tts-eng.

    python -m benchmarks.voice [--model FOLDER] [--rounds 7] [--threads 2]

Both say the same sentence of 20 words. Theirs has random weights, and gives its sound whole, as it is made to do. Ours
is a trained voice and gets the sentence token by token, each with the core's state, which is computed then and there.
Required: first sound after at most 0.2 of their time, and less time for a second of sound. Ours alone, on sentences
that are written token by token: first sound at most 60 ms after the tokens of the first word began to come (median; 120
ms for 95 of 100), before the fifth word is written, and at most 0.1 s for a second of sound. What the core takes to
write is not counted.
"""

import statistics
import time
from dataclasses import dataclass

import torch
import typer
from transformers import VitsConfig, VitsModel

from benchmarks.measure import Ratio, head, in_turns, machine, ratio, row
from multimodal import Assistant, load
from multimodal.generation import TextStream
from multimodal.voice import Speaking

MOST_FIRST, MOST_P50_S, MOST_P95_S, MOST_RTF, WORDS_BEFORE = 0.2, 0.06, 0.12, 0.1, 5
SENTENCE = "There are three large red circles, two small blue squares and one green star in the middle of the picture."
SENTENCES = (
    SENTENCE,
    "It is Monday, the third of May.",
    "The capital of France is Paris.",
    "There is a small yellow triangle left of the ring.",
    "Two plus three is five, and five plus five is ten.",
    "Yes, there is a blue cross below the large circle.",
    "The red square moves to the right and then vanishes.",
    "After Tuesday comes Wednesday, and then Thursday.",
    "I see four things: a star, a ring, a cross and a square.",
    "No, the picture shows no purple things at all.",
)


@dataclass(frozen=True)
class Heard:
    """One sentence said: seconds to its first sound and to its last, of sound, and words written before the first."""

    first_s: float
    total_s: float
    sound_s: float
    words: int


def say(assistant: Assistant, text: str) -> Heard:
    """Push a text token by token, as fast as it is taken; the clock starts before the first token."""
    voice, tokenizer = assistant.voice, assistant.processor.tokenizer
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    written, stream = TextStream(tokenizer), voice.start(Speaking())
    pieces = [(written.push(token), token) for token in tokens]
    started, first_s, samples, so_far, words = time.perf_counter(), None, 0, "", 0
    for added, token in pieces:
        so_far += added
        samples += len(stream.push([added], [token])[0])
        if samples and first_s is None:
            first_s, words = time.perf_counter() - started, len(so_far.split())
    samples += len(stream.flush()[0])
    total_s = time.perf_counter() - started
    return Heard(first_s or total_s, total_s, samples / voice.sample_rate, words or len(text.split()))


def vits(config: VitsConfig | None = None) -> VitsModel:
    """MMS' size is the library's default."""
    torch.manual_seed(0)
    return VitsModel(config or VitsConfig()).eval()


def letters(text: str, model: VitsModel) -> torch.Tensor:
    """A text as MMS' tokenizer makes it: a letter, a blank, a letter ... -> ids [1, T]."""
    ids = [0]
    for letter in text.lower():
        ids += [ord(letter) % (model.config.vocab_size - 1) + 1, 0]
    return torch.tensor([ids])


@torch.no_grad()
def say_whole(model: VitsModel, text: str) -> float:
    """Seconds of sound that it made of a text."""
    return model(letters(text, model)).waveform.shape[-1] / model.config.sampling_rate


def compare(assistant: Assistant, theirs: VitsModel, rounds: int) -> bool:
    """Print ours beside theirs on the sentence of 20 words -> whether what is required is met."""
    ours: list[Heard] = []
    sound: list[float] = []
    sides = [
        lambda: ours.append(say(assistant, SENTENCE)),
        lambda: sound.append(say_whole(theirs, SENTENCE)),
    ]
    _, whole_s = in_turns(sides, rounds)
    ours, sound = ours[-rounds:], sound[-rounds:]
    first_s = [one.first_s for one in ours]
    rates = [one.total_s / one.sound_s for one in ours]
    their_rates = [taken / said for taken, said in zip(whole_s, sound, strict=True)]
    head(f"a sentence of {len(SENTENCE.split())} words", "ours", "VITS")
    met = _row("seconds to the first sound", first_s, whole_s, MOST_FIRST)
    met &= _row("seconds for a second of sound", rates, their_rates, 1.0)
    print(f"seconds of sound: {statistics.median(one.sound_s for one in ours):.2f}, {statistics.median(sound):.2f}")
    return met


def _row(name: str, ours: list[float], theirs: list[float], most: float) -> bool:
    of: Ratio = ratio(ours, theirs)
    return row(name, *(f"{statistics.median(side):.3f}" for side in (ours, theirs)), of, most=most)


def measure_alone(assistant: Assistant, rounds: int) -> bool:
    """Print our own figures over all sentences -> whether what is required is met."""
    heard = [say(assistant, text) for _ in range(rounds) for text in SENTENCES]
    first = sorted(one.first_s for one in heard)
    rtf = sum(one.total_s for one in heard) / sum(one.sound_s for one in heard)
    words = max(one.words for one in heard)
    met = True
    for name, value, most in (
        ("ms to the first sound, p50", 1000 * first[len(first) // 2], 1000 * MOST_P50_S),
        ("ms to the first sound, p95", 1000 * first[len(first) * 95 // 100], 1000 * MOST_P95_S),
        ("words written by then, at most", words, WORDS_BEFORE - 1),
        ("seconds for a second of sound", rtf, MOST_RTF),
    ):
        met &= value <= most
        print(f"{name:<36}{value:>13.3f}   at most {most:g}: {'met' if value <= most else 'MISSED'}", flush=True)
    return met


def main(model: str = "nano", rounds: int = 7, threads: int = 2) -> None:
    """Exits with 1 if a requirement is missed."""
    torch.set_num_threads(threads)
    assistant = load(model)
    print(f"{machine()}\nmodel {model}, {rounds} rounds\n")
    say(assistant, SENTENCE)
    met = measure_alone(assistant, rounds)
    print()
    met &= compare(assistant, vits(), rounds)
    raise SystemExit(not met)


if __name__ == "__main__":
    typer.run(main)
