"""Parts that were trained around the same frozen core, put together without training.

The core is the library's own `LlamaForCausalLM`, loaded by the library, so that `device_map` and
quantization do what they do for any model. What stands beside it is loaded when it is first needed:
a question without a picture loads no picture encoder.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from .assistant import Assistant
from .checkpoint import CORE, some_of
from .config import MultimodalLlamaConfig, SpeechConfig, VisionConfig, every_fourth
from .convert.published import Published, is_core, load_tokenizer, open_published
from .model import MultimodalLlama
from .processor import processor_of
from .voice import Voice

# Facts of a core that whatever was trained around it depends on.
_MUST_AGREE = (
    "hidden_size",
    "num_hidden_layers",
    "vocab_size",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
)


def compose(
    text: str | Path,
    vision: str | Path | None = None,
    speech: str | Path | None = None,
    voice: Voice | str | Path | None = None,
    *,
    device: str | torch.device | None = None,
    device_map: str | dict | None = None,
    dtype: torch.dtype | None = None,
    quantization_config: object | None = None,
    offload_folder: str | Path | None = None,
    tokenizer: str | Path | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    cache_dir: str | None = None,
) -> Assistant:
    """The assistant of a text core and the parts that were trained around it.

    Each part is a hub id or a folder, in any format of `convert.published`. text: a Llama 3, or a whole
    model whose core is taken. vision: a Llama 3.2 Vision, a folder of our adapters (for clips too, if they
    are), or a ViT of open_clip (then with fresh adapters, closed gates, to be trained). speech: an
    Ultravox, a folder of our adapters, or a Whisper or w2v-BERT encoder (then with a fresh adapter).
    voice: a text-to-audio model of the library, a folder with a voice of ours, or a `Voice`.
    tokenizer: by default that of `text`.
    device, dtype: as in `load`; device_map, quantization_config and offload_folder go to the library and
    concern the core.

    Raises ValueError if a part is none, or was trained around another core.
    """
    hub = dict(local_files_only=local_files_only, token=token, cache_dir=cache_dir)
    core_part = open_published(text, **hub)
    if not core_part.has(f"{CORE}."):
        raise ValueError(f"{text}: found {core_part.format} weights without a text core; it cannot be text=")
    opened = {str(text): core_part}
    for name in filter(None, (vision, speech)):
        if str(name) not in opened:
            opened[str(name)] = open_published(name, **hub)
    seeing, hearing = (opened[str(name)] if name else None for name in (vision, speech))
    config = _joined_config(core_part, seeing, hearing)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)
    placed = dict(device_map=device_map, quantization_config=quantization_config, offload_folder=offload_folder)
    core = _load_core(core_part, config.text_config, dtype, placed)
    if device_map is None and quantization_config is None:
        core = core.to(device)
    model = _around(core, config)
    beside = [part for part in (seeing, hearing if hearing is not seeing else None) if part is not None]
    if beside:
        model.load_later(lambda model: _attach(model, beside, dtype))
    words = load_tokenizer(tokenizer, **hub) if tokenizer is not None else core_part.tokenizer()
    _set_generation(model, core_part, words)
    return Assistant(model.eval(), processor_of(config, words, seeing.pictures if seeing else {}), voice, **hub)


def _load_core(part: Published, config: LlamaConfig, dtype: torch.dtype, placed: dict) -> LlamaForCausalLM:
    """The library's own loading; a core in another layout goes through ours, and is in host memory once."""
    if part.format == "llama":
        return LlamaForCausalLM.from_pretrained(part.folder, local_files_only=True, dtype=dtype, **placed)
    weights = {name.removeprefix(f"{CORE}."): tensor for name, tensor in part.tensors(is_core)}
    return LlamaForCausalLM.from_pretrained(None, config=config, state_dict=weights, dtype=dtype, **placed)


def compose_published(name: str | Path, **keywords) -> Assistant:
    """All that a published model has; keywords are those of `compose`."""
    hub = {key: keywords[key] for key in ("local_files_only", "token", "cache_dir") if key in keywords}
    config = open_published(name, **hub).config
    return compose(name, name if config.vision_config is not None else None, **keywords)


def _joined_config(core: Published, seeing: Published | None, hearing: Published | None) -> MultimodalLlamaConfig:
    """Raises ValueError if parts were trained around different cores, or cannot see or hear."""
    config = MultimodalLlamaConfig(text_config=core.config.text_config, sources={CORE: {"id": core.where}})
    for part, kind, what in ((seeing, VisionConfig, "vision"), (hearing, SpeechConfig, "speech")):
        if part is None:
            continue
        whole = isinstance(part.config, MultimodalLlamaConfig)
        found = getattr(part.config, f"{what}_config") if whole else part.config
        if not isinstance(found, kind):
            raise ValueError(f"{part.where}: found no {what} encoder; it cannot be {what}=")
        if whole:
            _refuse_other_shape(core, part)
            _refuse_other_core(core, part)
        setattr(config, f"{what}_config", found)
        if kind is VisionConfig:  # a trunk alone was trained around no core: its blocks stand as published
            config.image_layers = part.config.image_layers if whole else every_fourth(config.text_config)
            if whole:
                config.video_config, config.video_layers = part.config.video_config, part.config.video_layers
    return config


