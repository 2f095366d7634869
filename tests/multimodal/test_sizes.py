"""The published compositions, built from their shapes alone: where blocks stand and how large they are."""

import pytest
import torch
from transformers import LlamaConfig

from adapters.cross_attention import GatedCrossAttention
from multimodal import MultimodalLlama, MultimodalLlamaConfig
from vision.encoder import SIZES
from vision.llama_tower import RELEASED

LLAMA = {
    # the core's shapes, and from the paper: image blocks, parameters of one (derived from 7.2 and the released code)
    "8B": (dict(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32), 8, 0.218e9),
    "70B": (dict(hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64), 20, 0.856e9),
}


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", LLAMA)
def test_image_blocks_stand_and_weigh_as_published(name):
    shapes, num_blocks, size = LLAMA[name]
    text = LlamaConfig(**shapes, num_key_value_heads=8, vocab_size=128_256)
    with torch.device("meta"):
        model = MultimodalLlama(MultimodalLlamaConfig(text_config=text, vision_config=SIZES["vit-h-14"]))
    assert [int(layer) for layer in model.image] == list(range(3, shapes["num_hidden_layers"], 4))
    assert [count(block) for block in model.image.values()] == pytest.approx([size] * num_blocks, rel=0.003)
    assert model.image_projection.weight.shape == (shapes["hidden_size"], 7680)
    assert model.extra_embedding.weight.shape == (8, shapes["hidden_size"])
    assert count(model.core) == pytest.approx({"8B": 8.03e9, "70B": 70.6e9}[name], rel=0.002)
    assert model.config.image_token_id == 128_256


def test_the_blocks_of_405b_add_up_to_100b():
    with torch.device("meta"):
        block = GatedCrossAttention(16384, 16384, 128, 8, 128, 53248)
    num_blocks = len(range(3, 126, 4))
    assert num_blocks * count(block) == pytest.approx(100e9, rel=0.02)  # paper 7.2.2


@torch.no_grad()
@pytest.mark.parametrize(("aspect", "tiles", "most_mib"), [(6, 4, 201), (1, 1, 51)], ids=["four tiles", "one tile"])
def test_a_picture_takes_little_memory_beside_the_text(aspect, tiles, most_mib):
    """Keys and values at the 11B's shape, in bfloat16. How wide the states are does not matter to them: here narrow."""
    vision = RELEASED | dict(encoder="llama-3.2", width=8, layers=1, heads=1, taps=[0], num_global_layers=1)
    config = MultimodalLlamaConfig(
        text_config=LlamaConfig(
            hidden_size=32,
            intermediate_size=16,
            num_hidden_layers=32,
            num_attention_heads=32,
            num_key_value_heads=8,
            head_dim=128,
            vocab_size=16,
        ),
        vision_config=vision,
    )
    model = MultimodalLlama(config).to(torch.bfloat16)
    pixels = torch.zeros(tiles, 3, 560, 560)
    memory = model.look(torch.tensor([[16, 1]]), pixels, torch.tensor([tiles]), torch.tensor([aspect]))
    tensors = [*memory.keys, *memory.values]
    assert len(tensors) == 2 * 8 and tensors[0].shape == (1, 8, tiles * 1601, 128)
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    allocated = sum(storages.values())
    assert tiles * 1601 * 8 * 2 * 8 * 128 * 2 <= allocated <= most_mib * 2**20
