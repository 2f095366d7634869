"""Speech encoders behind one face: sound to a memory, whether ours or others trained the weights.

Shapes: B clips, C chunks of all of them together, F rows of features of a chunk, M numbers of a row, T frames of
the output, D width.
"""

import copy
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    WhisperConfig,
    WhisperFeatureExtractor,
)
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from adapters.memory import Memory

from .conformer import STACK, Conformer, frame_mask, normalised
from .features import HOP, SAMPLE_RATE, LogMel
from .features import num_frames as num_log_mel_frames


class SpeechEncoder(nn.Module, ABC):
    """What every encoder does: `prepare` clips without weights, encode them, stay as trained once frozen.

    out_dim: D. frame_s: seconds from one frame to the next. max_seconds: how much it hears at once; longer clips
    are cut into consecutive chunks of that length, and their frames placed back to back. min_samples: the
    shortest clip that it makes features of.
    """

    sample_rate = SAMPLE_RATE
    out_dim: int
    frame_s: float
    max_seconds: float
    rows_per_s: int
    min_samples: int
    frozen = False

    @torch.no_grad()
    def prepare(self, clips: list[Tensor]) -> dict[str, Tensor]:
        """Samples [T] of each clip at 16 kHz, in [-1, 1] -> what `forward` takes, on the CPU in float32.

        features [C, F, M], frames [C]: rows of each chunk; chunks [B]: how many each clip was cut into.

        Raises ValueError if there is no clip, or one is not a row of floats or is too short.
        """
        if not clips:
            raise ValueError("found no clip; accepted: one or more")
        for clip in clips:
            if clip.ndim != 1 or not clip.is_floating_point():
                raise ValueError(f"samples are {list(clip.shape)} of {clip.dtype}; accepted: [T], floating point")
            if len(clip) < self.min_samples:
                raise ValueError(f"found a clip of {len(clip)} samples; accepted: at least {self.min_samples}")
        max_rows = round(self.max_seconds * self.rows_per_s)
        cut = [self._features(clip.detach().cpu().float()).split(max_rows) for clip in clips]
        rows = [chunk for clip in cut for chunk in clip]
        return {
            "features": pad_sequence(rows, batch_first=True),
            "frames": torch.tensor([len(chunk) for chunk in rows]),
            "chunks": torch.tensor([len(clip) for clip in cut]),
        }

    def forward(self, features: Tensor, frames: Tensor, chunks: Tensor) -> Memory:
        """What `prepare` gave -> x [B, T, D], zero where keep [B, T] is False.

        Raises ValueError if the chunks of the clips do not add up to C.
        """
        counts = chunks.tolist()
        if sum(counts) != len(features):
            raise ValueError(f"{len(features)} chunks were given for clips of {counts} chunks")
        x, keep = self._encode(features.to(self._dtype()), frames)
        return _joined(Memory(x.masked_fill(~keep.unsqueeze(-1), 0.0), keep), counts)

    @staticmethod
    @abstractmethod
    def num_frames(num_samples: int) -> int:
        """How many frames a clip of so many samples has, at most max_seconds of them."""

    @abstractmethod
    def _features(self, samples: Tensor) -> Tensor:
        """Samples [T] of one clip, however long -> rows [F, M]."""

    @abstractmethod
    def _encode(self, features: Tensor, frames: Tensor) -> Memory:
        """features [C, F, M], zero or not behind the frames [C] of each chunk -> x [C, T, D]."""

    def _dtype(self) -> torch.dtype:
        return next(weight.dtype for weight in self.parameters() if weight.is_floating_point())

    def freeze(self) -> None:
        """No gradient, and evaluation mode for good: no dropout and no dropped layer, whatever trains around it."""
        self.frozen = True
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "SpeechEncoder":
        """Training mode, if it is not frozen."""
        return super().train(mode and not self.frozen)


