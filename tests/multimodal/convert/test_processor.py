"""Our processor against MllamaProcessor: the same tiles, ids and masks, without the padding tiles."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import MllamaImageProcessor, MllamaProcessor

from multimodal.image_memory import picture_spans
from multimodal.processor import MultimodalLlamaProcessor
from vision.tiles import CLIP_MEAN, CLIP_STD

from ..tiny_assistant import tiny_tokenizer

SIDE = 56
RELEASED = dict(
    image_mean=list(CLIP_MEAN), image_std=list(CLIP_STD)
)  # as the released preprocessor_config.json has them
SIZES = [tuple(random.Random(seed).sample(range(1, 700), 2)) for seed in range(30)]


def odd_picture(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def processors() -> tuple[MultimodalLlamaProcessor, MllamaProcessor]:
    ours = MultimodalLlamaProcessor(tiny_tokenizer(), tile_px=SIDE)
    pictures = MllamaImageProcessor(**RELEASED, size={"height": SIDE, "width": SIDE}, max_image_tiles=4)
    return ours, MllamaProcessor(pictures, ours.tokenizer, chat_template=ours.chat_template)


def hubs(hub: MllamaProcessor, texts: list[str], images: list[list[Image.Image]]) -> dict[str, torch.Tensor]:
    return hub(text=texts, images=images, padding=True, padding_side="left", return_tensors="pt")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_tiles_aspect_ids_masks_and_ids_are_equal(processors, size):
    ours, hub = processors
    picture = odd_picture(*size)
    messages = [
        {"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": "how many?"}]}
    ]
    prompt = ours.apply_chat_template(messages, add_generation_prompt=True)
    found, expected = ours(prompt, picture), hubs(hub, [prompt], [[picture]])
    assert torch.equal(found["input_ids"], expected["input_ids"])
    assert torch.equal(found["attention_mask"], expected["attention_mask"])
    assert found["aspect_ids"].tolist() == expected["aspect_ratio_ids"][0].tolist()
    tiles = found["tiles_per_picture"].item()
    assert expected["aspect_ratio_mask"][0, 0].tolist() == [1] * tiles + [0] * (4 - tiles)
    torch.testing.assert_close(found["pixel_values"], expected["pixel_values"][0, 0, :tiles], atol=1e-6, rtol=1e-6)


def test_a_batch_of_several_pictures_sees_what_the_hubs_mask_says(processors):
    ours, hub = processors
    texts = [
        "<|begin_of_text|>a<|image|>what is in<|image|><|image|>this picture?",
        "<|begin_of_text|><|image|>how many red circles are there?<|image|> and<|image|>left",
    ]
    images = [[odd_picture(*size) for size in SIZES[:3]], [odd_picture(*size) for size in SIZES[3:6]]]
    found, expected = ours(texts, images), hubs(hub, texts, images)
    assert torch.equal(found["input_ids"], expected["input_ids"])
    assert found["aspect_ids"].tolist() == expected["aspect_ratio_ids"].flatten().tolist()
    spans = picture_spans(found["input_ids"] == ours.image_token_id).unflatten(0, (2, 3))  # [rows, pictures, 2]
    at = torch.arange(found["input_ids"].shape[1])[:, None]
    sees = (spans[:, None, :, 0] <= at) & (at < spans[:, None, :, 1])  # [rows, T, pictures]
    tiles = torch.arange(4) < found["tiles_per_picture"].view(2, 1, 3, 1)
    assert torch.equal((sees.unsqueeze(-1) & tiles).long(), expected["cross_attention_mask"])
