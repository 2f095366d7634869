"""Meta's own files: the same model as the hub's, from one file or several, and damaged ones refused by name."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import MllamaForConditionalGeneration

from multimodal.config import MultimodalLlamaConfig
from multimodal.convert import meta, mllama
from multimodal.convert.meta import MetaFiles
from multimodal.convert.table import check_names, to_ours
from multimodal.model import MultimodalLlama
from vision.llama_tower import RELEASED

from .meta_files import meta_weights, one_entry_a_place, write_meta
from .test_mllama import hub_named
from .tiny_mllama import tiny_mllama


@pytest.fixture(scope="module")
def hub():
    """Tables of tiles as Meta can have them, and layers at a regular distance, as its schedule sets them."""
    model = tiny_mllama()
    named = one_entry_a_place(hub_named(model), model.config)
    return model.config, named


@pytest.fixture(scope="module", params=[1, 2], ids=["one file", "two files"])
def folder(request, hub, tmp_path_factory) -> Path:
    config, named = hub
    return write_meta(meta_weights(named, config), config, tmp_path_factory.mktemp("meta") / "m", files=request.param)


def tiny_released(config: MultimodalLlamaConfig, like: MultimodalLlamaConfig) -> MultimodalLlamaConfig:
    """params.json does not tell the tower's size, which all released models share; here it is a tiny one."""
    config.vision_config = like.vision_config
    return config


def test_every_tensor_is_the_one_that_the_hub_has(hub, folder):
    hub_config, named = hub
    like = mllama.config_of(hub_config)
    config = tiny_released(meta.config_of(folder), like)
    files = MetaFiles(folder)
    rows = meta.rows(config, files.names)
    check_names(rows, files.names, "meta")
    found = dict(to_ours(rows, files.read, "meta"))
    expected = dict(to_ours(mllama.rows(like), named.__getitem__, "hub"))
    assert found.keys() == expected.keys()
    assert not [name for name in expected if not torch.equal(found[name], expected[name])]


def test_the_configuration_is_the_one_that_the_hub_has(hub, folder):
    found, expected = meta.config_of(folder), mllama.config_of(hub[0])
    assert found.image_layers == expected.image_layers == [1, 3]
    for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_key_value_heads", "rms_norm_eps"):
        assert getattr(found.text_config, name) == getattr(expected.text_config, name), name
    assert found.vision_config.keywords == RELEASED | {"tile_px": 32, "taps": [3, 7, 15, 23, 30], "max_tiles": 4}


@pytest.mark.parametrize("broken", ["rotary order", "transposed grid", "swapped gates"])
def test_a_break_is_seen(hub, folder, broken, monkeypatch):
    if broken == "rotary order":
        monkeypatch.setattr(meta, "_half_turned", lambda ours, theirs, heads: meta.same(ours, theirs))
    if broken == "transposed grid":
        kept = meta._by_arrangement

        def turned(*arguments):
            row = kept(*arguments)
            return replace(row, to_ours=lambda tensors: row.to_ours([tensors[0].transpose(0, 1)]))

        monkeypatch.setattr(meta, "_by_arrangement", turned)
    if broken == "swapped gates":
        gates = {"attention_gate.openness": "gate_ffwd", "ffn_gate.openness": "gate_attn"}
        monkeypatch.setattr(meta, "IMAGE_BLOCK", meta.IMAGE_BLOCK | gates)
        hub[1]["language_model.model.layers.1.cross_attn_attn_gate"] = torch.tensor([0.123])
    with pytest.raises(AssertionError):
        test_every_tensor_is_the_one_that_the_hub_has(hub, folder)
    hub[1]["language_model.model.layers.1.cross_attn_attn_gate"] = torch.tensor([0.7])


PARAMS_11B = dict(
    dim=4096,
    n_layers=32,
    n_heads=32,
    n_kv_heads=8,
    vocab_size=128256,
    ffn_dim_multiplier=1.3,
    multiple_of=1024,
    norm_eps=1e-5,
    rope_theta=500000.0,
    use_scaled_rope=True,
    vision_chunk_size=560,
    vision_max_num_chunks=4,
    vision_num_cross_attention_layers=8,
)
PARAMS_90B = PARAMS_11B | dict(
    dim=8192, n_layers=80, n_heads=64, multiple_of=4096, vision_num_cross_attention_layers=20
)


