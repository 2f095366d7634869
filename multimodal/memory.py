"""What a model takes on a device, computed from its configuration: nothing is loaded, and nothing measured.

Sizes are bytes; a GB is 10^9 of them. At 4 bits the linear layers of the text core are quantized; its
embeddings, head and norms, and all that stands beside the core, stay at bfloat16.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vision.encoder import PictureEncoder

from .config import MultimodalLlamaConfig, SpeechConfig, VisionConfig
from .model import MultimodalLlama

BFLOAT16_BYTES = 2
# nf4 of bitsandbytes with double quantization: 4 bits a weight, an 8-bit constant for each block of 64 weights, and a
# 32-bit one for each 256 of these: 8/64 + 32/(64 * 256) = 0.127 bits. Source: QLoRA (arXiv 2305.14314), section 3.
NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)
CARDS_GB = (8, 12, 16, 24, 48, 80)
LEFT_FREE = 0.1  # of a device, for what a pass computes on the way and the libraries themselves; our choice
TEXT_TOKENS = 1000
PARTS = (
    "text core",
    "picture trunk",
    "picture tower",
    "picture adapter",
    "video adapter",
    "speech encoder",
    "speech adapter",
)


@dataclass(frozen=True)
class Weights:
    """One part of a model: its parameters, and their bytes at bfloat16 and at 4 bits."""

    name: str
    parameters: int
    bfloat16: int
    four_bits: int


@dataclass(frozen=True)
class KeysAndValues:
    """Bytes that a conversation keeps at bfloat16: of 1,000 tokens of text, and of one picture by its tiles."""

    text: int
    picture: dict[int, int]


@dataclass(frozen=True)
class Fit:
    """A device, its bytes, and whether a model runs there at bfloat16 and at 4 bits."""

    device: str
    bytes: int
    bfloat16: bool
    four_bits: bool


def shell(config: MultimodalLlamaConfig | VisionConfig) -> nn.Module:
    """The model of this configuration without memory; of a picture encoder's, no more than its trunk."""
    with torch.device("meta"):
        if isinstance(config, MultimodalLlamaConfig):
            return MultimodalLlama(config)
        alone = nn.Module()
        alone.vision = nn.Module()
        alone.vision.trunk = PictureEncoder(**config.keywords).trunk
        return alone


def part_of(name: str, config: MultimodalLlamaConfig | VisionConfig | SpeechConfig) -> str:
    """The part of a model that a weight of this name belongs to."""
    if name.startswith("speech"):
        return "speech encoder" if name.startswith("speech.") else "speech adapter"
    if name.startswith(("video_encoder.", "video.")):
        return "video adapter"
    vision = config if isinstance(config, VisionConfig) else config.vision_config
    if name.startswith("core."):
        return "text core"
    if vision is not None and vision.encoder == "llama-3.2" and name.startswith("vision."):
        return "picture tower"  # published as a whole, its global layers too
    return "picture trunk" if name.startswith("vision.trunk.") else "picture adapter"


def weights_of(model: nn.Module, config: MultimodalLlamaConfig | VisionConfig) -> list[Weights]:
    """What the parts of a model take. model: the `shell` of config."""
    return taken_by(stored_once(model), config, _quantized(model))


def taken_by(
    weights: Mapping[str, Tensor],
    config: MultimodalLlamaConfig | VisionConfig | SpeechConfig,
    quantized: Collection[str] = (),
) -> list[Weights]:
    """What the parts take that these weights belong to; quantized: names of those that 4 bits are made of."""
    sizes = {part: [0, 0] for part in PARTS}
    for name, weight in weights.items():
        sizes[part_of(name, config)][name in quantized] += weight.numel()
    return [
        Weights(
            part, rest + small, BFLOAT16_BYTES * (rest + small), BFLOAT16_BYTES * rest + round(small * NF4_BITS / 8)
        )
        for part, (rest, small) in sizes.items()
        if rest + small
    ]


def stored_once(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a model by name, without those that are another's: a head that is tied to the embeddings."""
    tied = getattr(model, "all_tied_weights_keys", {})
    return {name: weight for name, weight in model.state_dict().items() if name not in tied}


def _quantized(model: nn.Module) -> set[str]:
    """Names of the weights that the library quantizes: of linear layers of the core, all but the head."""
    if not isinstance(model, MultimodalLlama):
        return set()
    layers = model.core.model.named_modules(prefix="core.model")
    return {f"{name}.weight" for name, module in layers if isinstance(module, nn.Linear)}


def keys_and_values_of(config: MultimodalLlamaConfig) -> KeysAndValues:
    """What the text cache and `ImageMemory` hold: heads of grouped queries, not repeated."""
    text, vision = config.text_config, config.vision_config
    token = 2 * text.num_key_value_heads * text.head_dim * BFLOAT16_BYTES  # a key and a value, in one layer
    picture = {}
    if vision is not None:
        places = (vision.tile_px // vision.patch_px) ** 2 + 1
        tile = len(config.image_layers) * places * token
        picture = {tiles: tiles * tile for tiles in sorted({1, vision.max_tiles})}
    return KeysAndValues(TEXT_TOKENS * text.num_hidden_layers * token, picture)


def needed(parts: list[Weights], kept: KeysAndValues | None) -> tuple[int, int]:
    """Bytes at bfloat16 and at 4 bits: the weights, 1,000 tokens of text, and one picture of the most tiles."""
    conversation = kept.text + max(kept.picture.values(), default=0) if kept else 0
    return sum(part.bfloat16 for part in parts) + conversation, sum(part.four_bits for part in parts) + conversation


def fits(bfloat16: int, four_bits: int) -> list[Fit]:
    """Where a model runs that needs so many bytes: this machine, its CUDA devices, cards of the usual sizes.

    A card is taken to have 10^9 bytes for each GB of its name: all have that much, some have 7% more.
    """
    devices = [("this machine", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))]
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        devices.append((f"cuda:{number}, {card.name}", card.total_memory))
    devices += [(f"a card of {size} GB", size * 10**9) for size in CARDS_GB]
    return [
        Fit(name, size, *(need <= (1 - LEFT_FREE) * size for need in (bfloat16, four_bits))) for name, size in devices
    ]
