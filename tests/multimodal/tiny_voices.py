"""Tiny random voices, nothing trained: folders as the hub has them, and a head that hums what it is told."""

import json
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import (
    SpeechT5Config,
    SpeechT5ForTextToSpeech,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    VitsConfig,
    VitsModel,
    VitsTokenizer,
)

HOP = 160  # samples that the humming head says a letter


def vits_folder(folder: Path, num_speakers: int = 1) -> Path:
    """A VITS as MMS stores it: letters in, sound out at 16 kHz."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = ["<pad>", *"abcdefghijklmnopqrstuvwxyz' "]
    (folder / "vocab.json").write_text(json.dumps({letter: at for at, letter in enumerate(letters)}))
    tokenizer = VitsTokenizer(str(folder / "vocab.json"), language="eng", phonemize=False, unk_token="<pad>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    VitsModel(tiny_vits(len(letters), num_speakers)).save_pretrained(folder)
    return folder


def tiny_vits(vocab_size: int, num_speakers: int = 1) -> VitsConfig:
    """The sizes of a VITS that speaks at once, and draws nothing."""
    return VitsConfig(
        vocab_size=vocab_size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=16,
        flow_size=16,
        spectrogram_bins=9,
        upsample_initial_channel=16,
        upsample_rates=[4, 4],
        upsample_kernel_sizes=[8, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1]],
        prior_encoder_num_flows=1,
        prior_encoder_num_wavenet_layers=1,
        posterior_encoder_num_wavenet_layers=1,
        duration_predictor_num_flows=1,
        duration_predictor_filter_channels=16,
        num_speakers=num_speakers,
        speaker_embedding_size=8 if num_speakers > 1 else 0,
        use_stochastic_duration_prediction=False,
        noise_scale=0.0,
    )


def speecht5_folder(folder: Path, tokenizer) -> Path:
    """A SpeechT5 with a vocoder beside it."""
    torch.manual_seed(0)
    sizes = dict(hidden_size=16, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=16, decoder_layers=1)
    sizes |= dict(decoder_attention_heads=2, decoder_ffn_dim=16, speech_decoder_prenet_units=16, num_mel_bins=8)
    sizes |= dict(speech_decoder_postnet_units=8, speaker_embedding_dim=4, vocab_size=len(tokenizer))
    SpeechT5ForTextToSpeech(SpeechT5Config(**sizes)).save_pretrained(folder)
    vocoder = SpeechT5HifiGanConfig(model_in_dim=8, upsample_initial_channel=16, upsample_rates=[4, 4])
    vocoder.upsample_kernel_sizes, vocoder.resblock_kernel_sizes = [8, 8], [3]
    vocoder.resblock_dilation_sizes = [[1]]
    SpeechT5HifiGan(vocoder).save_pretrained(folder / "vocoder")
    tokenizer.save_pretrained(folder)
    return folder


class HummingHead(nn.Module):
    """The shape of `tts.head.SpeechHead`: for each letter a stretch as loud as the core's state is large.

    The last letter of a row waits for the next, as a head with lookahead does.
    """

    def __init__(self, hidden_dim: int | None = None, speakers: tuple[str, ...] = ("low", "high")):
        super().__init__()
        self.hidden_dim, self.speakers, self.sample_rate = hidden_dim, speakers, 16_000
        self.told: list[tuple] = []

    def start(self, rows: int = 1, language: str = "en", speaker=None, rate: float = 1.0, pitch: float = 1.0):
        self.told.append((rows, language, speaker, rate, pitch))
        return _Hum(rows, round(HOP / rate))


class _Hum:
    def __init__(self, rows: int, hop: int):
        self.hop, self.waiting = hop, [torch.zeros(0)] * rows

    def push(self, texts: list[str], hidden: Tensor | None) -> list[Tensor]:
        given = []
        for row, text in enumerate(texts):
            loud = 0.5 if hidden is None else float(hidden[row].abs().mean().clamp(max=1.0))
            sound = torch.cat([self.waiting[row], torch.full((self.hop * len(text),), loud)])
            keep = min(self.hop, len(sound))
            given.append(sound[: len(sound) - keep])
            self.waiting[row] = sound[len(sound) - keep :]
        return given

    def flush(self) -> list[Tensor]:
        rows, self.waiting = self.waiting, [torch.zeros(0)] * len(self.waiting)
        return rows
