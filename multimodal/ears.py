"""From a configuration to a speech encoder and the adapter behind it."""

from typing import TYPE_CHECKING

from torch import nn

from adapters.speech_adapter import SpeechAdapter, StackingProjector, StackingTransformer
from adapters.token_adapter import TokenAdapter

from .config import SpeechConfig

if TYPE_CHECKING:
    from speech.encoders import SpeechEncoder

_ADAPTERS = {
    "rotary": SpeechAdapter,
    "tokens": TokenAdapter,
    "stacking": StackingProjector,
    "transformer": StackingTransformer,
}


def build_ears(config: SpeechConfig, out_dim: int) -> tuple["SpeechEncoder", nn.Module]:
    """The encoder and the adapter of a configuration, around a core of width out_dim; the encoder is frozen."""
    encoder = build_encoder(config)
    in_dim = len(config.letters) + 1 if config.adapter == "tokens" else encoder.out_dim
    adapter = _ADAPTERS[config.adapter](in_dim=in_dim, out_dim=out_dim, **(config.adapter_keywords or {}))
    encoder.freeze()
    return encoder, adapter


def build_encoder(config: SpeechConfig) -> "SpeechEncoder":
    """The encoder alone."""
    # not needed for text and pictures, and a second to import
    from transformers import Wav2Vec2BertConfig, WhisperConfig

    from speech.encoders import ENCODERS

    keywords, of_library = config.encoder_keywords or {}, {"whisper": WhisperConfig, "w2v-bert": Wav2Vec2BertConfig}
    if config.encoder in of_library:
        return ENCODERS[config.encoder](of_library[config.encoder](**keywords))
    return ENCODERS[config.encoder](**keywords)
