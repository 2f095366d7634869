"""Weights on disk: all of them or an error, and adapters without the core that they were trained beside."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, LlamaForCausalLM

from multimodal import MultimodalLlama, MultimodalLlamaConfig, checkpoint
from multimodal.checkpoint import INDEX, WEIGHTS, fingerprint, read_weights

from .tiny import ids, pictures, tiny_config, tiny_model

ASKED = ids("ab?icdefgh")


def same(one: MultimodalLlama, other: MultimodalLlama) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(weight, theirs[name]) for name, weight in ours.items())


def trained(model: MultimodalLlama, parts: tuple[str, ...] = ("image.",)) -> MultimodalLlama:
    """The model with some of its weights moved."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(parts):
                parameter += 0.25
    return model


@pytest.fixture
def whole(tmp_path) -> Path:
    """A folder with a whole composed model."""
    tiny_model().save_pretrained(tmp_path / "whole")
    return tmp_path / "whole"


@pytest.fixture
def core(tmp_path) -> Path:
    """A folder with the core of `whole` alone, as a Llama of the library."""
    tiny_model().core.save_pretrained(tmp_path / "core")
    return tmp_path / "core"


def sources_of(core: Path, trunk: Path | None = None) -> dict[str, dict]:
    return {"core": {"id": str(core)}} | ({"vision.trunk": {"id": str(trunk)}} if trunk else {})


# Adapters only


