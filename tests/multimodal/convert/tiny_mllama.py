"""A tiny Llama 3.2 Vision of the hub's own classes with random weights and open gates, and inputs for it."""

import torch
from torch import Tensor
from transformers import MllamaConfig, MllamaForConditionalGeneration
from transformers.models.mllama.processing_mllama import (
    convert_sparse_cross_attention_mask_to_dense,
    get_cross_attention_token_mask,
)

from vision.tiles import arrangements

VOCAB, SIDE, MAX_TILES = 64, 32, 4
IMAGE = VOCAB
TAPS = [1, 2, 4]


def tiny_config(taps: list[int] = TAPS, vocab: int = VOCAB) -> MllamaConfig:
    text = dict(
        vocab_size=vocab,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        cross_attention_layers=[1, 4],
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    vision = dict(
        image_size=SIDE,
        patch_size=8,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=5,
        num_global_layers=2,
        attention_heads=2,
        intermediate_layers_indices=taps,
        vision_output_dim=16 * (1 + len(taps)),
    )
    return MllamaConfig(text_config=text, vision_config=vision, image_token_index=vocab)


def tiny_mllama(taps: list[int] = TAPS, vocab: int = VOCAB) -> MllamaForConditionalGeneration:
    torch.manual_seed(0)
    model = MllamaForConditionalGeneration(tiny_config(taps, vocab)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "gate" in name and parameter.numel() == 1:
                parameter.fill_(0.7)
            elif name.endswith("norm.weight"):
                parameter.normal_(1.0, 0.2)
            else:
                parameter.normal_(std=0.2)
    return model


def picture(aspect_id: int, seed: int = 0) -> Tensor:
    """A random picture of this arrangement: [tiles, 3, side, side]."""
    rows, columns = arrangements(MAX_TILES)[aspect_id - 1]
    generator = torch.Generator().manual_seed(100 * seed + aspect_id)
    return torch.randn(rows * columns, 3, SIDE, SIDE, generator=generator)


def ours(rows: list[list[int]], aspects: list[list[int]]) -> dict[str, Tensor]:
    """Keywords of our model: rows of ids of equal length, and for each row its pictures by their aspect ids."""
    flat = [(aspect, seed) for row in aspects for seed, aspect in enumerate(row)]
    pictures = [picture(*one) for one in flat]
    return {
        "input_ids": torch.tensor(rows),
        "pixel_values": torch.cat(pictures),
        "tiles_per_picture": torch.tensor([len(one) for one in pictures]),
        "aspect_ids": torch.tensor([aspect for aspect, _ in flat]),
    }


def hubs(rows: list[list[int]], aspects: list[list[int]], image: int = IMAGE) -> dict[str, Tensor]:
    """The same as keywords of the hub's model; its masks are made by the hub's own functions."""
    most = max(len(row) for row in aspects)
    pixels = torch.zeros(len(rows), most, MAX_TILES, 3, SIDE, SIDE)
    ids = torch.zeros(len(rows), most, dtype=torch.long)
    there = torch.zeros(len(rows), most, MAX_TILES, dtype=torch.long)
    there[:, :, 0] = 1  # the hub's processor marks one tile of a picture that is not there
    for row, of_row in enumerate(aspects):
        for at, aspect in enumerate(of_row):
            tiles = picture(aspect, at)
            pixels[row, at, : len(tiles)], there[row, at, : len(tiles)], ids[row, at] = tiles, 1, aspect
    mask = convert_sparse_cross_attention_mask_to_dense(
        [get_cross_attention_token_mask(row, image) for row in rows],
        [[len(picture(aspect)) for aspect in of_row] for of_row in aspects],
        MAX_TILES,
        len(rows[0]),
    )
    return {
        "input_ids": torch.tensor(rows),
        "pixel_values": pixels,
        "aspect_ratio_ids": ids,
        "aspect_ratio_mask": there,
        "cross_attention_mask": torch.tensor(mask),
    }
