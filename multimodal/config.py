"""The configuration of the composed model: facts that its weights depend on, and nothing else."""

from dataclasses import fields

from transformers import LlamaConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

ENCODERS = ("open_clip", "llama-3.2")
SPEECH_ENCODERS = ("conformer", "whisper", "w2v-bert")
SPEECH_ADAPTERS = ("rotary", "tokens", "stacking", "transformer")
NUM_EXTRA_TOKENS = 8  # rows of our own embedding table, as many as the released vision models have


def every_fourth(text_config: PreTrainedConfig) -> list[int]:
    """The core's layers before which an image block stands, as published: 3, 7, 11, ... (paper 7.2.2)."""
    return list(range(3, text_config.num_hidden_layers, 4))


class VisionConfig(PreTrainedConfig):
    """Which picture encoder, and its keywords; the defaults are the paper's encoder (7.2.1).

    `encoder`: "open_clip" for `vision.encoder.PictureEncoder`, "llama-3.2" for
    `vision.llama_tower.LlamaVisionTower`. A keyword that is None is left to the encoder.

    Raises ValueError for another encoder.
    """

    model_type = "multimodal_llama_vision"
    base_config_key = "vision_config"

    encoder: str = "open_clip"
    tile_px: int = 336
    patch_px: int = 14
    width: int = 1280
    layers: int = 32
    heads: int = 16
    mlp_ratio: float = 4.0
    taps: list[int] | tuple[int, ...] = (4, 8, 16, 24, 31)
    num_global_layers: int = 8
    stem_widths: list[int] | tuple[int, ...] | None = None
    trunk_options: list[str] | tuple[str, ...] | None = None
    max_tiles: int = 4

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.encoder not in ENCODERS:
            raise ValueError(f"the picture encoder is {self.encoder!r}; accepted: {', '.join(ENCODERS)}")

    @property
    def keywords(self) -> dict:
        """The encoder's keywords, without what every configuration of the library carries."""
        other = {field.name for field in fields(PreTrainedConfig)} | {"encoder"}
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in other}
        return {name: value for name, value in values.items() if value is not None}


class SpeechConfig(PreTrainedConfig):
    """Which speech encoder and which adapter, each with its keywords, and how speech stands in a text.

    `encoder`: a key of `speech.encoders.ENCODERS`; `adapter`: of `adapters.speech_adapter` "rotary" is
    `SpeechAdapter`, "stacking" `StackingProjector`, "transformer" `StackingTransformer`, and "tokens" is
    `adapters.token_adapter.TokenAdapter`; their input and output widths follow from the encoder, or its
    letters, and the core. `enclosed`: our two tokens stand around speech.
    `letters`: what a head on the encoder's frames names, counted from 1 (0 is CTC's blank); None: no head.

    Raises ValueError for another encoder or adapter, and for the adapter "tokens" without letters to read.
    """

    model_type = "multimodal_llama_speech"
    base_config_key = "speech_config"

    encoder: str = "conformer"
    encoder_keywords: dict | None = None
    adapter: str = "rotary"
    adapter_keywords: dict | None = None
    enclosed: bool = True
    letters: list[str] | tuple[str, ...] | None = None

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        for what, found, accepted in (
            ("encoder", self.encoder, SPEECH_ENCODERS),
            ("adapter", self.adapter, SPEECH_ADAPTERS),
        ):
            if found not in accepted:
                raise ValueError(f"the speech {what} is {found!r}; accepted: {', '.join(accepted)}")
        if self.adapter == "tokens" and not self.letters:
            raise ValueError("the speech adapter is 'tokens' and letters is empty; accepted: letters for it to read")

    @property
    def stride(self) -> int:
        """How many frames of the encoder make an embedding."""
        return 2 if self.adapter in ("rotary", "tokens") else self.adapter_keywords["stack"]