@pytest.mark.parametrize("tied", [False, True], ids=["own head", "tied head"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_adapters_go_round_to_the_bit_without_the_core(tmp_path, tied, dtype):
    text = tiny_config().text_config
    text.tie_word_embeddings = tied
    model = tiny_model(text_config=text)
    model.save_pretrained(tmp_path / "whole")
    model.core.save_pretrained(tmp_path / "core")
    model = MultimodalLlama.from_pretrained(tmp_path / "whole", dtype=dtype)
    trained(model, ("image.", "vision.global_layers."))
    model.config.sources = sources_of(tmp_path / "core", trunk=tmp_path / "whole")
    model.save_pretrained(tmp_path / "adapters", adapters_only=True)

    written = load_file(tmp_path / "adapters" / WEIGHTS)
    assert written.keys() == {name for name in model.state_dict() if not name.startswith(("core.", "vision.trunk."))}
    loaded = MultimodalLlama.from_pretrained(tmp_path / "adapters")
    assert loaded.dtype == dtype and same(loaded, model)
    assert torch.equal(loaded(ASKED, **pictures(3)).logits, model(ASKED, **pictures(3)).logits)


def test_the_core_stays_frozen_and_in_evaluation_mode_after_loading(whole, core, tmp_path):
    model = MultimodalLlama.from_pretrained(whole)
    model.config.sources = sources_of(core)
    model.save_pretrained(tmp_path / "adapters", adapters_only=True)
    for folder in (whole, tmp_path / "adapters"):
        loaded = AutoModelForImageTextToText.from_pretrained(folder)
        assert not loaded.training and not loaded.train().core.training and not loaded.vision.trunk.training
        frozen = {name for name, parameter in loaded.named_parameters() if not parameter.requires_grad}
        assert frozen == {n for n, _ in loaded.named_parameters() if n.startswith(("core.", "vision.trunk."))}


def test_a_part_that_was_trained_is_written_though_it_has_a_source(whole, core, tmp_path):
    model = trained(MultimodalLlama.from_pretrained(whole), ("vision.trunk.transformer.resblocks.2.mlp.c_fc.bias",))
    model.config.sources = sources_of(core, trunk=whole)
    model.save_pretrained(tmp_path / "adapters", adapters_only=True)
    assert MultimodalLlamaConfig.from_pretrained(tmp_path / "adapters").left_out == ["core"]
    assert same(MultimodalLlama.from_pretrained(tmp_path / "adapters"), model)


def test_nano_is_a_source(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "NANO", whole)
    model = MultimodalLlama.from_pretrained(whole)
    model.config.sources = {"core": {"id": "nano"}, "vision.trunk": {"id": "nano"}}
    model.save_pretrained(tmp_path / "adapters", adapters_only=True)
    assert same(MultimodalLlama.from_pretrained(tmp_path / "adapters", local_files_only=True), model)


def test_adapters_and_core_come_from_the_hub_s_cache_without_the_network(whole, core, tmp_path):
    model = MultimodalLlama.from_pretrained(whole)
    in_cache = put_in_hub_cache(core, tmp_path / "hub", "some/llama")
    model.config.sources = sources_of(in_cache)
    model.save_pretrained(tmp_path / "adapters", adapters_only=True)
    noted = MultimodalLlamaConfig.from_pretrained(tmp_path / "adapters").sources["core"]
    assert noted["revision"] == in_cache.name == COMMIT
    rename_source(tmp_path / "adapters", "some/llama")
    put_in_hub_cache(tmp_path / "adapters", tmp_path / "hub", "some/adapters")
    assert same(MultimodalLlama.from_pretrained("some/adapters", cache_dir=str(tmp_path / "hub")), model)


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def put_in_hub_cache(folder: Path, cache: Path, name: str) -> Path:
    """A folder as the hub's client would have stored it."""
    home = cache / f"models--{name.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    return Path(shutil.copytree(folder, home / "snapshots" / COMMIT))


def test_loading_adapters_leaves_a_model_that_saves_whole(whole, core, tmp_path):
    model = MultimodalLlama.from_pretrained(whole)
    model.config.sources = sources_of(core)
    model.save_pretrained(tmp_path / "adapters", adapters_only=True)
    assert not model.config.left_out
    again = MultimodalLlama.from_pretrained(tmp_path / "adapters")
    again.save_pretrained(tmp_path / "again")
    shutil.rmtree(core)
    assert same(MultimodalLlama.from_pretrained(tmp_path / "again"), model)
    assert again.config.sources["core"]["id"] == str(core)


def test_adapters_are_saved_over_the_folder_that_they_came_from(whole, core, tmp_path):
    model = MultimodalLlama.from_pretrained(whole)
    model.config.sources = sources_of(core)
    model.save_pretrained(tmp_path / "adapters", adapters_only=True)
    loaded = trained(MultimodalLlama.from_pretrained(tmp_path / "adapters"))
    loaded.save_pretrained(tmp_path / "adapters", adapters_only=True)
    assert same(MultimodalLlama.from_pretrained(tmp_path / "adapters"), trained(model))


# What is refused


def test_saving_adapters_needs_the_core_s_source(whole, core, tmp_path):
    model = MultimodalLlama.from_pretrained(whole)
    with pytest.raises(ValueError, match=r"config\.sources has nothing; .* must say where the core comes from"):
        model.save_pretrained(tmp_path / "adapters", adapters_only=True)
    model.config.sources = sources_of(core) | {"ears": {"id": "nano"}}
    with pytest.raises(ValueError, match="sources has 'ears'; the model has no such part"):
        model.save_pretrained(tmp_path / "adapters", adapters_only=True)
    model.config.sources = sources_of(core)
    trained(model, ("core.model.layers.2.mlp.up_proj.weight",))
    with pytest.raises(
        ValueError, match=r"not the one found there: core\.model\.layers\.2\.mlp\.up_proj\.weight differ"
    ):
        model.save_pretrained(tmp_path / "adapters", adapters_only=True)
    assert not (tmp_path / "adapters").exists()


def test_adapters_do_not_load_onto_another_core(whole, core, tmp_path):
    model = MultimodalLlama.from_pretrained(whole)
    model.config.sources = sources_of(core)
    model.save_pretrained(tmp_path / "adapters", adapters_only=True)
    weights = load_file(core / WEIGHTS)
    weights["model.layers.3.self_attn.v_proj.weight"][0, 0] += 1e-3
    save_file(weights, core / WEIGHTS, {"format": "pt"})
    with pytest.raises(
        ValueError, match=r"found core with fingerprint \w{16}; these adapters were trained on that with"
    ):
        MultimodalLlama.from_pretrained(tmp_path / "adapters")


def test_a_source_that_is_gone_is_named(whole, core, tmp_path):
    model = MultimodalLlama.from_pretrained(whole)
    model.config.sources = sources_of(core)
    model.save_pretrained(tmp_path / "adapters", adapters_only=True)
    shutil.rmtree(core)
    with pytest.raises(ValueError, match=f"{core}: found neither such a folder nor such a model on the hub"):
        MultimodalLlama.from_pretrained(tmp_path / "adapters")
    rename_source(tmp_path / "adapters", "meta-llama/Llama-3.1-8B-Instruct", revision="5206a32")
    with pytest.raises(ValueError, match=r"meta-llama/Llama-3\.1-8B-Instruct at revision 5206a32: found neither"):
        MultimodalLlama.from_pretrained(tmp_path / "adapters", local_files_only=True)


def rename_source(folder: Path, name: str, **facts) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["sources"]["core"] |= {"id": name} | facts
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("extra_embedding.weight"), "extra_embedding.weight missing"),
        (lambda weights: weights.pop("core.model.norm.weight"), "core.model.norm.weight missing"),
        (lambda weights: weights.update(stray=torch.zeros(2)), "stray unexpected"),
        (
            lambda weights: weights.update({"image_projection.bias": torch.zeros(7)}),
            r"image_projection\.bias is \[7\] and should be \[48\]",
        ),
    ],
    ids=["missing", "missing core", "unexpected", "shape"],
)
def test_weights_are_those_of_the_model_or_an_error(whole, change, message):
    weights = load_file(whole / WEIGHTS)
    change(weights)
    save_file(weights, whole / WEIGHTS, {"format": "pt"})
    with pytest.raises(ValueError, match=f"found weights of another model: {message}"):
        MultimodalLlama.from_pretrained(whole)


