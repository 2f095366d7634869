"""What `multimodal info` tells of real files of each format, of a hub on this machine, and of damaged folders."""

import json
import re
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM
from typer.testing import CliRunner, Result

import multimodal
from multimodal import checkpoint, cli, memory
from multimodal.convert import meta
from multimodal.info import read_info

from . import tiny
from .convert.tiny_mllama import tiny_mllama
from .hub_server import SHA, HubServer
from .tiny_assistant import save, tiny_assistant

FIGURES = {
    "run": "a run",
    "kinds": {
        "colour": {"exact": 0.96, "constant": 0.2, "blind": 0.1, "questions": 300},
        "text": {"exact": 0.9, "constant": 0.02, "blind": 0.0, "questions": 100},
    },
    "foreign": {"at 96 px": {"exact": 0.85, "constant": 0.2, "questions": 50, "kinds": {"colour": 0.9}}},
}
META_11B = {
    "dim": 4096,
    "n_layers": 32,
    "n_heads": 32,
    "n_kv_heads": 8,
    "vocab_size": 128_256,
    "ffn_dim_multiplier": 1.3,
    "multiple_of": 1024,
    "norm_eps": 1e-5,
    "rope_theta": 500_000.0,
    "use_scaled_rope": True,
    "vision_chunk_size": 560,
    "vision_max_num_chunks": 4,
    "vision_num_cross_attention_layers": 8,
}


def run(*args: str) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(cli.app, ["info", *args])


def assert_refused(result: Result, found: str) -> None:
    assert result.exit_code == 2 and result.stdout == ""
    assert re.fullmatch(rf"error: .*{found}.*\n", result.stderr), result.stderr


@pytest.fixture
def measured(tmp_path) -> Path:
    save(tiny_assistant(), tmp_path)
    (tmp_path / "figures.json").write_text(json.dumps(FIGURES))
    return tmp_path


@pytest.fixture(scope="module")
def eyes(tmp_path_factory) -> Path:
    """A tiny Llama 3.2 Vision in the hub's layout."""
    folder = tmp_path_factory.mktemp("eyes")
    tiny_mllama().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    LlamaForCausalLM(tiny.tiny_config().text_config).save_pretrained(folder)
    return folder


# Our own folders


def test_info_counts_what_the_files_hold(measured):
    told = json.loads(run(str(measured), "--json").stdout)
    model, config = multimodal.load(measured).model, multimodal.load(measured).model.config
    of_part = {part["name"]: part for part in told["parts"]}
    trunk = sum(p.numel() for p in model.vision.trunk.parameters())
    core = sum(p.numel() for p in model.core.parameters())
    assert of_part["text core"]["parameters"] == core and of_part["picture trunk"]["parameters"] == trunk
    assert sum(part["parameters"] for part in told["parts"]) == sum(p.numel() for p in model.parameters())
    assert all(part["bytes"] == 4 * part["parameters"] for part in told["parts"])
    assert told["vocabulary"] == config.text_config.vocab_size and told["tile_px"] == 32 and told["max_tiles"] == 4
    assert told["held_out"]["run"] == "a run" and told["held_out"]["kinds"]["colour"]["exact"] == 0.96


def test_info_prints_tables(measured):
    result = run(str(measured))
    assert result.exit_code == 0 and result.stderr == ""
    for words in ("text core", "picture adapter", "a run", "colour", "96.0%", "94.5%", "at 96 px", "a card of 8 GB"):
        assert words in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_info_tells_what_nano_knows(measured, monkeypatch):
    monkeypatch.setattr(checkpoint, "NANO", measured)
    result = run()
    assert result.exit_code == 0 and "It knows" in result.stdout and "It does not know" in result.stdout
    assert "photographs" in result.stdout and "yes/no" in result.stdout
    told = json.loads(run("nano", "--json").stdout)
    assert told["model"] == "nano" and told["knows"] and told["does_not_know"]


def test_adapters_only_name_where_the_rest_is(llama, tmp_path):
    model = tiny.tiny_model()
    model.core.load_state_dict(load_file(llama / "model.safetensors"))
    model.config.sources = {"core": {"id": str(llama)}}
    model.save_pretrained(tmp_path, adapters_only=True)
    told = json.loads(run(str(tmp_path), "--json").stdout)
    core, *beside = told["parts"]
    assert core["name"] == "text core" and core["bytes"] == 0
    assert core["parameters"] == sum(p.numel() for p in model.core.parameters())
    assert all(part["bytes"] == 4 * part["parameters"] for part in beside)
    assert told["left_out"] == ["core"] and told["sources"]["core"]["id"] == str(llama)
    assert f"left out: core, which is in {llama}" in run(str(tmp_path)).stdout.replace("\n", "")