class ConformerEncoder(SpeechEncoder):
    """The paper's encoder: a frame every 40 ms of log-mel features that are normalised over the clip; 60 s at once.

    Source: paper 8.2.1, and 8.1.1 for the 60 s; the normalisation is our choice.
    """

    frame_s, max_seconds, rows_per_s, min_samples = STACK * HOP / SAMPLE_RATE, 60.0, SAMPLE_RATE // HOP, 1

    def __init__(self, num_mels: int, width: int, layers: int, heads: int, ffn_dim: int, kernel: int):
        super().__init__()
        self.log_mel = LogMel()
        self.conformer = Conformer(num_mels, width, layers, heads, ffn_dim, kernel)
        self.out_dim = self.conformer.out_dim

    @staticmethod
    def num_frames(num_samples: int) -> int:
        return -(-num_log_mel_frames(num_samples) // STACK)

    def _features(self, samples: Tensor) -> Tensor:
        return normalised(*self.log_mel(samples.unsqueeze(0), torch.tensor([len(samples)])))[0]

    def _encode(self, features: Tensor, frames: Tensor) -> Memory:
        return self.conformer(features, frames)


class WhisperSpeechEncoder(SpeechEncoder):
    """Whisper's encoder, run on a clip as long as it is: positions are cut to it, and padding is masked throughout.

    A frame every 20 ms, 30 s at once. Whisper itself always runs 30 s. Source: arXiv 2212.04356, 2.2; its use on
    unpadded clips is Ultravox's.
    """

    frame_s, max_seconds, rows_per_s, min_samples = 0.02, 30.0, 100, 400

    def __init__(self, config: WhisperConfig):
        super().__init__()
        self.encoder = WhisperEncoder(config)
        self.out_dim = config.d_model
        self.max_seconds = config.max_source_positions * self.frame_s
        self.extractor = WhisperFeatureExtractor(feature_size=config.num_mel_bins)

    @staticmethod
    def num_frames(num_samples: int) -> int:
        rows = -(-num_samples // 160)  # one for every 10 ms begun
        return -(-rows // 2)  # halved by the second convolution

    def _features(self, samples: Tensor) -> Tensor:
        whole_rows = dict(padding="longest", pad_to_multiple_of=self.extractor.hop_length, truncation=False)
        found = self.extractor(samples.numpy(), sampling_rate=self.sample_rate, return_tensors="pt", **whole_rows)
        return found["input_features"][0].T

    def _encode(self, features: Tensor, frames: Tensor) -> Memory:
        encoder = self.encoder
        there = frame_mask(frames, features.shape[1]).unsqueeze(1)  # [C, 1, F]
        # Behind its end a clip is silent for both convolutions, as alone: a bias would sound there otherwise.
        x = F.gelu(encoder.conv1(features.transpose(1, 2).masked_fill(~there, 0.0))).masked_fill(~there, 0.0)
        x = F.gelu(encoder.conv2(x)).transpose(1, 2)  # [C, T, D]
        keep = there[:, 0, :: encoder.conv2.stride[0]]  # frame t is in the middle of the three rows around 2 t
        x = x + encoder.embed_positions.weight[: x.shape[1]]
        x = F.dropout(x, encoder.dropout, self.training)
        see = create_bidirectional_mask(config=encoder.config, inputs_embeds=x, attention_mask=keep)
        for layer in encoder.layers:
            x = layer(x, see)
        return Memory(encoder.layer_norm(x), keep)


class W2vBertSpeechEncoder(SpeechEncoder):
    """w2v-BERT 2.0: a conformer with a frame every 20 ms.

    30 s at once is our choice: its relative positions take memory with the square of the time, half a
    gigabyte a layer then. Its own masking of inputs in training is off, for it draws from numpy's global state.
    Source: arXiv 2312.05187, 3.2.1.
    """

    frame_s, max_seconds, rows_per_s, min_samples = 0.02, 30.0, 50, 560

    def __init__(self, config: Wav2Vec2BertConfig):
        """Raises ValueError if the configuration has the adapter of that library, which changes the rate."""
        super().__init__()
        if config.add_adapter:
            raise ValueError("found add_adapter=True; accepted: an encoder without adapter")
        config = copy.deepcopy(config)
        config.apply_spec_augment = False
        self.encoder = Wav2Vec2BertModel(config)
        self.out_dim = config.hidden_size
        self.extractor = SeamlessM4TFeatureExtractor()

    @staticmethod
    def num_frames(num_samples: int) -> int:
        return (1 + (num_samples - 400) // 160) // 2  # windows of 25 ms every 10 ms, two a row

    def _features(self, samples: Tensor) -> Tensor:
        found = self.extractor(samples.numpy(), sampling_rate=self.sample_rate, return_tensors="pt")
        return found["input_features"][found["attention_mask"].bool()]  # without a last row that is half padding

    def _encode(self, features: Tensor, frames: Tensor) -> Memory:
        keep = frame_mask(frames, features.shape[1])
        return Memory(self.encoder(features, attention_mask=keep).last_hidden_state, keep)


def _joined(memory: Memory, counts: list[int]) -> Memory:
    """Chunks [C, T, D] -> clips [B, T, D]: the frames of a clip's chunks, one after the other."""
    if len(counts) == len(memory.x):
        return memory
    lengths = [int(chunk.sum()) for chunk in memory.keep.sum(1).split(counts)]
    x = pad_sequence(memory.x[memory.keep].split(lengths), batch_first=True)
    return Memory(x, frame_mask(torch.tensor(lengths, device=x.device), x.shape[1]))


ENCODERS = {"conformer": ConformerEncoder, "whisper": WhisperSpeechEncoder, "w2v-bert": W2vBertSpeechEncoder}
