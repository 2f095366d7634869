"""Published speech encoders: Whisper's and w2v-BERT 2.0 as the hub stores them, and Ultravox with its projector.

Ultravox keeps the text core out of its files and, unless it tuned it, the Whisper encoder too; its
configuration names both. Source: transformers 5 and Ultravox's released code and checkpoints.
"""

from collections.abc import Collection, Iterator

import torch
from transformers import Wav2Vec2BertConfig, WhisperConfig

from ..config import SpeechConfig
from ..ears import build_encoder
from .table import Row, left_behind, same

ENCODER, ADAPTER = "speech.encoder.", "speech_adapter."

WHISPER_FACTS = (
    "num_mel_bins",
    "d_model",
    "encoder_layers",
    "encoder_attention_heads",
    "encoder_ffn_dim",
    "max_source_positions",
    "activation_function",
    "scale_embedding",
)
# Where a checkpoint keeps the encoder, and what else it may hold beside it.
_HOMES = {
    "whisper": (("audio_tower.", "model.encoder.", "encoder.", ""), ("model.decoder.", "decoder.", "proj_out.")),
    "w2v-bert": (("wav2vec2_bert.", ""), ("lm_head.", "projector.", "classifier.")),
}

PROJECTOR = {
    "norm_before.weight": "ln_pre.weight",
    "linear_in.weight": "linear_1.weight",
    "linear_out.weight": "linear_2.weight",
}
TRANSFORMER_PROJECTOR = {
    "norm_before.weight": "ln_pre.weight",
    "linear_in.weight": "linear_in.weight",
    "linear_in.bias": "linear_in.bias",
    "position.weight": "embed_positions.weight",
    "norm_after.weight": "ln_post.weight",
    "linear_out.weight": "linear_out.weight",
    "linear_out.bias": "linear_out.bias",
}
PROJECTOR_LAYER = {
    "attention_norm.weight": "self_attn_layer_norm.weight",
    "attention_norm.bias": "self_attn_layer_norm.bias",
    "q.weight": "self_attn.q_proj.weight",
    "q.bias": "self_attn.q_proj.bias",
    "k.weight": "self_attn.k_proj.weight",
    "v.weight": "self_attn.v_proj.weight",
    "v.bias": "self_attn.v_proj.bias",
    "out.weight": "self_attn.out_proj.weight",
    "out.bias": "self_attn.out_proj.bias",
    "ffn_norm.weight": "final_layer_norm.weight",
    "ffn_norm.bias": "final_layer_norm.bias",
    "ffn.0.weight": "fc1.weight",
    "ffn.0.bias": "fc1.bias",
    "ffn.2.weight": "fc2.weight",
    "ffn.2.bias": "fc2.bias",
}
_NOT_FACTS = ("architectures", "_name_or_path", "model_type", "transformers_version", "dtype", "torch_dtype")
ULTRAVOX = "multi_modal_projector."


def whisper_keywords(config: dict) -> dict:
    """What of a Whisper configuration its encoder depends on."""
    whole = WhisperConfig(**{name: config[name] for name in WHISPER_FACTS if name in config})
    return {name: getattr(whole, name) for name in WHISPER_FACTS}


def w2v_bert_keywords(config: dict) -> dict:
    """A w2v-BERT configuration without what tells where it comes from."""
    whole = Wav2Vec2BertConfig(**{name: value for name, value in config.items() if name not in _NOT_FACTS})
    return {name: value for name, value in whole.to_diff_dict().items() if name not in _NOT_FACTS}


def encoder_rows(speech: SpeechConfig, names: Collection[str]) -> list[Row]:
    """The table of the encoder; names: those of the files, of which the other parts of a model are left behind."""
    homes, rest = _HOMES[speech.encoder]
    with torch.device("meta"):
        encoder = build_encoder(speech).encoder
    home = next(home for home in homes if not home or any(name.startswith(home) for name in names))
    rows = [same(ENCODER + name, home + name) for name in encoder.state_dict()]
    return [*rows, *(left_behind(name) for name in sorted(names) if name.startswith(rest))]


def ultravox_config(config: dict, audio_config: dict) -> SpeechConfig:
    """Our configuration of an Ultravox model; audio_config: that of the Whisper model which it hears with.

    Raises ValueError for an encoder that is no Whisper, or streaming by blocks, which is not done here.
    """
    if audio_config.get("model_type", "whisper") != "whisper":
        raise ValueError(f"found the audio model {audio_config['model_type']!r}; accepted: whisper")
    if config.get("audio_latency_block_size"):
        raise ValueError(f"found audio_latency_block_size {config['audio_latency_block_size']}; accepted: none")
    encoder = whisper_keywords(audio_config)
    stack, layers = config.get("stack_factor", 8), config.get("num_projector_layers", 0)
    if layers:
        adapter = "transformer"
        keywords = dict(
            num_layers=layers,
            num_heads=encoder["encoder_attention_heads"],
            ffn_dim=encoder["encoder_ffn_dim"],
            max_places=encoder["max_source_positions"],
        )
    else:
        adapter = "stacking"
        keywords = dict(
            hidden_dim=config.get("hidden_size", 4096),
            activation=config.get("projector_act", "swiglu"),
            norm_in_the_middle=config.get("projector_ln_mid", False),
        )
    return SpeechConfig(
        encoder="whisper",
        encoder_keywords=encoder,
        adapter=adapter,
        adapter_keywords=keywords | {"stack": stack},
        enclosed=False,
    )


def ultravox_rows(speech: SpeechConfig, names: Collection[str]) -> list[Row]:
    """The table of an Ultravox file: the projector, and the Whisper encoder where the file has it."""
    rows = list(_projector_rows(speech))
    if any(name.startswith("audio_tower.") for name in names):
        rows += encoder_rows(speech, [name for name in names if name.startswith("audio_tower.")])
    return rows


def _projector_rows(speech: SpeechConfig) -> Iterator[Row]:
    keywords = speech.adapter_keywords
    if speech.adapter == "transformer":
        named = dict(TRANSFORMER_PROJECTOR)
        for i in range(keywords["num_layers"]):
            named |= {f"layers.{i}.{ours}": f"layers.{i}.{theirs}" for ours, theirs in PROJECTOR_LAYER.items()}
    else:
        norm = ("norm_middle", "ln_mid") if keywords["norm_in_the_middle"] else ("norm_after", "ln_post")
        named = PROJECTOR | {f"{norm[0]}.weight": f"{norm[1]}.weight"}
    for ours, theirs in named.items():
        yield same(ADAPTER + ours, ULTRAVOX + theirs)
