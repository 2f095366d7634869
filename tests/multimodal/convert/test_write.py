"""Conversion from folder to folder: there and back, interrupted, damaged, and in how much memory."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoProcessor, MllamaForConditionalGeneration

import multimodal
from multimodal.convert.shards import sha256
from multimodal.convert.write import convert

from .folders import VOCABULARY, hub_folder, hub_model, text_folder
from .test_open_clip import publish
from .tiny_mllama import hubs, ours

ROW, ASPECTS = [VOCABULARY, 5, 6, 7, VOCABULARY, 8, 9], [6, 3]


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    return hub_folder(tmp_path_factory.mktemp("hub") / "h")


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return {name: weight for file in folder.glob("*.safetensors") for name, weight in load_file(file).items()}


@torch.no_grad()
def test_there_and_back(hub, tmp_path):
    made = convert(hub, tmp_path / "ours", max_shard_bytes=60_000)
    assert len(list(made.glob("*.safetensors"))) > 3 and not list(tmp_path.glob("*.partial"))
    here, there = multimodal.load(made), multimodal.load(hub)
    inputs = ours([ROW], [ASPECTS])
    assert torch.equal(here.model(**inputs).logits, there.model(**inputs).logits)
    assert here.model.generation_config.eos_token_id == there.model.generation_config.eos_token_id
    back = convert(made, tmp_path / "back", to="hub", max_shard_bytes=60_000)
    for first, again in ((hub, back), (hub, convert(hub, tmp_path / "again", to="hub"))):
        kept, found = weights_of(first), weights_of(again)
        assert kept.keys() == found.keys() and all(torch.equal(kept[name], found[name]) for name in kept)
    theirs = MllamaForConditionalGeneration.from_pretrained(back).eval()
    kept = MllamaForConditionalGeneration.from_pretrained(hub).eval()
    asked = hubs([ROW], [ASPECTS], VOCABULARY)
    assert torch.equal(theirs(**asked).logits, kept(**asked).logits)
    prompt = "<|begin_of_text|><|image|>how many?"
    processor = AutoProcessor.from_pretrained(back)
    picture = torch.rand(3, 70, 40)
    told = processor(text=prompt, images=[[picture]], return_tensors="pt")
    assert torch.equal(told["input_ids"], here.processor(prompt, picture)["input_ids"])


def test_the_type_of_the_weights_is_kept(tmp_path):
    source = hub_folder(tmp_path / "h", hub_model().to(torch.bfloat16))
    made = convert(source, tmp_path / "ours")
    assert {weight.dtype for weight in weights_of(made).values()} == {torch.bfloat16}
    assert json.loads((made / "config.json").read_text())["dtype"] == "bfloat16"


# Nothing half-written, nothing damaged

SLOWLY = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has its children ignore it
from multimodal.convert import shards
from multimodal.convert.write import convert
save = shards.save_file
def slow(*arguments):
    save(*arguments); print("saved", flush=True); time.sleep(0.5)
shards.save_file = slow
convert(sys.argv[1], sys.argv[2], max_shard_bytes=30_000)
"""


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_an_interrupted_conversion_leaves_no_half_written_folder(hub, tmp_path, stop):
    dest = tmp_path / "ours"
    process = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, hub, dest], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline() == b"saved\n"
    process.send_signal(stop)
    process.communicate(timeout=60)
    assert process.returncode != 0 and not dest.exists()
    if stop == signal.SIGINT:
        assert not list(tmp_path.iterdir())
    assert multimodal.load(convert(hub, dest)).model.config.image_layers == [1, 3]
    assert list(tmp_path.iterdir()) == [dest]


def flip_a_byte(file: Path) -> None:
    with open(file, "r+b") as opened:
        opened.seek(-100, os.SEEK_END)
        byte = opened.read(1)
        opened.seek(-100, os.SEEK_END)
        opened.write(bytes([byte[0] ^ 1]))


def as_in_the_hubs_cache(folder: Path, dest: Path) -> Path:
    """Links to files whose names are their SHA-256, as the hub's cache keeps what it downloads."""
    dest.mkdir()
    for file in folder.iterdir():
        blob = dest.parent / sha256(file)
        shutil.copyfile(file, blob)
        (dest / file.name).symlink_to(blob)
    return dest


