"""The composed model is an ordinary object of the library: saved, loaded, generated from, trained by it."""

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    DynamicCache,
    LlamaForCausalLM,
    Trainer,
    TrainingArguments,
)

import multimodal

from .tiny import ids, pictures, tiny_model

ASKED = ids("ab?icdefgh")


@pytest.fixture(scope="module")
def model() -> multimodal.MultimodalLlama:
    return tiny_model()


@torch.no_grad()
@pytest.mark.parametrize("auto", [multimodal.MultimodalLlama, AutoModel, AutoModelForImageTextToText])
def test_saved_and_loaded_to_the_bit(model, auto, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = auto.from_pretrained(tmp_path)
    assert type(loaded) is multimodal.MultimodalLlama and type(AutoConfig.from_pretrained(tmp_path)) is type(
        model.config
    )
    assert loaded.config.vision_config.keywords == model.config.vision_config.keywords
    expected = model.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    assert not any(p.requires_grad for p in loaded.core.parameters())
    assert torch.equal(loaded(ASKED, **pictures(3)).logits, model(ASKED, **pictures(3)).logits)


@pytest.mark.parametrize(
    "how",
    [{}, {"num_beams": 3}, {"do_sample": True, "num_return_sequences": 2}, {"use_cache": False}],
    ids=["greedy", "beams", "sampling", "no cache"],
)
def test_generate_takes_pictures(model, how):
    text = ids("ab?icdefgh", "..iabiicde")
    mask = (text != 0).long()
    shown, other = pictures(2, 1, 4, 1), pictures(2, 1, 4, 1, seed=9)
    torch.manual_seed(0)
    tokens = model.generate(text, attention_mask=mask, max_new_tokens=8, **shown, **how)
    assert tokens.shape[1] > text.shape[1]
    torch.manual_seed(0)
    assert not torch.equal(model.generate(text, attention_mask=mask, max_new_tokens=8, **other, **how), tokens)


@torch.no_grad()
def test_generated_greedily_is_the_likeliest_of_full_passes(model):
    text, shown = ids("ab?icdefgh"), pictures(4)
    generated = model.generate(
        text, attention_mask=torch.ones_like(text), max_new_tokens=10, eos_token_id=None, **shown
    )
    for _ in range(10):
        text = torch.cat([text, model(text, **shown).logits[:, -1].argmax(-1, keepdim=True)], 1)
    assert torch.equal(generated, text)


def test_generate_goes_on_from_a_cached_turn(model):
    whole = ids("aibcdeifgh")
    shown = pictures(2, 3)
    expected = model.generate(whole, attention_mask=torch.ones_like(whole), max_new_tokens=6, **shown)
    early = {"pixel_values": shown["pixel_values"][:2], "tiles_per_picture": shown["tiles_per_picture"][:1]}
    late = {"pixel_values": shown["pixel_values"][2:], "tiles_per_picture": shown["tiles_per_picture"][1:]}
    early["aspect_ids"], late["aspect_ids"] = shown["aspect_ids"][:1], shown["aspect_ids"][1:]
    cache = DynamicCache(config=model.config.text_config)
    with torch.no_grad():
        memory = model(whole[:, :5], past_key_values=cache, **early).image_memory
    again = model.generate(
        whole,
        attention_mask=torch.ones_like(whole),
        past_key_values=cache,
        image_memory=memory,
        max_new_tokens=6,
        **late,
    )
    assert torch.equal(again, expected)


@pytest.mark.slow
def test_compiled_decode_step_gives_the_same_tokens(model):
    text, shown = ids("ab?icdefgh"), pictures(2)
    how = dict(attention_mask=torch.ones_like(text), max_new_tokens=12, cache_implementation="static")
    expected = model.generate(text, **how, **shown)
    compiled = tiny_model()
    compiled.forward = torch.compile(compiled.forward, fullgraph=True)
    assert torch.equal(compiled.generate(text, **how, **shown), expected)


def test_a_trainer_step_runs_and_leaves_the_core(tmp_path):
    model = tiny_model()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    rows = [{"input_ids": ASKED[0], "labels": ASKED[0].masked_fill(ASKED[0] >= 96, -100)} | pictures(2)] * 2

    def collate(rows):
        batch = {name: torch.cat([row[name] for row in rows]) for name in pictures(1)}
        return batch | {name: torch.stack([row[name] for row in rows]) for name in ("input_ids", "labels")}

    arguments = TrainingArguments(
        str(tmp_path), max_steps=1, per_device_train_batch_size=2, learning_rate=1e-2, report_to=[],
        remove_unused_columns=False, use_cpu=True, save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    Trainer(model, arguments, train_dataset=rows, data_collator=collate).train()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name in before if not name.startswith(("core.", "vision.trunk."))}


def test_the_core_alone_is_a_llama_of_the_library(model, tmp_path):
    model.core.save_pretrained(tmp_path)
    core = LlamaForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(core(ids("hello")).logits, model(ids("hello")).logits)