@pytest.mark.parametrize(
    ("params", "hidden", "layers"),
    [(PARAMS_11B, 14336, range(3, 32, 4)), (PARAMS_90B, 28672, range(3, 80, 4))],
    ids=["11B", "90B"],
)
def test_full_size_shapes_follow_from_params(tmp_path, params, hidden, layers):
    (tmp_path / "params.json").write_text(json.dumps(params))
    config = meta.config_of(tmp_path)
    assert config.text_config.intermediate_size == hidden
    assert config.image_layers == list(layers)
    assert config.text_config.rope_parameters["factor"] == 8.0
    assert (config.text_config.bos_token_id, config.text_config.pad_token_id) == (128000, 128004)
    assert config.text_config.eos_token_id == [128001, 128008, 128009]


@pytest.mark.parametrize("params", [PARAMS_11B, PARAMS_90B], ids=["11B", "90B"])
def test_full_size_on_the_meta_device(tmp_path, params):
    """Every tensor of Meta's names makes one of ours, of the right shape, and none is missing on either side."""
    (tmp_path / "params.json").write_text(json.dumps(params))
    config = meta.config_of(tmp_path)
    with torch.device("meta"):
        hub = MllamaForConditionalGeneration(mllama.hub_config_of(config))
        weights = meta_weights(hub_named(hub), hub.config)
        model = MultimodalLlama(config)
    rows = meta.rows(config, set(weights))
    check_names(rows, weights.keys(), "meta")
    found = {name: tensor.shape for name, tensor in to_ours(rows, weights.__getitem__, "meta")}
    assert found == {name: weight.shape for name, weight in model.state_dict().items()}


# Damaged files


@pytest.fixture
def own(hub, tmp_path) -> Path:
    config, named = hub
    return write_meta(meta_weights(named, config), config, tmp_path / "m", files=2)


def test_a_truncated_file_is_refused_by_name(own):
    file = own / "consolidated.01.pth"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"consolidated\.01\.pth: found no readable file of tensors"):
        MetaFiles(own)


def test_a_tampered_file_is_refused_by_name(own):
    lines = [f"{hashlib.md5(file.read_bytes()).hexdigest()}  {file.name}" for file in sorted(own.glob("*.pth"))]
    (own / "checklist.chk").write_text("\n".join(lines) + "\n")
    MetaFiles(own).check()
    with open(own / "consolidated.01.pth", "r+b") as file:
        file.seek(40_000)  # among the numbers
        file.write(b"\x01")
    with pytest.raises(ValueError, match=r"consolidated\.01\.pth: found MD5 [0-9a-f]{32}; checklist\.chk says"):
        MetaFiles(own).check()


class Harm:
    """What a pickle can do: call anything."""

    def __reduce__(self):
        return (open, ("harm-was-done", "w"))


def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"text_model.norm.weight": Harm()}, own / "consolidated.00.pth")
    with pytest.raises(ValueError, match=r"consolidated\.00\.pth: found no readable file of tensors"):
        MetaFiles(own)
    assert not (tmp_path / "harm-was-done").exists()


def test_files_that_do_not_belong_together_are_refused(own):
    torch.save({"text_model.norm.weight": torch.ones(2)}, own / "consolidated.01.pth")
    with pytest.raises(ValueError, match=r"consolidated\.01\.pth: found other tensors than in consolidated\.00\.pth"):
        MetaFiles(own)


@pytest.mark.parametrize("params", ["[]", "{", "{}", json.dumps(PARAMS_11B | {"n_layers": "many"})])
def test_params_of_another_model_are_refused(own, params):
    (own / "params.json").write_text(params)
    with pytest.raises(ValueError, match=r"params\.json: found .*; accepted: that of a Llama 3\.2 Vision"):
        meta.config_of(own)
