"""The trunk's stage: batches by their step, and a step that moves what is kept."""

import random

import torch

from multimodal.nano import captions
from multimodal.nano.pictures import sample_style
from multimodal.nano.scenes import sample_scene
from multimodal.nano.stages.trunk import TILE, TrunkStage, build_model, make_tile, make_whole, sample_batch


def test_a_batch_is_a_function_of_seed_and_step():
    stage, other_seed = TrunkStage(steps=10, batch_size=8), TrunkStage(steps=10, batch_size=8, seed=1)
    first, again = stage.batch(5), TrunkStage(steps=10, batch_size=8).batch(5)
    assert first["pictures"].shape == (8, 3, TILE, TILE) and first["pictures"].dtype == torch.uint8
    assert all(torch.equal(first[name], again[name]) for name in first)
    for other in (stage.batch(6), other_seed.batch(5)):
        assert not torch.equal(first["pictures"], other["pictures"])


def test_every_picture_fills_a_tile_and_its_caption_fits():
    rng = random.Random(0)
    for number in range(60):
        scene = sample_scene(rng)
        make = make_tile if number % 2 else make_whole
        picture, caption, names = make(scene, sample_style(rng, scene), rng)
        assert names.shape == (len(captions.PATCH_NAMES), 8, 8)
        assert picture.size == (TILE, TILE) and picture.mode == "RGB"
        assert len(captions.encode(caption)) <= captions.CONTEXT


def test_twins_stand_side_by_side_with_captions_of_their_own():
    words = sample_batch(random.Random(2), 12, tiles=0.0)["captions"]
    assert all(not torch.equal(a, b) for a, b in zip(words[::2], words[1::2], strict=True))


def test_one_step_moves_the_trunk_and_the_loss_is_finite():
    stage = TrunkStage(steps=10, batch_size=8)
    before = {name: p.detach().clone() for name, p in stage.model.visual.named_parameters()}
    optimizer = torch.optim.SGD(stage.model.parameters(), lr=0.01)
    loss, figures = stage.loss(stage.batch(9))
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss) and {"contrastive", "caption", "naming", "early naming"} == set(figures)
    still = [name for name, p in stage.model.visual.named_parameters() if torch.equal(p, before[name])]
    assert not still


def test_at_first_the_stem_learns_alone():
    stage = TrunkStage(steps=10, batch_size=8)
    loss, figures = stage.loss(stage.batch(0))
    loss.backward()
    reached = {name.split(".")[0] for name, p in stage.model.named_parameters() if p.grad is not None}
    assert set(figures) == {"early naming"} and reached == {"visual", "early_naming"}
    assert all(p.grad is None for p in stage.model.visual.transformer.parameters())


def test_a_caption_hangs_on_its_own_picture_only():
    stage = TrunkStage(steps=10, batch_size=8)
    batch = stage.batch(9)
    stage.model.eval()
    with torch.no_grad():
        alone = stage._run(batch)["logits"]
        batch["pictures"][1:] = 0
        changed = stage._run(batch)["logits"]
        blind = stage._run(batch, blind=True)["logits"]
    assert torch.equal(alone[0], changed[0])
    assert not torch.equal(alone[1], changed[1]) and not torch.equal(alone[0], blind[0])


def test_the_trunk_is_open_clips_and_initialised_by_seed():
    one, other = build_model(3), build_model(3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert type(one.visual).__module__ == "open_clip.transformer"
    assert len(one.visual.transformer.resblocks) == 6
    assert one.visual.conv1(torch.zeros(2, 3, TILE, TILE)).shape == (2, 128, 8, 8)
