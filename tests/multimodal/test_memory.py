"""What a model takes in memory: computed beside what is really kept, and the page that tells it."""

import ast
import re
from inspect import signature
from pathlib import Path

import pytest
import torch
from transformers import MllamaConfig
from transformers.cache_utils import DynamicCache

from multimodal import memory
from multimodal.compose import compose
from multimodal.convert.mllama import config_of

from . import tiny


def test_keys_and_values_are_those_that_are_kept():
    model = tiny.tiny_model()
    kept = memory.keys_and_values_of(model.config)
    for tiles in (1, 4):
        pictures = tiny.pictures(tiles)
        seen = model.look(tiny.ids("iab"), *pictures.values())
        # a picture of the tests' is of 32-bit numbers
        assert kept.picture[tiles] == sum(x.nbytes for x in (*seen.keys, *seen.values)) // 2
    cache = DynamicCache(config=model.config.text_config)
    model.core(torch.ones(1, 100, dtype=torch.long), past_key_values=cache)
    assert kept.text == 10 * sum(x.nbytes for layer in cache.layers for x in (layer.keys, layer.values)) // 2


def test_four_bits_are_for_the_cores_linear_layers_only():
    model = tiny.tiny_model()
    core, *beside = memory.weights_of(model, model.config)
    layers = model.core.model.layers
    linear = sum(p.numel() for name, p in layers.named_parameters() if "proj" in name)
    # 64 weights: 32 bytes and a constant of 1 byte; 256 such blocks: a constant of 4 bytes
    quantized = linear // 2 + linear / 64 + 4 * linear / (64 * 256)
    assert core.four_bits == pytest.approx(2 * (core.parameters - linear) + quantized, abs=1)
    assert all(part.four_bits == part.bfloat16 == 2 * part.parameters for part in beside)


def test_what_fits_leaves_a_tenth_free(monkeypatch):
    class Card:
        name, total_memory = "Card", 1000

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: Card)
    machine, card, *usual = memory.fits(901, 900)
    assert machine.device == "this machine" and machine.bytes > 10**9
    assert card == memory.Fit("cuda:0, Card", 1000, bfloat16=False, four_bits=True)
    assert [fit.bytes // 10**9 for fit in usual] == [8, 12, 16, 24, 48, 80]


# The page about composing holds what is computed here.

PAGE = (Path(__file__).parents[2] / "docs" / "compose.md").read_text("utf-8")


def _billions(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


def test_the_page_holds_the_computed_figures():
    config = config_of(MllamaConfig(vision_config={"image_size": 560}))
    parts, kept = memory.weights_of(memory.shell(config), config), memory.keys_and_values_of(config)
    needs = memory.needed(parts, kept)
    rows = [f"| {p.name} | {p.parameters:,} | {_billions(p.bfloat16)} | {_billions(p.four_bits)} |" for p in parts]
    sizes = [("1,000 tokens of text", kept.text)]
    sizes += [(f"a picture of {n} tile{'s' if n > 1 else ''}", size) for n, size in kept.picture.items()]
    rows += [f"| keys and values: {what} | | {_billions(size)} | {_billions(size)} |" for what, size in sizes]
    rows.append(
        f"| **weights, 1,000 tokens, a picture of 4 tiles** | | **{_billions(needs[0])}** | **{_billions(needs[1])}** |"
    )
    cards = [fit for fit in memory.fits(*needs) if fit.device.startswith("a card")]
    answers = {True: "yes", False: "no"}
    rows += [f"| fits {fit.device} | | {answers[fit.bfloat16]} | {answers[fit.four_bits]} |" for fit in cards]
    table = PAGE.partition("<!-- memory: start -->\n")[2].partition("\n<!-- memory: end -->")[0]
    assert table.splitlines()[2:] == rows


def test_the_code_of_the_page_asks_for_what_there_is():
    calls = []
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        calls += [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)]
    composed = [call for call in calls if ast.unparse(call.func) == "multimodal.compose"]
    assert len(composed) == 2
    for call in composed:
        assert {option.arg for option in call.keywords} <= set(signature(compose).parameters)
