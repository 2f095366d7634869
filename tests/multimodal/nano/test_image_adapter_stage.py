"""The picture stage asks many questions in one row; each must be asked as the shipped model will hear it."""

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import LlamaForCausalLM

import multimodal
from multimodal.nano.recipe import SHARDS, export
from multimodal.nano.stages.core import core_config
from multimodal.nano.stages.image_adapter import ImageAdapterStage
from multimodal.nano.stages.picture_rows import picture_answers
from multimodal.nano.stages.tokenizer import train_tokenizer
from multimodal.nano.stages.trunk import build_model


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a run whose core and trunk are random."""
    out = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    core = LlamaForCausalLM(core_config(train_tokenizer(out))).state_dict()
    parts = {"core": {name: value for name, value in core.items() if name != "lm_head.weight"}}
    parts["trunk"] = build_model().state_dict()
    for name, weights in parts.items():
        (out / name).mkdir()
        save_file(weights, out / name / "final.safetensors", {"steps": "0"})
    return out


@pytest.fixture(scope="module")
def stage(run) -> ImageAdapterStage:
    tokenizer = train_tokenizer(run)
    stage = ImageAdapterStage(tokenizer, core_config(tokenizer), run, steps=10)
    stage.model.eval()
    return stage


def rows(stage: ImageAdapterStage, dialogue: bool, number: int = 3) -> list:
    """Rows of questions that stand alone, or of dialogues, in which one branch holds everything."""
    rng, found = random.Random(5), []
    while len(found) < number:
        row = stage.rows.row(rng)
        if (max(row.branch) == 0) == dialogue:
            found.append(row)
    return found


@pytest.mark.parametrize("dialogue", [False, True], ids=["questions alone", "dialogue"])
@torch.no_grad()
def test_each_question_is_asked_as_if_alone_or_in_its_dialogue(stage, dialogue):
    some = rows(stage, dialogue)
    batch = stage.rows.collate(some)
    logits, answer = picture_answers(stage.model, batch), 0
    for row in some:
        shown = {
            "pixel_values": row.tiles,
            "tiles_per_picture": torch.tensor([len(row.tiles)]),
            "aspect_ids": torch.tensor([row.aspect_id]),
        }
        for start, stop in row.answers:
            own = row.branch[start]
            ids = [token for token, branch in zip(row.ids[:stop], row.branch[:stop], strict=True) if branch in (0, own)]
            expected = stage.model(torch.tensor([ids]), **shown).logits[0, start - stop - 1 : -1]
            torch.testing.assert_close(logits[batch["answer"] == answer], expected, atol=1e-4, rtol=1e-4)
            answer += 1


@torch.no_grad()
def test_a_row_is_the_prompt_of_the_processor(stage, run, tmp_path):
    row = rows(stage, dialogue=False, number=1)[0]
    tokenizer = train_tokenizer(run)
    vision = stage.model.vision
    processor = multimodal.MultimodalLlamaProcessor(tokenizer, tile_px=vision.tile_px, max_tiles=vision.max_tiles)
    start, stop = row.answers[0]
    question = tokenizer.decode(row.ids[len(stage.rows.prefix) : row.ids.index(tokenizer.eos_token_id)])
    messages = [{"role": "user", "content": [{"type": "image", "image": torch.zeros(3, 64, 64)}]}]
    messages[0]["content"].append({"type": "text", "text": question})
    prompt = processor.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)
    assert prompt["input_ids"][0].tolist() == row.ids[:start]
    assert row.ids[stop - 1] == tokenizer.eos_token_id


def test_only_what_joins_picture_and_text_is_trained(stage):
    loss, _ = stage.loss(stage.batch(0))
    loss.backward()
    with_gradient = {name for name, p in stage.model.named_parameters() if p.grad is not None and p.grad.any()}
    new = {name for name, _ in stage.model.named_parameters() if not name.startswith(("core.", "vision.trunk."))}
    # the token of a picture stays at zero; tile positions start there, so that their gate scales nothing yet
    assert with_gradient == new - {"extra_embedding.weight", "vision.tile_gate.openness"}
    stage.model.zero_grad()


@torch.no_grad()
def test_an_export_answers_as_the_stage_does_and_keeps_parts_apart(stage, run, tmp_path):
    trained = {name: p for name, p in stage.model.named_parameters() if p.requires_grad}
    (run / "image-adapter").mkdir(exist_ok=True)
    save_file({n: p.detach().half().float() for n, p in trained.items()}, run / "image-adapter" / "final.safetensors")
    export(run, tmp_path / "nano")
    shards = {file for file in SHARDS if not file.startswith(("speech", "video", "voice"))}
    assert {file.name for file in (tmp_path / "nano").glob("*.safetensors")} == shards
    core = (tmp_path / "nano" / "core.safetensors").read_bytes()
    loaded = multimodal.load(tmp_path / "nano")
    for name, parameter in loaded.model.named_parameters():
        stage_parameter = stage.model.get_parameter(name)
        torch.testing.assert_close(parameter, stage_parameter, atol=2e-3, rtol=2e-3)
    assert loaded.ask("What is this?", image=torch.rand(3, 100, 80), max_new_tokens=4).prompt_tokens > 5
    export(run, tmp_path / "again")
    assert (tmp_path / "again" / "core.safetensors").read_bytes() == core
