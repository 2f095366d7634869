"""Seconds of sound that are transcribed in a second, 16 sounds at once: ours beside Whisper of the same size.

    python -m benchmarks.speech_rtf [--model FOLDER] [--batches 2] [--rounds 5]

Theirs: `WhisperForConditionalGeneration` whose encoder has as many parameters as our encoder with its adapter, and
whose decoder has as many as the text core, with random weights. Both get the same sounds, phrases of nano's world in
held-out voices, as arrays, prepare them themselves, and write as many tokens as the longest transcript of all has.
Required: at least 50 seconds a second on two cores, and at least 1.5 times Whisper's. As Whisper always encodes 30 s,
sounds of nearly that length stand beside them, about which nothing is required.
"""

import statistics
from dataclasses import dataclass
from functools import partial

import torch
import transformers
import typer
from torch import nn
from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from benchmarks.hearing import load_hearing
from benchmarks.measure import head, in_turns, machine, ratio, row
from multimodal.assistant import Assistant
from multimodal.languages import LANGUAGES
from multimodal.nano.speech.held_out import Sound, held_out_phrases, recorded
from multimodal.transcription import BATCH, transcribe

LEAST_RATIO, LEAST_RTFX = 1.5, 50
SAMPLE_RATE, MOST_S = 16_000, 30  # Whisper hears 30 s at once
LONG = 8  # phrases in a sound of nearly that length


@dataclass(frozen=True)
class Sounds:
    """Sounds of a benchmark, their length in all, and how many tokens the longest of their transcripts has."""

    sounds: list[Sound]
    seconds: float
    tokens: int


def some_sounds(assistant: Assistant, number: int, phrases_each: int = 1) -> Sounds:
    """So many sounds, every language in turn; phrases_each: said one after the other in each of them."""
    phrases = held_out_phrases(-(-number * phrases_each // len(LANGUAGES)))
    turns = len(phrases) // len(LANGUAGES)
    phrases = [one for turn in range(turns) for one in phrases[turn::turns]]
    groups = [phrases[at * phrases_each : (at + 1) * phrases_each] for at in range(number)]
    sounds = [(torch.cat([recorded(one)[0] for one in group])[: MOST_S * SAMPLE_RATE], SAMPLE_RATE) for group in groups]
    told = [" ".join(one.text for one in group) for group in groups]
    tokens = max(len(assistant.processor.tokenizer(text, add_special_tokens=False).input_ids) for text in told)
    return Sounds(sounds, sum(len(samples) / rate for samples, rate in sounds), tokens + 1)  # and the end of the turn


def ours(assistant: Assistant, sounds: Sounds) -> list[str]:
    """Through the public face, every text as long as the longest."""
    assistant.model.generation_config.min_new_tokens = sounds.tokens
    found = transcribe(assistant.model, assistant.processor, sounds.sounds, "English", max_new_tokens=sounds.tokens)
    return [" ".join(segment.text for segment in segments) for segments in found]


def count(*modules: nn.Module) -> int:
    """Parameters that are trained somewhere: Whisper's positions in its encoder are a formula."""
    return sum(
        value.numel()
        for module in modules
        for name, value in module.named_parameters()
        if "encoder.embed_positions" not in name and name != "embed_positions.weight"
    )


def whisper(assistant: Assistant) -> WhisperForConditionalGeneration:
    """Whisper as wide as the core, as deep as each of our parts; its feed-forward widths make up the same sizes."""
    torch.manual_seed(0)
    model = assistant.model
    text, speech = model.config.text_config, model.config.speech_config
    wanted = count(model.speech, model.speech_adapter), count(model.core)

    def build(encoder_ffn: int, decoder_ffn: int) -> WhisperForConditionalGeneration:
        config = WhisperConfig(
            vocab_size=text.vocab_size,
            d_model=text.hidden_size,
            encoder_layers=(speech.encoder_keywords or {})["layers"],
            decoder_layers=text.num_hidden_layers,
            encoder_attention_heads=text.num_attention_heads,
            decoder_attention_heads=text.num_attention_heads,
            encoder_ffn_dim=encoder_ffn,
            decoder_ffn_dim=decoder_ffn,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
        )
        return WhisperForConditionalGeneration(config)

    small = build(8, 8).model
    each = 2 * text.hidden_size + 1  # parameters of one more place in a feed-forward network: a row, a column, a bias
    ffn = [
        max(8, 8 + round((target - count(part)) / (each * len(part.layers))))
        for target, part in zip(wanted, (small.encoder, small.decoder), strict=True)
    ]
    theirs = build(*ffn).eval()
    theirs.generation_config = GenerationConfig(
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1
    )
    return theirs


def write_by_whisper(model: WhisperForConditionalGeneration, sounds: Sounds) -> int:
    """Features and greedy tokens of all sounds, a batch at a time -> how many tokens each got."""
    extractor, written = WhisperFeatureExtractor(), 0
    for start in range(0, len(sounds.sounds), BATCH):
        batch = [samples.numpy() for samples, _ in sounds.sounds[start : start + BATCH]]
        features = extractor(batch, sampling_rate=16_000, return_tensors="pt").input_features
        tokens = dict(max_new_tokens=sounds.tokens, min_new_tokens=sounds.tokens)
        written = model.generate(features, **tokens, do_sample=False).shape[1]
    return written


def compare(assistant: Assistant, batches: int, rounds: int) -> bool:
    """Print both and their ratio, for sounds of a phrase and for long ones -> whether what is required is met."""
    theirs = whisper(assistant)
    mine = count(assistant.model.speech, assistant.model.speech_adapter), count(assistant.model.core)
    other = count(theirs.model.encoder), count(theirs.model.decoder)
    print(f"parameters of encoder and decoder: {mine[0]:,} and {mine[1]:,}, theirs {other[0]:,} and {other[1]:,}\n")
    head("seconds of sound a second", "ours", "Whisper")
    found, met = {}, True
    for name, phrases, number in (("phrases", 1, batches * BATCH), ("nearly 30 s", LONG, BATCH)):
        sounds = some_sounds(assistant, number, phrases)
        seconds = in_turns([partial(ours, assistant, sounds), partial(write_by_whisper, theirs, sounds)], rounds)
        found[name] = [sounds.seconds / statistics.median(of_side) for of_side in seconds]
        least = LEAST_RATIO if phrases == 1 else None
        met &= row(name, *(f"{one:.1f}" for one in found[name]), ratio(seconds[1], seconds[0]), least=least)
        print(f"  {number} sounds of {sounds.seconds / number:.1f} s, {sounds.tokens} tokens each")
    enough = found["phrases"][0] >= LEAST_RTFX
    print(f"ours, phrases: at least {LEAST_RTFX} on two cores: {'met' if enough else 'MISSED'}")
    return met and enough


def main(model: str = "nano", batches: int = 2, rounds: int = 5) -> None:
    """Exits with 1 if a requirement is missed."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print(f"{machine()}\n")
    with torch.no_grad():
        met = compare(load_hearing(model), batches, rounds)
    raise SystemExit(not met)


if __name__ == "__main__":
    typer.run(main)
