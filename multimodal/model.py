"""The composed model: a frozen Llama 3 with image and video blocks between its layers.

This is the one file that touches the inside of the library's Llama.

Shapes: B rows, T tokens, D width of the core, P pictures, C clips, S frames of all clips, K tiles of all
pictures or frames, N places of a row's pictures or clips.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, LlamaForCausalLM
from transformers.cache_utils import Cache, DynamicCache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import CausalLMOutputWithPast

from adapters.gates import TanhGate
from adapters.memory import Memory
from adapters.token_adapter import TokenAdapter
from video.encoder import VideoEncoder
from vision.encoder import PictureEncoder
from vision.llama_tower import LlamaVisionTower

from .blocks import build_blocks
from .config import NUM_EXTRA_TOKENS, MultimodalLlamaConfig
from .ears import build_ears
from .image_memory import ImageMemory, remembered, seen_by_layer
from .pretrained import ComposedPreTrainedModel
from .speech_embeddings import in_rows, put_in

_PICTURE_ENCODERS = {"open_clip": PictureEncoder, "llama-3.2": LlamaVisionTower}


@dataclass
class MultimodalOutput(CausalLMOutputWithPast):
    """What the library's causal models return, and the memory of the pictures and clips seen so far."""

    image_memory: ImageMemory | None = None
    video_memory: ImageMemory | None = None