def _refuse_other_shape(core: Published, part: Published) -> None:
    for name in _MUST_AGREE:
        ours, theirs = (getattr(one.config.text_config, name) for one in (core, part))
        if ours != theirs:
            raise ValueError(
                f"{part.where} was trained around another core than {core.where}: {name} is {theirs}, not {ours}"
            )


def _refuse_other_core(core: Published, seeing: Published) -> None:
    """Compare the cores themselves, where both carry theirs, or what the adapters noted of theirs."""
    if core is seeing:
        return
    noted = ((seeing.config.sources or {}).get(CORE) or {}).get("fingerprint")
    theirs, ours = noted or seeing.core_fingerprint(), core.core_fingerprint()
    if theirs not in (None, ours):
        raise ValueError(
            f"{seeing.where} was trained around another core than {core.where}: the shapes agree and the weights do "
            f"not (fingerprints {theirs} and {ours})"
        )


def _around(core: LlamaForCausalLM, config: MultimodalLlamaConfig) -> MultimodalLlama:
    """The composed model around a core that is loaded; what stands beside it has no memory yet."""
    with torch.device("meta"):
        model = MultimodalLlama(config)
    model.core = core
    for name, buffer in list(model.named_buffers()):
        assert not buffer.is_meta or not is_core(name), name
    model.freeze()
    return model


def _attach(model: MultimodalLlama, parts: list[Published], dtype: torch.dtype) -> None:
    """Give memory and weights to what stands beside the core."""
    beside = {name: tensor.shape for name, tensor in model.state_dict().items() if not is_core(name)}
    missing = {name for name in beside if not any(part.has(name) for part in parts)}
    fresh = {name for name in missing if name.startswith(tuple(_starts_fresh(parts)))}
    if lost := missing - fresh:
        raise ValueError(f"{' and '.join(part.where for part in parts)}: found no {some_of(lost)}")
    _start_fresh(model, fresh, dtype)
    loaded: set[str] = set()
    for part in parts:
        for name, tensor in part.tensors(lambda name: name in beside and name not in loaded, beside):
            _place(model, name, tensor.to(device_beside(model, name), dtype if tensor.is_floating_point() else None))
            loaded.add(name)
    model.freeze()
    assert not any(tensor.is_meta for name, tensor in model.state_dict().items() if not is_core(name))


def _starts_fresh(parts: list[Published]) -> set[str]:
    """Weights that none of these parts was trained with: adapters around an encoder alone, and our own tokens."""
    prefixes = set()
    if not any(part.has("extra_embedding.") for part in parts):
        prefixes.add("extra_embedding.")
    for part in parts:
        if isinstance(part.config, VisionConfig):
            prefixes |= {"vision.", "image_projection.", "image."}
        if isinstance(part.config, SpeechConfig) and not part.has("speech_adapter."):
            prefixes.add("speech_adapter.")
    return prefixes


def device_beside(model: MultimodalLlama, name: str) -> torch.device:
    """Where a weight beside the core belongs: a block with its layer, all else with the first layer."""
    layer = int(name.split(".")[1]) if name.startswith(("image.", "video.")) else 0
    return _device_of(model.core.model.layers[layer])


def _device_of(layer: nn.Module) -> torch.device:
    hook = getattr(layer, "_hf_hook", None)  # of a layer that is kept elsewhere between its calls
    executes = getattr(hook, "execution_device", None)
    return torch.device(executes) if executes is not None else next(layer.parameters()).device


def _place(model: nn.Module, name: str, tensor: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    if leaf in module._parameters:
        setattr(module, leaf, nn.Parameter(tensor, requires_grad=module._parameters[leaf].requires_grad))
    else:
        setattr(module, leaf, tensor)


def _start_fresh(model: MultimodalLlama, names: Iterable[str], dtype: torch.dtype) -> None:
    """Adapters around a trunk that was trained alone: as in a model made anew, gates closed."""
    weights = dict(model.named_parameters())
    for name in names:
        _place(model, name, torch.empty(weights[name].shape, dtype=dtype, device=device_beside(model, name)))
    parts = {name.rpartition(".")[0] for name in names}
    for path in sorted(parts):
        model._init_weights(model.get_submodule(path))


def _set_generation(model: MultimodalLlama, core: Published, tokenizer: PreTrainedTokenizerBase) -> None:
    """How to end an answer: as the core's own folder says, else as its configuration and tokenizer do."""
    if (core.folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(core.folder, local_files_only=True)
    else:
        text = core.config.text_config
        model.generation_config = GenerationConfig(
            bos_token_id=text.bos_token_id,
            eos_token_id=text.eos_token_id if text.eos_token_id is not None else tokenizer.eos_token_id,
            pad_token_id=text.pad_token_id,
        )