class VideoConfig(PreTrainedConfig):
    """How frames of a clip, each seen by the picture encoder, become a memory; see `video.encoder.VideoEncoder`.

    The defaults are for the 8B: up to 64 frames, 32 consecutive ones aggregated to one (paper 7.2.3); width
    and depth of the aggregator, which the paper does not tell, are ours and meet its count of parameters.
    `max_frames`: so many are sampled of a longer clip; `max_tiles`: of a frame, None for as many as a picture has.
    """

    model_type = "multimodal_llama_video"
    base_config_key = "video_config"

    width: int = 2048
    layers: int = 2
    heads: int = 16
    mlp_ratio: float = 4.0
    frames_per_aggregate: int = 32
    max_frames: int = 64
    max_tiles: int | None = None

    @property
    def keywords(self) -> dict:
        """Those of the encoder; how many frames are sampled, and how they are cut, concerns the processor."""
        names = ("width", "layers", "heads", "mlp_ratio", "frames_per_aggregate")
        return {name: getattr(self, name) for name in names}


class MultimodalLlamaConfig(PreTrainedConfig):
    """A Llama 3 text core and what is attached to it.

    `image_layers`: the core's layers, counted from 0, before which an image block stands; None means
    before every fourth (3, 7, 11, ...), as published (paper 7.2.2). `video_layers`: those before which a
    video block stands, ahead of an image block; None means before every fourth image block (15, 31, ...;
    paper 7.2.3). `vision_config` None: no eyes; `video_config` None: no clips, which need eyes;
    `speech_config` None: no ears.
    The ids of our own tokens follow the core's vocabulary, and their embeddings stand in our table.
    `sources`: where parts of the model come from, {"core": {"id": ..., "revision": ...}}, and
    `left_out`: which of them the folder of this configuration leaves there (see `checkpoint.py`).

    Raises ValueError if an image or video layer is none of the core's, if clips have no eyes or no layer, or
    frames more tiles than pictures, or if a source has no id.
    """

    model_type = "multimodal_llama"
    sub_configs_defaults = {
        "text_config": LlamaConfig,
        "vision_config": SubConfigSpec(config_class=VisionConfig, optional=True),
        "video_config": SubConfigSpec(config_class=VideoConfig, optional=True),
        "speech_config": SubConfigSpec(config_class=SpeechConfig, optional=True),
    }

    text_config: dict | PreTrainedConfig | None = None
    vision_config: dict | PreTrainedConfig | None = None
    video_config: dict | PreTrainedConfig | None = None
    speech_config: dict | PreTrainedConfig | None = None
    image_layers: list[int] | None = None
    video_layers: list[int] | None = None
    sources: dict[str, dict] | None = None
    left_out: list[str] | tuple[str, ...] = ()

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.image_layers is None:
            self.image_layers = every_fourth(self.text_config) if self.vision_config else []
        if self.video_layers is None:
            self.video_layers = self.image_layers[3::4] if self.video_config else []
        self._refuse_wrong_layers()
        for part, source in (self.sources or {}).items():
            if not isinstance(source.get("id"), str):
                raise ValueError(f"sources[{part!r}] is {source}; it needs an 'id': 'nano', a folder, or a hub id")
        nameless = sorted(set(self.left_out) - set(self.sources or {}))
        if nameless:
            raise ValueError(f"left_out has {', '.join(nameless)}; sources must say where to find that")

    def _refuse_wrong_layers(self) -> None:
        num_layers = self.text_config.num_hidden_layers
        for name in ("image_layers", "video_layers"):
            outside = [layer for layer in getattr(self, name) if not 0 <= layer < num_layers]
            if outside:
                raise ValueError(f"{name} has {outside}; the text core has layers 0 to {num_layers - 1}")
        if self.video_config is not None and self.vision_config is None:
            raise ValueError("video_config is set and vision_config is None; frames are seen by the picture encoder")
        if self.video_config is not None and not self.video_layers:
            raise ValueError(f"video_layers is empty, with image_layers {self.image_layers}; name at least one")
        most = self.video_config and self.video_config.max_tiles
        if most is not None and not 1 <= most <= self.vision_config.max_tiles:
            raise ValueError(
                f"video_config has max_tiles {most}; accepted: None, or 1 to the {self.vision_config.max_tiles} "
                "tiles of a picture"
            )

    @property
    def image_token_id(self) -> int:
        """The id of `<|image|>`: the first after the core's vocabulary."""
        return self.text_config.vocab_size

    @property
    def video_token_id(self) -> int:
        """The id of `<|video|>`."""
        return self.text_config.vocab_size + 1

    @property
    def speech_place_id(self) -> int:
        """The id of `<|speech_place|>`, where one embedding of speech stands."""
        return self.text_config.vocab_size + 4