class MultimodalLlama(ComposedPreTrainedModel, GenerationMixin):
    """A frozen Llama 3 that sees, by composition: new layers stand beside the core, never in it.

    With no picture and no clip `forward` is the core's own. The core stays in evaluation mode and takes no
    gradient. Source: paper 7.2; the order of the blocks is that of the released code.
    """

    config_class = MultimodalLlamaConfig
    main_input_name = "input_ids"
    base_model_prefix = ""
    supports_gradient_checkpointing = True
    _no_split_modules = [
        "LlamaDecoderLayer",
        "GatedCrossAttention",
        "PictureEncoder",
        "LlamaVisionTower",
        "VideoEncoder",
    ]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _can_compile_fullgraph = True
    _supports_attention_backend = True

    def __init__(self, config: MultimodalLlamaConfig):
        super().__init__(config)
        text = config.text_config
        self.core = LlamaForCausalLM(text)
        self.extra_embedding = nn.Embedding(NUM_EXTRA_TOKENS, text.hidden_size)
        self.vision = self.image_projection = self.video_encoder = None
        self.image, self.video = nn.ModuleDict(), nn.ModuleDict()
        if config.vision_config is not None:
            self.vision = _PICTURE_ENCODERS[config.vision_config.encoder](**config.vision_config.keywords)
            self.image_projection = nn.Linear(self.vision.out_dim, text.hidden_size)
            self.image = build_blocks(config.image_layers, text)
        if config.video_config is not None:
            self.video_encoder = VideoEncoder(self.vision.out_dim, text.hidden_size, **config.video_config.keywords)
            self.video = build_blocks(config.video_layers, text)
        self.speech = self.speech_adapter = self.speech_letters = None
        if config.speech_config is not None:
            self.speech, self.speech_adapter = build_ears(config.speech_config, text.hidden_size)
            if config.speech_config.letters:
                self.speech_letters = nn.Linear(self.speech.out_dim, len(config.speech_config.letters) + 1)
        self._load_rest: Callable[[MultimodalLlama], None] | None = None
        self.post_init()
        self.freeze()

    def load_later(self, load: Callable[["MultimodalLlama"], None]) -> None:
        """What stands beside the core has no memory yet; `load` gives it memory and weights when it is needed."""
        self._load_rest = load

    def load_now(self) -> None:
        """Load what was left for later, if anything was."""
        load, self._load_rest = self._load_rest, None
        if load is None:
            return
        try:
            load(self)
        except BaseException:
            self._load_rest = load
            raise

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        pixel_values: Tensor | None = None,
        tiles_per_picture: Tensor | None = None,
        aspect_ids: Tensor | None = None,
        image_memory: ImageMemory | None = None,
        frame_values: Tensor | None = None,
        frames_per_clip: Tensor | None = None,
        clip_aspect_ids: Tensor | None = None,
        frame_times_s: Tensor | None = None,
        video_memory: ImageMemory | None = None,
        speech_samples: Tensor | None = None,
        speech_lengths: Tensor | None = None,
        speech_embeddings: Tensor | None = None,
        **kwargs,
    ) -> MultimodalOutput | CausalLMOutputWithPast:
        """Logits of the next tokens; where no picture or clip was seen so far, the core's own output.

        input_ids [B, T]; pixel_values [K, 3, tile_px, tile_px] with tiles_per_picture [P] and
        aspect_ids [P], pictures in the order of their tokens in the batch; image_memory, that of
        pictures seen before; frame_values [K, 3, tile_px, tile_px], frame after frame, with
        frames_per_clip [C], clip_aspect_ids [C] and frame_times_s [S]; video_memory, that of clips seen
        before; speech_samples [C, N] at 16 kHz with speech_lengths [C], clips in the order
        of their places in the text, or the speech_embeddings [B, S, D] of `hear`. -> logits
        [B, T, vocabulary].

        Raises ValueError if there are not as many picture or clip tokens as pictures or clips, or places as
        embeddings.
        """
        if speech_samples is not None:
            speech_embeddings = self.hear(input_ids, speech_samples, speech_lengths)
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        if pixel_values is not None:
            image_memory = self.look(input_ids, pixel_values, tiles_per_picture, aspect_ids, image_memory, past)
        if frame_values is not None:
            clips = (frame_values, frames_per_clip, clip_aspect_ids, frame_times_s)
            video_memory = self.watch(input_ids, *clips, video_memory, past)
        text = dict(attention_mask=attention_mask, position_ids=position_ids, past_key_values=past_key_values)
        if image_memory is None and video_memory is None:
            read = dict(input_ids=input_ids)
            if speech_embeddings is not None:
                read = dict(inputs_embeds=self.embed(input_ids, speech_embeddings))
            return self.core(
                **read, **text, labels=labels, use_cache=use_cache, logits_to_keep=logits_to_keep, **kwargs
            )
        text |= dict(video_memory=video_memory, speech_embeddings=speech_embeddings, use_cache=use_cache)
        h, past_key_values = self.run_layers(input_ids, image_memory, **text, **kwargs)
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.core.lm_head(h[:, keep])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.config.text_config.vocab_size, **kwargs)
        return MultimodalOutput(
            loss=loss,
            logits=logits,
            past_key_values=past_key_values,
            image_memory=image_memory,
            video_memory=video_memory,
        )

    def run_layers(
        self,
        input_ids: Tensor,
        image_memory: ImageMemory | None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        video_memory: ImageMemory | None = None,
        speech_embeddings: Tensor | None = None,
        **kwargs,
    ) -> tuple[Tensor, Cache | None]:
        """The core's layers, blocks before some of them: video, then image -> states [B, T, D] and the cache."""
        core, config = self.core.model, self.config.text_config
        use_cache = config.use_cache if use_cache is None else use_cache
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=config)
        h = self.embed(input_ids, speech_embeddings)  # [B, T, D]
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        positions = torch.arange(h.shape[1], device=h.device) + past
        if position_ids is None:
            position_ids = positions.unsqueeze(0)
        causal = create_causal_mask(
            config=config,
            inputs_embeds=h,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            position_ids=position_ids,
        )
        rotation = core.rotary_emb(h, position_ids=position_ids)
        of_video = seen_by_layer(self.config.video_layers, video_memory, positions)
        of_images = seen_by_layer(self.config.image_layers, image_memory, positions)
        for i, layer in enumerate(core.layers):
            if i in of_video:
                h = self.video[str(i)](h, *of_video[i])
            if i in of_images:
                h = self.image[str(i)](h, *of_images[i])
            h = layer(
                h,
                attention_mask=causal,
                position_ids=position_ids,
                past_key_values=past_key_values,
                use_cache=use_cache,
                position_embeddings=rotation,
                **kwargs,
            )
        return core.norm(h), past_key_values

    def embed(self, input_ids: Tensor, speech_embeddings: Tensor | None = None) -> Tensor:
        """input_ids [B, T] -> [B, T, D]: the core's embeddings, ours for ids behind its vocabulary, and speech."""
        self.load_now()  # our table may not be there yet
        ours = input_ids - self.config.text_config.vocab_size
        h = self.core.model.embed_tokens(input_ids.masked_fill(ours >= 0, 0))
        h = torch.where((ours >= 0).unsqueeze(-1), self.extra_embedding(ours.clamp(min=0)).to(h.device), h)
        if speech_embeddings is None:
            return h
        return put_in(h, input_ids == self.config.speech_place_id, speech_embeddings)

    def hear(self, input_ids: Tensor, speech_samples: Tensor, speech_lengths: Tensor) -> Tensor:
        """Encode clips once: arguments as in `forward` -> embeddings [B, S, D] of all clips of each row.

        Raises ValueError if they are not as many as the text holds places for, or the model has no ears.
        """
        if self.speech is None:
            raise ValueError("found a sound; this model has no speech encoder (speech_config is None)")
        self.load_now()
        clips = [samples[:length] for samples, length in zip(speech_samples, speech_lengths.tolist(), strict=True)]
        prepared = self.speech.prepare(clips)
        frames = self.speech(**{name: value.to(self.device) for name, value in prepared.items()})
        if isinstance(self.speech_adapter, TokenAdapter):
            letters = Memory(self.speech_letters(frames.x), frames.keep)
            x, keep = self.speech_adapter(letters, self.core.get_input_embeddings().weight)
        else:
            x, keep = self.speech_adapter(frames)
        clips = [clip[there] for clip, there in zip(x, keep, strict=True)]
        return in_rows(clips, input_ids == self.config.speech_place_id)

    def look(
        self,
        input_ids: Tensor,
        pixel_values: Tensor,
        tiles_per_picture: Tensor,
        aspect_ids: Tensor,
        before: ImageMemory | None = None,
        past: int = 0,
    ) -> ImageMemory:
        """Encode pictures once, for as many tokens and turns as follow.

        Arguments as in `forward`; `before` is the memory of earlier pictures and `past` the number of
        tokens that stand before input_ids.

        Raises ValueError if there are not as many picture tokens as pictures, or the model has no eyes.
        """
        if self.vision is None:
            raise ValueError("found a picture; this model has no picture encoder (vision_config is None)")
        self.load_now()
        is_picture = input_ids == self.config.image_token_id
        if (found := int(is_picture.sum())) != len(tiles_per_picture):
            raise ValueError(f"found {found} picture tokens in the text for {len(tiles_per_picture)} pictures")
        pixel_values = pixel_values.to(self.image_projection.weight.dtype)
        x, keep = self.vision(pixel_values, tiles_per_picture, aspect_ids)
        pictures = [picture[kept] for picture, kept in zip(self.image_projection(x), keep, strict=True)]
        memory = remembered(pictures, is_picture, self.image.values(), past)
        return memory if before is None else before.followed_by(memory)

    def watch(
        self,
        input_ids: Tensor,
        frame_values: Tensor,
        frames_per_clip: Tensor,
        clip_aspect_ids: Tensor,
        frame_times_s: Tensor,
        before: ImageMemory | None = None,
        past: int = 0,
    ) -> ImageMemory:
        """Encode clips once; arguments as in `look` and `forward`.

        Raises ValueError if there are not as many clip tokens as clips, or the model has no video encoder.
        """
        if self.video_encoder is None:
            raise ValueError("found a clip; this model has no video encoder (video_config is None)")
        self.load_now()
        is_clip = input_ids == self.config.video_token_id
        if (found := int(is_clip.sum())) != len(frames_per_clip):
            raise ValueError(f"found {found} clip tokens in the text for {len(frames_per_clip)} clips")
        x, keep = self.video_encoder(self.vision, frame_values, frames_per_clip, clip_aspect_ids, frame_times_s)
        clips = [clip[kept] for clip, kept in zip(x, keep, strict=True)]
        memory = remembered(clips, is_clip, self.video.values(), past)
        return memory if before is None else before.followed_by(memory)

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        *,
        pixel_values: Tensor | None = None,
        tiles_per_picture: Tensor | None = None,
        aspect_ids: Tensor | None = None,
        image_memory: ImageMemory | None = None,
        frame_values: Tensor | None = None,
        frames_per_clip: Tensor | None = None,
        clip_aspect_ids: Tensor | None = None,
        frame_times_s: Tensor | None = None,
        video_memory: ImageMemory | None = None,
        speech_samples: Tensor | None = None,
        speech_lengths: Tensor | None = None,
        **kwargs,
    ):
        """`GenerationMixin.generate` on text, pictures, clips and speech; each is encoded once, also for many beams.

        Media as in `forward`. With a cache of an earlier turn in `past_key_values`, pass that turn's
        image_memory and video_memory too, and the media of the new turn only.
        """
        input_ids = inputs if inputs is not None else kwargs.get("input_ids")
        cache = kwargs.get("past_key_values")
        past = cache.get_seq_length() if cache is not None else 0
        if speech_samples is not None:
            kwargs["speech_embeddings"] = self.hear(input_ids[:, past:], speech_samples, speech_lengths)
        if pixel_values is not None:
            image_memory = self.look(
                input_ids[:, past:], pixel_values, tiles_per_picture, aspect_ids, image_memory, past
            )
        if frame_values is not None:
            clips = (frame_values, frames_per_clip, clip_aspect_ids, frame_times_s)
            video_memory = self.watch(input_ids[:, past:], *clips, video_memory, past)
        memories = {"image_memory": image_memory, "video_memory": video_memory}
        kwargs |= {name: memory for name, memory in memories.items() if memory is not None}
        return super().generate(inputs, **kwargs)

    def prepare_inputs_for_generation(self, input_ids: Tensor, *, is_first_iteration: bool = False, **kwargs) -> dict:
        if not is_first_iteration:
            kwargs.pop("speech_embeddings", None)  # what was heard stands in the cache by now
        return super().prepare_inputs_for_generation(input_ids, is_first_iteration=is_first_iteration, **kwargs)

    def _expand_inputs_for_generation(self, expand_size: int = 1, **kwargs):
        memories = {name: value for name, value in kwargs.items() if isinstance(value, ImageMemory)}
        rest = {name: value for name, value in kwargs.items() if name not in memories}
        input_ids, rest = super()._expand_inputs_for_generation(expand_size=expand_size, **rest)
        if expand_size > 1:
            memories = {name: memory.repeat_interleave(expand_size) for name, memory in memories.items()}
        return input_ids, rest | memories

    def _apply(self, *args: Any, **kwargs: Any) -> "MultimodalLlama":
        self.load_now()  # moved to another device or type, it moves as a whole
        return super()._apply(*args, **kwargs)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        self.load_now()
        return super().state_dict(*args, **kwargs)

    def train(self, mode: bool = True) -> "MultimodalLlama":
        """Training mode for what is attached; the frozen core stays as it is."""
        if mode:
            self.load_now()
        super().train(mode)
        self.core.eval()
        return self

    def freeze(self) -> None:
        """Only what is attached takes a gradient: not the core, not what the picture encoder freezes of itself."""
        self.core.requires_grad_(False)
        for encoder in (self.vision, self.speech):
            if encoder is not None:
                encoder.freeze()

    def get_input_embeddings(self) -> nn.Module:
        return self.core.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        return self.core.get_output_embeddings()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, TanhGate):
            nn.init.zeros_(module.openness)
        elif isinstance(module, PictureEncoder):
            nn.init.zeros_(module.tile_position)
            for table in (module.trunk.class_embedding, module.trunk.positional_embedding):
                nn.init.normal_(table, std=self.config.vision_config.width**-0.5)
        elif isinstance(module, LlamaVisionTower):
            for table in (module.tile_before, module.tile_position, module.tile_after):
                nn.init.zeros_(table)
            for table in (module.class_embedding, module.position):
                nn.init.normal_(table, std=self.config.vision_config.width**-0.5)