@pytest.mark.parametrize(
    "figures",
    [
        "{",
        "[]",
        json.dumps({"kinds": {}, "foreign": {}}),
        json.dumps(FIGURES | {"run": 7}),
        json.dumps(FIGURES | {"kinds": {}}),
        json.dumps(FIGURES | {"kinds": {"colour": 0.9}}),
        json.dumps(FIGURES | {"kinds": {"colour": {"exact": 0.9}}}),
        json.dumps(FIGURES | {"kinds": {"colour": {"exact": 96.0, "constant": 0.2, "questions": 300}}}),
        json.dumps(FIGURES | {"foreign": {"at 96 px": {"exact": "0.9", "constant": 0.2, "questions": 300}}}),
    ],
)
def test_info_refuses_figures_that_are_none(measured, figures):
    (measured / "figures.json").write_text(figures)
    assert_refused(run(str(measured)), "figures.json: found ")


# Formats of others


@pytest.mark.parametrize("layout", ["hub", "modules"])
def test_info_of_the_hubs_llama_with_eyes(eyes, tmp_path, layout):
    model = tiny_mllama()
    if layout == "modules":
        save_file(
            {name: weight.contiguous() for name, weight in model.state_dict().items()}, tmp_path / "model.safetensors"
        )
        (tmp_path / "config.json").write_bytes((eyes / "config.json").read_bytes())
    told = read_info(str(eyes if layout == "hub" else tmp_path))
    assert (
        told.format
        == {
            "hub": "Llama 3.2 Vision as the hub stores it",
            "modules": "Llama 3.2 Vision as transformers 5 names its modules",
        }[layout]
    )
    assert [part.name for part in told.parts] == ["text core", "picture tower", "picture adapter"]
    assert sum(part.parameters for part in told.parts) == sum(p.numel() for p in model.parameters())
    assert all(part.bytes == 4 * part.parameters for part in told.parts)
    assert (told.vocabulary, told.positions, told.tile_px, told.patch_px, told.max_tiles) == (64, 512, 32, 8, 4)
    assert told.image_layers == [1, 3] and not told.left_out and told.held_out is None


def test_info_of_a_plain_llama(llama):
    told = read_info(str(llama))
    core = LlamaForCausalLM.from_pretrained(llama)
    (part,) = told.parts
    assert (part.name, part.parameters) == ("text core", sum(p.numel() for p in core.parameters()))
    assert told.tile_px is None and told.keys_and_values.picture == {}
    assert re.search(r": a Llama 3 *\n", run(str(llama)).stdout)


def test_a_head_tied_to_the_embeddings_counts_once(tmp_path):
    config = LlamaConfig(**tiny.tiny_config().text_config.to_dict() | {"tie_word_embeddings": True})
    model = LlamaForCausalLM(config)
    model.save_pretrained(tmp_path)
    (part,) = read_info(str(tmp_path)).parts
    assert part.parameters == sum(p.numel() for p in model.parameters()) == part.bytes // 4


def test_info_of_metas_files_at_full_size(tmp_path):
    """Every tensor has its released shape and no more than one number behind it."""
    (tmp_path / "params.json").write_text(json.dumps(META_11B))
    config = meta.config_of(tmp_path)
    shapes = {name: weight.shape for name, weight in memory.shell(config).state_dict().items()}
    tensors = {}
    for row in meta.rows(config, set()):
        for theirs in row.theirs:
            shape = _metas_shape(theirs, shapes[row.ours[0]], len(row.theirs))
            tensors[theirs] = torch.zeros(1, dtype=torch.bfloat16).expand(shape)
    torch.save(tensors, tmp_path / "consolidated.00.pth")
    told = read_info(str(tmp_path))
    assert told.format == "Llama 3.2 Vision as Meta released it"
    parameters = {part.name: part.parameters for part in told.parts}
    assert parameters == {"text core": 8_030_261_248, "picture tower": 863_567_379, "picture adapter": 1_776_392_208}
    on_disk = {part.name: part.bytes for part in told.parts}
    assert on_disk["text core"] == 2 * parameters["text core"]
    assert told.tile_px == 560 and told.image_layers == [3, 7, 11, 15, 19, 23, 27, 31]


def _metas_shape(theirs: str, ours: torch.Size, stacked: int) -> list[int]:
    if theirs.endswith("conv1._linear.weight"):
        return [ours[0], ours[1] * ours[2] * ours[3]]
    if theirs.endswith(("tile_pos_embed.embedding", "gated_positional_embedding")):  # an entry for each row and column
        return [4, 4, *(ours[2:] if len(ours) == 4 else (1, ours[-1]))]
    return [ours[0] // stacked, *ours[1:]]


def test_info_of_a_trunk_of_open_clip(tmp_path):
    """What open_clip pools and projects for its text tower, and that tower, are not counted."""
    vision = dict(image_size=32, patch_size=8, width=32, layers=4, head_width=16)
    text = dict(context_length=8, vocab_size=20, width=16, heads=2, layers=1)
    clip = open_clip.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text)
    save_file(clip.state_dict(), tmp_path / "open_clip_model.safetensors")
    preprocessing = {"mean": [0.5] * 3, "std": [0.5] * 3}
    config = {"model_cfg": {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}, "preprocess_cfg": preprocessing}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    told = read_info(str(tmp_path))
    (part,) = told.parts
    assert (part.name, told.format) == ("picture trunk", "a picture trunk as open_clip stores it")
    assert part.parameters == sum(p.numel() for p in clip.visual.parameters()) - clip.visual.proj.numel()
    assert told.keys_and_values is None and told.needs == {"bfloat16": part.bfloat16, "four_bits": part.bfloat16}
    shown = run(str(tmp_path))
    assert shown.exit_code == 0 and ": a picture trunk" in shown.stdout and "vocabulary" not in shown.stdout