@pytest.mark.parametrize("change", [dict(sources={"core": {}}), dict(left_out=["core"])], ids=["no id", "no source"])
def test_a_configuration_without_the_facts_is_refused(change):
    with pytest.raises(ValueError, match=r"'id'|left_out has core"):
        tiny_config(**change)


# Files


def test_shards_are_read_by_their_index(whole, tmp_path):
    model = MultimodalLlama.from_pretrained(whole)
    model.save_pretrained(tmp_path / "shards", max_shard_size="200KB")
    assert (tmp_path / "shards" / INDEX).is_file()
    one, many = read_weights(whole), read_weights(tmp_path / "shards")
    assert one.keys() == many.keys() and fingerprint(one) == fingerprint(many)
    assert same(MultimodalLlama.from_pretrained(tmp_path / "shards"), model)


def damage(folder: Path, how: str) -> None:
    index = json.loads((folder / INDEX).read_text())
    first = sorted(index["weight_map"].items())[0]
    if how == "a shard is gone":
        (folder / first[1]).unlink()
    elif how == "a shard is cut off":
        (folder / first[1]).write_bytes((folder / first[1]).read_bytes()[:-10])
    elif how == "a shard is no safetensors file":
        (folder / first[1]).write_bytes(b"\x80\x04.")
    elif how == "a name is not in its shard":
        index["weight_map"]["stray"] = first[1]
    elif how == "a shard lies elsewhere":
        index["weight_map"][first[0]] = "../" + first[1]
    (folder / INDEX).write_text("[]" if how == "the index is none" else json.dumps(index))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("a shard is gone", r"found no model-\d+-of-\d+\.safetensors, which its index names"),
        ("a shard is cut off", "found no readable safetensors file"),
        ("a shard is no safetensors file", "found no readable safetensors file"),
        ("a name is not in its shard", "found other weights than its index names: stray"),
        ("a shard lies elsewhere", "accepted: files of the same folder"),
        ("the index is none", "found no index of weights"),
    ],
)
def test_damaged_weights_are_refused(tmp_path, how, message):
    folder = tmp_path / "shards"
    tiny_model().save_pretrained(folder, max_shard_size="100KB")
    damage(folder, how)
    with pytest.raises(ValueError, match=message):
        read_weights(folder)


@pytest.mark.parametrize("how", ["a shard is gone", "a shard is cut off", "a shard is no safetensors file"])
def test_damaged_weights_of_a_whole_model_are_refused_alike(tmp_path, how):
    folder = tmp_path / "shards"
    tiny_model().save_pretrained(folder, max_shard_size="100KB")
    damage(folder, how)
    with pytest.raises(ValueError, match=r"found no (readable safetensors file|model-\d+-of)"):
        MultimodalLlama.from_pretrained(folder)


def test_files_that_could_run_code_are_not_opened(core, whole):
    for folder in (core, whole):
        (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
        with pytest.raises(ValueError, match=r"found pytorch_model\.bin, which could run code when opened; accepted"):
            read_weights(folder)
    with pytest.raises(ValueError, match=r"found pytorch_model\.bin, which could run code"):
        MultimodalLlama.from_pretrained(whole)


def test_an_empty_folder_has_no_weights(tmp_path):
    with pytest.raises(ValueError, match=r"found no weights; accepted: model\.safetensors"):
        read_weights(tmp_path)


def test_weights_are_mapped_from_the_file_and_survive_its_replacement(core):
    weights = read_weights(core)
    before = {name: weight.clone() for name, weight in weights.items()}
    save_file({name: weight + 1 for name, weight in weights.items()}, core / WEIGHTS, {"format": "pt"})
    assert all(torch.equal(weight, before[name]) for name, weight in weights.items())


def test_a_fingerprint_tells_weights_apart():
    weights = {"a": torch.arange(5000.0), "b": torch.ones(3, 2, dtype=torch.bfloat16)}
    known = fingerprint(weights)
    assert len(known) == 16 and fingerprint(dict(reversed(weights.items()))) == known
    changed = torch.arange(5000.0)
    changed[-1] = 0
    for other in (
        weights | {"a": changed},
        weights | {"b": torch.ones(2, 3, dtype=torch.bfloat16)},
        weights | {"b": torch.ones(3, 2)},
        {"a": weights["a"]},
    ):
        assert fingerprint(other) != known


def test_a_llama_of_the_library_reads_the_core_back(core):
    model = tiny_model()
    assert torch.equal(LlamaForCausalLM.from_pretrained(core)(ids("hello")).logits, model(ids("hello")).logits)
