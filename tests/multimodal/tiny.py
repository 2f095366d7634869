"""A tiny random composed model, gates open, and inputs for it: nothing here is trained."""

import torch
from torch import Tensor
from transformers import LlamaConfig

from multimodal.config import MultimodalLlamaConfig
from multimodal.model import MultimodalLlama

VOCAB = 96
IMAGE = VOCAB
TILE_PX = 32


def tiny_config(**changes) -> MultimodalLlamaConfig:
    text = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        initializer_range=0.15,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    vision = dict(tile_px=TILE_PX, patch_px=16, width=32, layers=3, heads=4, mlp_ratio=2.0, taps=[1, 2])
    vision |= dict(num_global_layers=2)
    return MultimodalLlamaConfig(**({"text_config": text, "vision_config": vision, "image_layers": [1, 3]} | changes))


def tiny_model(gate: float = 0.8, **changes) -> MultimodalLlama:
    """Random weights by a fixed seed; every gate at `gate` before its tanh."""
    torch.manual_seed(0)
    model = MultimodalLlama(tiny_config(**changes)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("openness"):
                parameter.fill_(gate)
            elif name.endswith("tile_position"):
                parameter.normal_(std=0.3)
            elif not name.startswith("core.") and parameter.ndim > 1:
                parameter.normal_(std=0.15)
    return model


def ids(*rows: str) -> Tensor:
    """Rows of text as ids: `i` is a picture token, `.` padding, any other letter a token of its own."""
    code = {".": 0, "i": IMAGE}
    return torch.tensor([[code.get(letter, ord(letter) % 90 + 3) for letter in row] for row in rows])


def pictures(*tiles: int, seed: int = 0) -> dict[str, Tensor]:
    """Random pictures of as many tiles each, as the model's keywords."""
    aspect_of = {1: 1, 2: 2, 3: 3, 4: 6}
    generator = torch.Generator().manual_seed(seed)
    return {
        "pixel_values": torch.randn(sum(tiles), 3, TILE_PX, TILE_PX, generator=generator),
        "tiles_per_picture": torch.tensor(tiles),
        "aspect_ids": torch.tensor([aspect_of[count] for count in tiles]),
    }
