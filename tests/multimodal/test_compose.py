"""Parts from different makers around one core: what they answer together, when they load, what is refused."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import LlamaForCausalLM, MllamaForConditionalGeneration, TorchAoConfig

import multimodal
from multimodal.assistant import Assistant
from multimodal.convert import meta

from .convert.folders import VOCABULARY, core_of, hub_folder, hub_model, other_core, text_folder
from .convert.meta_files import meta_weights, write_meta
from .convert.test_mllama import converted, hub_named
from .convert.test_open_clip import publish
from .convert.tiny_mllama import ours
from .tiny_assistant import tiny_tokenizer

IMAGE = VOCABULARY
ROW, ASPECTS = [1, 5, IMAGE, 6, 7, IMAGE, 8, 9], [6, 3]
PICTURE = Image.new("RGB", (70, 40), "red")


@pytest.fixture(scope="module")
def hub() -> MllamaForConditionalGeneration:
    return hub_model()


@pytest.fixture(scope="module")
def vision(hub, tmp_path_factory) -> Path:
    return hub_folder(tmp_path_factory.mktemp("vision") / "v", hub)


@pytest.fixture(scope="module")
def text(hub, tmp_path_factory) -> Path:
    return text_folder(tmp_path_factory.mktemp("text") / "t", core_of(hub))


@torch.no_grad()
def logits(assistant: Assistant) -> Tensor:
    return assistant.model(**ours([ROW], [ASPECTS])).logits


@pytest.fixture(scope="module")
def expected(hub) -> Tensor:
    with torch.no_grad():
        return converted(hub)(**ours([ROW], [ASPECTS])).logits


def is_loaded(assistant: Assistant) -> bool:
    beside = {name: p for name, p in assistant.model.named_parameters() if not name.startswith("core.")}
    there = {not parameter.is_meta for parameter in beside.values()}
    assert len(there) == 1  # all or nothing
    return there.pop()


# What they are together


def test_a_llama_and_the_adapters_of_a_vision_model_are_the_vision_model(text, vision, expected):
    assistant = multimodal.compose(text=text, vision=vision)
    torch.testing.assert_close(logits(assistant), expected)
    assert assistant.ask("what is in this picture?", image=PICTURE, max_new_tokens=3).new_tokens <= 3
    assert not any(p.requires_grad for n, p in assistant.model.named_parameters() if n.startswith(("core.", "vision.")))


@pytest.mark.parametrize("where", ["vision", "text"])
def test_load_opens_what_others_published(vision, text, expected, where):
    assistant = multimodal.load(vision if where == "vision" else text)
    if where == "vision":
        torch.testing.assert_close(logits(assistant), expected)
    else:
        with pytest.raises(ValueError, match="this model has no picture encoder"):
            assistant.ask("what is this?", image=PICTURE)
    assert assistant.ask("and left of it?", max_new_tokens=2).new_tokens <= 2


def test_load_opens_metas_own_files(hub, tmp_path, monkeypatch):
    """params.json does not tell the size of the tower, which all released models share; here it is a tiny one."""
    released = converted(hub).config.vision_config.keywords
    monkeypatch.setattr(meta, "RELEASED", {name: released[name] for name in meta.RELEASED})
    weights = meta_weights(hub_named(hub), hub.config)
    folder = write_meta(weights, hub.config, tmp_path / "meta", files=2)
    monkeypatch.setattr("multimodal.convert.published.read_tokenizer", lambda file: tiny_tokenizer())
    assistant = multimodal.load(folder)
    row, aspects = [[1, 5, IMAGE, 6, 7]], [[8]]  # of the tables of tiles only the last arrangement survives Meta's form
    with torch.no_grad():
        assert assistant.model(**ours(row, aspects)).logits.shape == (1, 5, VOCABULARY)


def test_adapters_that_were_saved_alone(text, vision, expected, tmp_path):
    multimodal.compose(text=text, vision=vision).model.save_pretrained(tmp_path / "a", adapters_only=True)
    assistant = multimodal.compose(text=text, vision=tmp_path / "a")
    torch.testing.assert_close(logits(assistant), expected)
    text_folder(tmp_path / "other", other_core("weights"))
    with pytest.raises(ValueError, match=r"trained around another core than .*fingerprints"):
        multimodal.compose(text=tmp_path / "other", vision=tmp_path / "a")


@torch.no_grad()
def test_a_trunk_of_open_clip_comes_with_fresh_closed_adapters(text, tmp_path):
    published = publish(tmp_path)
    assistant = multimodal.compose(text=text, vision=tmp_path)
    with_picture = assistant.model(**ours([ROW], [ASPECTS])).logits
    plain = LlamaForCausalLM.from_pretrained(text)
    h = assistant.model.embed(torch.tensor([ROW]))
    assert torch.equal(with_picture, plain(inputs_embeds=h).logits)
    trained = {name for name, p in assistant.model.named_parameters() if p.requires_grad}
    assert trained and not any(name.startswith(("core.", "vision.trunk.")) for name in trained)
    trunk = assistant.model.vision.trunk.transformer.resblocks[1].mlp.c_fc.weight
    assert torch.equal(trunk, published.visual.transformer.resblocks[1].mlp.c_fc.weight)
    assert assistant.processor.image_mean == [0.5, 0.4, 0.3] and assistant.processor.image_std == [0.2, 0.3, 0.4]
    assert all(p.isfinite().all() for p in assistant.model.parameters())


# When they load


def test_a_question_without_a_picture_loads_no_picture_encoder(text, vision, expected):
    assistant = multimodal.compose(text=text, vision=vision)
    assert assistant.ask("how many red circles are there?", max_new_tokens=3).new_tokens
    assert not is_loaded(assistant)
    torch.testing.assert_close(logits(assistant), expected)
    assert is_loaded(assistant)


@pytest.mark.parametrize(
    "need",
    [
        lambda model: model.state_dict(),
        lambda model: model.to(torch.float64),
        lambda model: model.train(),
    ],
    ids=["state_dict", "to", "train"],
)
def test_what_needs_the_whole_model_loads_it(text, vision, need):
    assistant = multimodal.compose(text=text, vision=vision)
    need(assistant.model)
    assert is_loaded(assistant)


def test_loading_that_failed_can_be_tried_again(text, hub, tmp_path, expected):
    folder = hub_folder(tmp_path / "v", hub)
    assistant = multimodal.compose(text=text, vision=folder)
    file = sorted(folder.glob("model-*.safetensors"))[-1]
    file.rename(tmp_path / "away")
    with pytest.raises(ValueError, match=file.name):
        logits(assistant)
    (tmp_path / "away").rename(file)
    torch.testing.assert_close(logits(assistant), expected)


# What is passed through to the library


def test_dtype_is_that_of_every_part(text, vision):
    assistant = multimodal.compose(text=text, vision=vision, dtype=torch.bfloat16)
    assert logits(assistant).dtype == torch.bfloat16
    assert {parameter.dtype for parameter in assistant.model.parameters()} == {torch.bfloat16}


def test_a_device_map_may_keep_layers_on_the_disk(text, vision, expected, tmp_path):
    places = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
    places |= {f"model.layers.{i}": "disk" if i > 1 else "cpu" for i in range(4)}
    assistant = multimodal.compose(text=text, vision=vision, device_map=places, offload_folder=tmp_path)
    assert next(assistant.model.core.model.layers[3].parameters()).is_meta
    torch.testing.assert_close(logits(assistant), expected)


def test_quantization_is_the_librarys_and_concerns_the_core(text, vision, expected):
    from torchao.quantization import Int8WeightOnlyConfig

    assistant = multimodal.compose(text=text, vision=vision, quantization_config=TorchAoConfig(Int8WeightOnlyConfig()))
    found = logits(assistant)
    kinds = {type(p.data).__name__ for n, p in assistant.model.named_parameters() if n.endswith("up_proj.weight")}
    assert not kinds & {"Tensor", "Parameter"}
    assert type(assistant.model.image["1"].ffn.up.weight.data) is torch.Tensor
    assert not torch.equal(found, expected)
    assert (found - expected).norm() / expected.norm() < 0.05


# What is refused


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("hidden_size", "hidden_size is 32, not 40"),
        ("num_hidden_layers", "num_hidden_layers is 4, not 5"),
        ("vocab_size", rf"vocab_size is {VOCABULARY}, not {VOCABULARY + 8}"),
        ("weights", r"the shapes agree and the weights do not \(fingerprints [0-9a-f]{16} and [0-9a-f]{16}\)"),
    ],
)
def test_parts_around_different_cores_are_refused(vision, tmp_path, change, told):
    folder = text_folder(tmp_path / "other", other_core(change))
    with pytest.raises(ValueError, match=rf"was trained around another core than .*other: {told}"):
        multimodal.compose(text=folder, vision=vision)


def test_parts_that_are_none_are_refused(text, vision, tmp_path):
    with pytest.raises(ValueError, match="found no vision encoder; it cannot be vision="):
        multimodal.compose(text=text, vision=str(text) + "/")
    publish(tmp_path)
    with pytest.raises(ValueError, match="found open_clip weights without a text core; it cannot be text="):
        multimodal.compose(text=tmp_path, vision=vision)
    with pytest.raises(ValueError, match="found neither such a folder nor such a model on the hub"):
        multimodal.compose(text=tmp_path / "absent", vision=vision, local_files_only=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ValueError, match=r"found no config\.json, params\.json or open_clip_config\.json; accepted: a Ll"
    ):
        multimodal.compose(text=tmp_path / "empty")


def test_a_core_without_a_tokenizer_is_refused_and_one_can_be_named(hub, text, tmp_path):
    core_of(hub).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="found no tokenizer that could be read"):
        multimodal.compose(text=tmp_path)
    assert multimodal.compose(text=tmp_path, tokenizer=text).ask("left", max_new_tokens=1).new_tokens == 1
