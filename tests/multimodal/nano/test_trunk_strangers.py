"""The trunk sees things whose colour or shape has no name: what they have is told and asked, what they lack is not."""

import random
from dataclasses import replace
from itertools import count

import torch

from multimodal.nano import captions
from multimodal.nano.captions import NAMELESS, PAD, PATCH_NAMES, caption_whole, encode, name_patches, twin_of
from multimodal.nano.scenes import HELD_OUT_PAIRS, OTHER, Scene, Thing, sample_scene, with_strangers
from multimodal.nano.stages.trunk import TILE, TrunkStage, _naming_loss, sample_batch, sample_trunk_scene

STRANGE = Scene((Thing("circle", OTHER, "medium", 0.2, 0.2, 0.1), Thing(OTHER, "red", "large", 0.8, 0.8, 0.14)))


def strange_scenes(number: int) -> list[Scene]:
    rng = random.Random(0)
    scenes = (with_strangers(sample_scene(rng), rng) for _ in range(number))
    return [scene for scene in scenes if scene.things and not scene.inscription]


def test_training_shows_strangers_and_held_out_pictures_none():
    rng = random.Random(0)
    seen, held_out = ([sample_trunk_scene(rng, is_held_out) for _ in range(200)] for is_held_out in (False, True))
    strange = [any(OTHER in (thing.colour, thing.shape) for thing in scene.things) for scene in seen]
    assert 0.2 < sum(strange) / len(strange) < 0.5
    assert not any(OTHER in (thing.colour, thing.shape) for scene in held_out for thing in scene.things)


def test_a_caption_holds_the_names_there_are_and_padding_for_the_others():
    words = encode(caption_whole(STRANGE))
    expected = ("<begin>", "two", "top left", "medium", None, "circle", "bottom right", "large", "red", None, "<end>")
    assert [None if word == PAD else captions.VOCABULARY[word] for word in words] == list(expected)
    assert OTHER not in captions.VOCABULARY


def test_patches_of_a_stranger_are_asked_for_what_it_has():
    names = name_patches(STRANGE, [], (TILE, TILE), (0, 0), TILE, 16)
    whole = Scene(tuple(replace(thing, colour="red", shape="circle") for thing in STRANGE.things))
    expected = name_patches(whole, [], (TILE, TILE), (0, 0), TILE, 16)
    left, right = names[:, :4, :4], names[:, 4:, 4:]
    assert set(left[0].flatten()) == {0, NAMELESS} and set(right[1].flatten()) == {0, NAMELESS}
    names[0, :4, :4], names[1, 4:, 4:] = expected[0, :4, :4], expected[1, 4:, 4:]
    assert (names == expected).all()


def test_no_loss_hangs_on_a_name_that_is_missing():
    names = torch.from_numpy(name_patches(STRANGE, [], (TILE, TILE), (0, 0), TILE, 16)).long().unsqueeze(0)
    logits = torch.randn(1, 64, sum(PATCH_NAMES), generator=torch.Generator().manual_seed(0)).requires_grad_()
    _naming_loss(logits, names).backward()
    colours, shapes = (part.abs().sum(-1)[0] > 0 for part in logits.grad.split(PATCH_NAMES, -1)[:2])
    assert torch.equal(colours, names[0, 0].flatten() != NAMELESS)
    assert torch.equal(shapes, names[0, 1].flatten() != NAMELESS)


@torch.no_grad()
def test_captions_are_read_and_scored_without_the_missing_name():
    stage = TrunkStage(steps=10, batch_size=2, captioned=2)
    stage.model.eval()
    tokens = torch.tensor([encode(caption_whole(STRANGE))] * 2)
    _, before = stage.model._encode_text(tokens[:, :-1])
    features = stage.model._encode_text(tokens[:, :-1])[0]
    out = {
        "image_features": features,
        "text_features": features,
        "logits": torch.zeros(2, 10, len(captions.VOCABULARY)),
    }
    out |= {"labels": tokens[:, 1:], "logit_scale": torch.tensor(1.0)}
    loss = stage.criterion(**out)[1]
    missing = tokens[:, 1:] == PAD
    out["logits"] = out["logits"].masked_scatter(
        missing.unsqueeze(-1), torch.randn(missing.sum() * out["logits"].shape[-1])
    )
    assert missing.sum() == 4 and torch.equal(stage.criterion(**out)[1], loss)
    stage.model.text.token_embedding.weight[PAD] += 1  # whatever stands for the missing word
    changed, after = stage.model._encode_text(tokens[:, :-1])
    assert torch.equal(changed, features) and torch.equal(
        after[~(tokens[:, :-1] == PAD)], before[~(tokens[:, :-1] == PAD)]
    )


def is_told_truly(scene: Scene, other: Scene) -> bool:
    """Whether all that is told of a scene holds of the other too."""
    at = {thing.place: thing for thing in other.things}
    return all(
        thing.place in at
        and thing.size == at[thing.place].size
        and thing.colour in (OTHER, at[thing.place].colour)
        and thing.shape in (OTHER, at[thing.place].shape)
        for thing in scene.things
    )


def test_a_twin_is_another_scene_by_the_names_that_are_told():
    rng = random.Random(1)
    for scene in strange_scenes(600):
        twin = twin_of(scene, rng)
        assert not is_told_truly(scene, twin) and not is_told_truly(twin, scene)
        pairs = {(thing.colour, thing.shape) for thing in twin.things}
        assert not pairs & HELD_OUT_PAIRS and (OTHER, OTHER) not in pairs


def test_a_batch_with_strangers_is_learnt_from():
    stage = TrunkStage(steps=10, batch_size=8, captioned=8)
    batches = (sample_batch(random.Random(seed), 4) for seed in count())
    batch = next(one for one in batches if (one["names"] == NAMELESS).any())
    loss, _ = stage.loss(batch)
    loss.backward()
    gradients = [p.grad for p in stage.model.parameters() if p.grad is not None]
    assert torch.isfinite(loss) and all(torch.isfinite(gradient).all() for gradient in gradients)
