"""A question about a picture of one tile: ours beside `MllamaForConditionalGeneration` of the same shapes.

    python -m benchmarks.picture_question

Both get the same picture through their own preparation (which is not timed), read the prompt and write 64 tokens,
greedily, in the library's own `generate`; `stream_tokens`, the loop behind `Assistant`, stands beside it. Required: at
most 0.7 of Mllama's time and at most 0.8 of its peak memory. Weights are random, so the answers are noise.
"""

import statistics
from dataclasses import dataclass

import torch
import typer
from PIL import Image
from torch import Tensor
from transformers import DynamicCache, LlamaConfig, MllamaConfig, MllamaForConditionalGeneration, MllamaImageProcessor
from transformers.models.mllama.processing_mllama import (
    convert_sparse_cross_attention_mask_to_dense,
    get_cross_attention_token_mask,
)

from benchmarks.measure import head, in_turns, machine, peak_memory, ratio, row
from multimodal.config import MultimodalLlamaConfig
from multimodal.generation import Context, Sampling, stream_tokens
from multimodal.model import MultimodalLlama
from vision.tiles import CLIP_MEAN, CLIP_STD, prepare

MOST_TIME, MOST_MEMORY = 0.7, 0.8
MAX_TILES = 4


@dataclass(frozen=True)
class Shapes:
    """Llama 3.2 Vision 11B Instruct made small: narrow and shallow, in about its proportions; its tiles as they are."""

    text_width: int = 512
    text_layers: int = 8
    text_heads: int = 8
    text_kv_heads: int = 2
    ffn_width: int = 1792
    vocab_size: int = 4096
    image_layers: tuple[int, ...] = (3, 7)  # the text layers that an image block stands before
    tile_px: int = 560
    patch_px: int = 14
    vision_width: int = 256
    vision_layers: int = 8
    vision_heads: int = 4
    global_layers: int = 2
    taps: tuple[int, ...] = (1, 2, 4, 6, 7)
    prompt_tokens: int = 32
    new_tokens: int = 64

    @property
    def text(self) -> dict:
        """What both text configurations call by the same name. No token ends an answer."""
        return dict(
            hidden_size=self.text_width,
            num_attention_heads=self.text_heads,
            num_key_value_heads=self.text_kv_heads,
            intermediate_size=self.ffn_width,
            vocab_size=self.vocab_size,
            bos_token_id=0,
            eos_token_id=None,
            pad_token_id=0,
        )

    def prompt(self) -> Tensor:
        """Random text [1, T] with the picture's token, the id behind the vocabulary on both sides, as its second."""
        ids = torch.randint(self.vocab_size, (1, self.prompt_tokens), generator=torch.Generator().manual_seed(0))
        ids[0, 1] = self.vocab_size
        return ids

    def picture(self, tiles: int = 1) -> Image.Image:
        """A picture that both sides cut into as many tiles, 1 or 4."""
        side = self.tile_px if tiles == 1 else 2 * self.tile_px
        return Image.effect_noise((side, side * 7 // 8), 64).convert("RGB")


def ours(shapes: Shapes, tiles: int = 1) -> tuple[MultimodalLlama, dict[str, Tensor]]:
    """The model, and what its `generate` takes."""
    torch.manual_seed(0)
    vision = dict(
        tile_px=shapes.tile_px,
        patch_px=shapes.patch_px,
        width=shapes.vision_width,
        layers=shapes.vision_layers,
        heads=shapes.vision_heads,
        mlp_ratio=4.0,
        taps=list(shapes.taps),
        num_global_layers=shapes.global_layers,
        max_tiles=MAX_TILES,
    )
    config = MultimodalLlamaConfig(
        text_config=LlamaConfig(**shapes.text, num_hidden_layers=shapes.text_layers),
        vision_config=vision,
        image_layers=list(shapes.image_layers),
    )
    cut = prepare(shapes.picture(tiles), shapes.tile_px, MAX_TILES)
    pictures = dict(
        pixel_values=cut.pixels,
        tiles_per_picture=torch.tensor([len(cut.pixels)]),
        aspect_ids=torch.tensor([cut.aspect_id]),
    )
    assert len(cut.pixels) == tiles
    return MultimodalLlama(config).eval(), {"input_ids": shapes.prompt(), **pictures}


def mllama(shapes: Shapes, tiles: int = 1) -> tuple[MllamaForConditionalGeneration, dict[str, Tensor]]:
    """Theirs, and what its `generate` takes, made as its processor makes it."""
    torch.manual_seed(0)
    cross = [layer + earlier for earlier, layer in enumerate(shapes.image_layers)]  # counted among all layers
    text = dict(
        num_hidden_layers=shapes.text_layers + len(cross),
        cross_attention_layers=cross,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )
    vision = dict(
        image_size=shapes.tile_px,
        patch_size=shapes.patch_px,
        hidden_size=shapes.vision_width,
        intermediate_size=4 * shapes.vision_width,
        num_hidden_layers=shapes.vision_layers,
        num_global_layers=shapes.global_layers,
        attention_heads=shapes.vision_heads,
        intermediate_layers_indices=[tap - 1 for tap in shapes.taps],
        vision_output_dim=shapes.vision_width * (1 + len(shapes.taps)),
        max_num_tiles=MAX_TILES,
    )
    config = MllamaConfig(vision_config=vision, text_config=shapes.text | text, image_token_index=shapes.vocab_size)
    processor = MllamaImageProcessor(
        size={"height": shapes.tile_px, "width": shapes.tile_px},
        image_mean=list(CLIP_MEAN),
        image_std=list(CLIP_STD),
        max_image_tiles=MAX_TILES,
    )
    pictures, ids = processor(images=shapes.picture(tiles), return_tensors="pt"), shapes.prompt()
    num_tiles = pictures.pop("num_tiles")
    assert num_tiles == [[tiles]], num_tiles
    see = convert_sparse_cross_attention_mask_to_dense(
        [get_cross_attention_token_mask(ids[0].tolist(), shapes.vocab_size)], num_tiles, MAX_TILES, ids.shape[1]
    )
    model = MllamaForConditionalGeneration(config).eval()
    return model, {"input_ids": ids, "cross_attention_mask": torch.from_numpy(see), **pictures}


SIDES = {"ours": ours, "Mllama": mllama}


def generate(model: MultimodalLlama | MllamaForConditionalGeneration, inputs: dict[str, Tensor], tokens: int) -> Tensor:
    """The library's own loop: prompt and that many greedy tokens -> ids [1, T]."""
    mask = torch.ones_like(inputs["input_ids"])
    return model.generate(**inputs, attention_mask=mask, max_new_tokens=tokens, do_sample=False)


def stream(model: MultimodalLlama, inputs: dict[str, Tensor], tokens: int) -> list[int]:
    """The same answer by our own loop."""
    ids, pictures = inputs["input_ids"], {name: value for name, value in inputs.items() if name != "input_ids"}
    context = Context(DynamicCache(config=model.config.text_config), unread=ids[0].tolist())
    return list(stream_tokens(model, context, Sampling(max_new_tokens=tokens), pictures))


def ask(side: str, shapes: Shapes) -> None:
    """Build one side and ask it once: what a fresh process does to have its memory watched."""
    generate(*SIDES[side](shapes), shapes.new_tokens)


@torch.no_grad()
def picture_bytes(model: MultimodalLlama | MllamaForConditionalGeneration, inputs: dict[str, Tensor]) -> int:
    """What the keys and values of the picture take as long as its conversation lasts."""
    if isinstance(model, MultimodalLlama):
        memory = model.look(**inputs)
        kept = [*memory.keys, *memory.values]
    else:
        cache = model(**inputs, use_cache=True, logits_to_keep=1).past_key_values
        layers = [cache.layers[layer] for layer in model.config.text_config.cross_attention_layers]
        kept = [tensor for layer in layers for tensor in (layer.keys, layer.values)]
    return sum(tensor.untyped_storage().nbytes() for tensor in kept)


def compare_time(shapes: Shapes, rounds: int) -> bool:
    """Print the seconds of prefill and answer, and their ratio -> whether the requirement is met."""
    mine, theirs = ours(shapes), mllama(shapes)
    tokens = shapes.new_tokens
    assert generate(*mine, tokens)[0, shapes.prompt_tokens :].tolist() == stream(*mine, tokens)
    assert generate(*theirs, tokens).shape[1] == shapes.prompt_tokens + tokens  # both write as much
    sides = [lambda: generate(*mine, tokens), lambda: stream(*mine, tokens), lambda: generate(*theirs, tokens)]
    seconds = in_turns(sides, rounds)
    medians = [f"{statistics.median(of_side):.3f}" for of_side in seconds]
    head(f"seconds, {tokens} new tokens", *SIDES)
    met = row("generate", medians[0], medians[2], ratio(seconds[0], seconds[2]), most=MOST_TIME)
    return row("our own loop", medians[1], medians[2], ratio(seconds[1], seconds[2]), most=MOST_TIME) and met


def compare_memory(shapes: Shapes) -> bool:
    """Print the peaks of resident memory of processes that do this alone -> whether the requirement is met."""
    mine, theirs = (peak_memory(ask, side, shapes) for side in SIDES)
    head("MiB resident at the peak", *SIDES)
    met = True
    for name, a, b in (
        ("whole process", mine.peak, theirs.peak),
        ("above its imports", mine.peak - mine.imported, theirs.peak - theirs.imported),
    ):
        met &= row(name, f"{a / 2**20:.0f}", f"{b / 2**20:.0f}", a / b, most=MOST_MEMORY)
    return met


def compare_picture_bytes(shapes: Shapes) -> None:
    """Print what is kept of a picture."""
    head("KiB of a picture's keys and values", *SIDES)
    for tiles in (1, MAX_TILES):
        a, b = (picture_bytes(*side(shapes, tiles)) for side in SIDES.values())
        row(f"{tiles} of {MAX_TILES} tiles", f"{a / 2**10:.0f}", f"{b / 2**10:.0f}", a / b)


def main(rounds: int = 5, tile_px: int = Shapes.tile_px) -> None:
    """Exits with 1 if a requirement is missed."""
    shapes = Shapes(tile_px=tile_px)
    print(f"{machine()}\n{shapes}, {rounds} rounds\n")
    met = compare_time(shapes, rounds)
    print()
    met &= compare_memory(shapes)
    print()
    compare_picture_bytes(shapes)
    raise SystemExit(not met)


if __name__ == "__main__":
    typer.run(main)
