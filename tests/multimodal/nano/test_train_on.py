"""Training on begins where the shipped nano stands, with other batches, and counts all steps."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from multimodal.checkpoint import NANO, read_weights
from multimodal.nano.compose import EYES_AND_EARS, begin_with_shipped
from multimodal.nano.stages.trunk import TrunkStage
from multimodal.nano.train_on import STAGES, train_on


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    begin_with_shipped(run, EYES_AND_EARS)
    return run


def test_each_shipped_weight_but_the_places_of_media_is_in_one_stage(shipped):
    total = sum(
        weight.numel()
        for stage in EYES_AND_EARS
        for weight in load_file(shipped / stage / "final.safetensors").values()
    )
    assert total == sum(w.numel() for name, w in read_weights(NANO).items() if name != "extra_embedding.weight")


@pytest.mark.parametrize("name", [name for name in STAGES if name in EYES_AND_EARS and name != "video"])
def test_a_stage_begins_with_the_shipped_weights(name, shipped):
    before = shipped / name / "final.safetensors"
    stage, weights = STAGES[name](shipped, steps=5, begin_from=before), load_file(before)
    model = stage.model.state_dict()
    assert weights.keys() <= model.keys()
    assert all(torch.equal(model[key], weight) for key, weight in weights.items())


def test_the_trunk_goes_on_with_captions_at_once_and_other_pictures(tmp_path):
    final = train_on(tmp_path, "trunk", 1)
    with safe_open(final, framework="pt") as file:
        steps = int(file.metadata()["steps"])
    before = final.with_name("before.safetensors")
    with safe_open(before, framework="pt") as file:
        assert steps == int(file.metadata()["steps"]) + 1 > 1
    first, again = (TrunkStage(steps=5, begin_from=path).batch(0) for path in (before, final))
    assert "captions" in first and not torch.equal(first["pictures"], again["pictures"])


def test_what_is_to_be_kept_keeps_its_bits(tmp_path):
    final = train_on(tmp_path, "image-adapter", 1, keep="vision.")
    before, after = (load_file(path) for path in (final.with_name("before.safetensors"), final))
    same = {name for name, weight in before.items() if torch.equal(weight, after[name])}
    assert {name for name in before if name.startswith("vision.")} <= same
    assert len(before.keys() - same) > 20