@pytest.mark.parametrize("kind", ["ours", "the hub's cache"])
def test_a_tampered_shard_is_refused_by_name(hub, tmp_path, kind):
    source = tmp_path / "source"
    source = convert(hub, source, max_shard_bytes=60_000) if kind == "ours" else as_in_the_hubs_cache(hub, source)
    assert convert(source, tmp_path / "whole").is_dir()
    file = sorted(source.glob("*.safetensors"))[1]
    flip_a_byte(file.resolve())
    with pytest.raises(ValueError, match=rf"{file.name}: found another SHA-256 than"):
        convert(source, tmp_path / "dest")
    assert not (tmp_path / "dest").exists() and not (tmp_path / "dest.partial").exists()


@pytest.mark.parametrize("damage", ["truncated", "absent", "another's", "no header"])
def test_a_damaged_shard_is_refused_by_name(hub, tmp_path, damage):
    source = shutil.copytree(hub, tmp_path / "source")
    first, file = sorted(source.glob("*.safetensors"))[:2]
    whole = file.read_bytes()
    if damage == "absent":
        file.unlink()
    else:
        damaged = {"truncated": whole[:-50], "another's": first.read_bytes(), "no header": b"\xff" * 64}
        file.write_bytes(damaged[damage])
    with pytest.raises(ValueError, match=file.name):
        convert(source, tmp_path / "dest")
    assert not list(tmp_path.glob("dest*"))


def test_what_cannot_be_written_is_refused(hub, tmp_path):
    with pytest.raises(ValueError, match="exists; accepted: a folder that is not there yet"):
        convert(hub, tmp_path)
    with pytest.raises(ValueError, match="found the format 'gguf'; accepted: ours, hub"):
        convert(hub, tmp_path / "d", to="gguf")
    publish(tmp_path)
    with pytest.raises(ValueError, match="found open_clip weights without a text core; compose them with one first"):
        convert(tmp_path, tmp_path / "d")
    with pytest.raises(ValueError, match=r"the picture encoder is none; the hub's layout of Llama 3\.2 Vision holds"):
        convert(text_folder(tmp_path / "t"), tmp_path / "d", to="hub")
    assert not (tmp_path / "d").exists()


# Memory

MEASURED = """
import resource, sys
import multimodal.compose, multimodal.convert.write
from multimodal.convert.write import convert
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
if sys.argv[1] == "convert":
    convert(sys.argv[2], sys.argv[3], max_shard_bytes=int(sys.argv[4]))
else:
    multimodal.compose(sys.argv[2], sys.argv[2]).model.load_now()
print(peak() - before)
"""
SHARD = 24_000_000


@pytest.mark.parametrize("what", ["convert", "load"])
def test_memory_stays_within_the_model_and_a_shard(tmp_path, what):
    """Bytes above the imports: to convert one shard read and one written, to load the model and one shard."""
    torch.manual_seed(0)
    config = hub_model().config
    config.text_config.intermediate_size, config.text_config.hidden_size = 24_000, 64
    config.vision_config.intermediate_size = 32 * 2000
    config.vision_config.hidden_size, config.vision_config.vision_output_dim = 32, 32 * 4
    model = MllamaForConditionalGeneration(config)
    total = sum(parameter.nbytes for parameter in model.parameters())
    assert total > 8 * SHARD
    model.save_pretrained(tmp_path / "h", max_shard_size=SHARD)
    text_folder(tmp_path / "t")
    for file in (tmp_path / "t").glob("tokenizer*"):
        shutil.copy(file, tmp_path / "h")
    command = [sys.executable, "-c", MEASURED, what, tmp_path / "h", tmp_path / "d", str(SHARD)]
    used = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    allowed = (2 * SHARD if what == "convert" else total + SHARD) + 40_000_000  # buffers, tokenizer, configuration
    assert used <= allowed, f"{used:,} bytes for {total:,} in shards of {SHARD:,}"
