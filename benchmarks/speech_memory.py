"""Memory of transcribing a file of one hour, beside that of five minutes.

    python -m benchmarks.speech_memory [--model FOLDER]

The files are FLAC: phrases of nano's world in held-out voices with pauses between them, again and again. Each is
transcribed in a fresh process. Required: at most 1.2 times the peak of the five minutes.
"""

import random
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import transformers
import typer

from benchmarks.hearing import load_hearing
from benchmarks.measure import head, machine, peak_memory, row
from multimodal.nano.speech.held_out import held_out_phrases, recorded
from multimodal.transcription import transcribe

MOST_MEMORY = 1.2
SHORT_S, LONG_S = 5 * 60, 60 * 60
SAMPLE_RATE, PAUSES_S = 16_000, (0.2, 2.5)  # some of them end a piece
NEW_TOKENS = 32  # of a piece, so that ears without training, which never end, do not take all day


def write_speech(path: Path, seconds: float) -> None:
    """A file of that length: every language, one phrase each, over and over; in memory is one round of them."""
    rng, said = random.Random(0), []
    for one in held_out_phrases(1):
        pause = np.zeros(round(rng.uniform(*PAUSES_S) * SAMPLE_RATE), np.float32)
        said += [recorded(one)[0].numpy(), pause]
    said, left = np.concatenate(said), round(seconds * SAMPLE_RATE)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        while left > 0:
            file.write(said[:left])
            left -= len(said)


def transcribe_file(model: str, path: str) -> None:
    """What a fresh process does to have its memory watched; prints how long it took."""
    assistant, started = load_hearing(model), time.perf_counter()
    [segments] = transcribe(assistant.model, assistant.processor, [path], "English", max_new_tokens=NEW_TOKENS)
    print(f"  {len(segments)} pieces up to {segments[-1].end_s:.0f} s in {time.perf_counter() - started:.0f} s")


def compare(model: str, short_s: float, long_s: float) -> bool:
    """Print the peaks of resident memory -> whether what is required is met."""
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for seconds in (long_s, short_s):
            path = Path(folder) / f"{seconds:.0f} s.flac"
            write_speech(path, seconds)
            peaks.append(peak_memory(transcribe_file, model, str(path)))
    long, short = peaks
    head("MiB resident at the peak", f"{long_s / 60:g} min", f"{short_s / 60:g} min")
    met = row("whole process", *(f"{one.peak / 2**20:.0f}" for one in peaks), long.peak / short.peak, most=MOST_MEMORY)
    above = [one.peak - one.imported for one in peaks]
    row("above its imports", *(f"{one / 2**20:.0f}" for one in above), above[0] / above[1])
    return met


def main(model: str = "nano") -> None:
    """Exits with 1 if the requirement is missed."""
    transformers.logging.disable_progress_bar()
    print(f"{machine()}\n")
    raise SystemExit(not compare(model, SHORT_S, LONG_S))


if __name__ == "__main__":
    typer.run(main)