# The hub


@pytest.fixture
def hub(eyes, tmp_path, monkeypatch):
    with HubServer({"tiny/eyes": eyes}) as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
        files = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server


def test_of_a_hub_id_only_headers_are_fetched(hub, eyes):
    told = read_info("tiny/eyes")
    assert [(p.parameters, p.bytes) for p in told.parts] == [
        (p.parameters, p.bytes) for p in read_info(str(eyes)).parts
    ]
    assert told.model == "tiny/eyes" and told.format == "Llama 3.2 Vision as the hub stores it"
    weights = (eyes / "model.safetensors").stat().st_size
    assert 0 < hub.sent["model.safetensors"] <= 100_001 < weights  # the hub's client asks for so much at first


def test_what_is_in_the_cache_whole_needs_no_network(hub, eyes, tmp_path):
    model = tmp_path / "cache" / "models--tiny--eyes"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(SHA)
    (model / "snapshots").mkdir()
    (model / "snapshots" / SHA).symlink_to(eyes)
    assert read_info("tiny/eyes").parts == read_info(str(eyes)).parts and not hub.sent


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda hub: setattr(hub, "gated", True), "who accepted its licence; .* hf auth login"),
        (
            lambda hub: hub.folders.clear(),
            "tiny/eyes: found neither such a folder nor such a model on the hub .*accepted",
        ),
        (lambda hub: hub.hidden.add("model.safetensors"), "tiny/eyes: found no model.safetensors; accepted"),
        (lambda hub: hub.hidden.add("config.json"), "tiny/eyes: found no config.json.*accepted"),
        (lambda hub: hub.stop(), "tiny/eyes: found neither such a folder nor such a model on the hub .*accepted"),
    ],
)
def test_a_hub_that_does_not_give(hub, change, found):
    change(hub)
    assert_refused(run("tiny/eyes"), found)


def test_a_path_is_no_hub_id(hub):
    assert_refused(run("/no/such/folder"), "/no/such/folder: found neither such a folder nor such a model .*accepted")


@pytest.mark.parametrize("name", ["no/such-model", "/no/such/folder", "a\nb"])
def test_offline_nothing_is_asked_for(name):
    assert_refused(run(name), "found no such folder, and no such model of the hub on this machine; accepted: 'nano'")


# Hostile folders


@pytest.mark.parametrize(
    ("file", "content", "found"),
    [
        ("config.json", None, "found no config.json.*accepted"),
        ("config.json", b"{", "config.json: found no JSON"),
        ("config.json", b"[]", "config.json: found list; accepted"),
        ("config.json", b'{"model_type": "gpt2"}', "found a model of type 'gpt2'; accepted"),
        ("config.json", b'{"model_type": "multimodal_llama"}', "found other weights than .* missing"),
        ("config.json", b'{"model_type": "llama", "hidden_size": "wide"}', "a configuration with a wrong value"),
        ("model.safetensors", None, "found no weights; accepted"),
        ("model.safetensors", b"", "found no readable safetensors file"),
        ("model.safetensors", b"\xff" * 100, "found no readable safetensors file"),
        ("model.safetensors", b"\x02\0\0\0\0\0\0\0[]", "found no readable safetensors file"),
        ("model.safetensors", b"\xe8\x03\0\0\0\0\0\0" + b'{"a": {"dtype"', "found no readable safetensors file"),
        (
            "model.safetensors",
            b'\x36\0\0\0\0\0\0\0{"a": {"dtype":"F16","shape":[],"data_offsets":[0,2]}}\0\0',
            "found other weights than .* missing; a left over",
        ),
        ("params.json", b"[]", "params.json: found AttributeError .*; accepted: that of a Llama 3.2 Vision"),
    ],
)
def test_info_refuses_a_damaged_folder(measured, file, content, found):
    (measured / file).unlink(missing_ok=True)
    if content is not None:
        (measured / file).write_bytes(content)
    assert_refused(run(str(measured)), found)


def test_info_refuses_weights_of_another_size(llama, tmp_path):
    config = json.loads((llama / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"intermediate_size": 100}))
    (tmp_path / "model.safetensors").symlink_to(llama / "model.safetensors")
    assert_refused(run(str(tmp_path)), r"mlp.down_proj.weight is \[48, 96\] and should be \[48, 100\]")


def test_info_refuses_an_empty_folder(tmp_path):
    assert_refused(run(str(tmp_path)), "found no config.json.*accepted")
