"""The temporal aggregator against the formulas written out, and what may not matter to it."""

import pytest
import torch
from torch import Tensor

from adapters.resampler import PerceiverLayer, TemporalAggregator

WIDTH, PER = 16, 4


@pytest.fixture(scope="module")
def aggregator() -> TemporalAggregator:
    """Weights large enough that every place matters."""
    torch.manual_seed(0)
    made = TemporalAggregator(WIDTH, num_heads=2, num_layers=2, mlp_ratio=2.0, frames_per_aggregate=PER)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.3)
    return made


def clips(*frames: int, places: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random clips of as many frames each, padded with what must not matter."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(frames), max(frames), places, WIDTH, generator=generator)
    return x, (torch.arange(max(frames)) < torch.tensor(frames)[:, None]).unsqueeze(-1).repeat(1, 1, places)


@pytest.mark.parametrize(("frames", "aggregated"), [(1, 1), (3, 1), (4, 1), (5, 2), (16, 4)])
@torch.no_grad()
def test_consecutive_frames_become_one(aggregator, frames, aggregated):
    x, keep = clips(frames)
    y, kept = aggregator(x, keep)
    assert y.shape == (1, aggregated, 3, WIDTH) and kept.shape == (1, aggregated, 3) and kept.all()
    alone = [aggregator(x[:, start : start + PER], keep[:, start : start + PER])[0] for start in range(0, frames, PER)]
    torch.testing.assert_close(y, torch.cat(alone, 1))


def test_the_published_sizes():
    made = TemporalAggregator(8, num_heads=2)
    assert made.frames_per_aggregate == 32
    assert made(torch.zeros(1, 64, 5, 8), torch.ones(1, 64, 5, dtype=torch.bool))[0].shape == (1, 2, 5, 8)


@torch.no_grad()
def test_a_layer_is_attention_to_features_and_latents(aggregator):
    layer: PerceiverLayer = aggregator.layers[0]
    features, latents = clips(2)[0].flatten(1, 2)[0], clips(1, seed=1)[0][0, 0]  # [6, D], [3, D]
    normed = layer.latent_norm(latents)
    keys, values = layer.kv(torch.cat([layer.feature_norm(features), normed])).chunk(2, -1)
    heads = [slice(0, WIDTH // 2), slice(WIDTH // 2, WIDTH)]
    read = [
        (layer.q(normed)[:, head] @ keys[:, head].T / (WIDTH // 2) ** 0.5).softmax(-1) @ values[:, head]
        for head in heads
    ]
    expected = latents + layer.out(torch.cat(read, -1))
    expected = expected + layer.mlp(layer.mlp_norm(expected))
    found = layer(latents[None], features[None], torch.ones(1, 9, dtype=torch.bool))[0]
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_padding_and_company_change_nothing(aggregator):
    x, keep = clips(9, 3, 6)
    keep[2, :, 2] = False  # a clip of smaller frames
    y, kept = aggregator(x, keep)
    assert kept.any(-1).sum(1).tolist() == [3, 1, 2] and not kept[2, :, 2].any()
    garbage = torch.where(keep.unsqueeze(-1), x, 50.0)
    torch.testing.assert_close(aggregator(garbage, keep)[0][kept], y[kept])
    for clip, (frames, places) in enumerate(((9, 3), (3, 3), (6, 2))):
        alone, _ = aggregator(x[clip : clip + 1, :frames, :places], keep[clip : clip + 1, :frames, :places])
        torch.testing.assert_close(y[clip, : alone.shape[1], :places], alone[0])
    assert y.isfinite().all()


@torch.no_grad()
def test_every_place_of_every_frame_of_an_aggregate_matters_to_all_its_places_and_to_no_other(aggregator):
    x, keep = clips(8)
    y, _ = aggregator(x, keep)
    for frame in range(8):
        for place in range(3):
            changed = x.clone()
            changed[0, frame, place, 0] += 1
            differs = (aggregator(changed, keep)[0] - y).abs().amax(-1)[0] > 1e-4
            assert differs[frame // PER].all() and not differs[1 - frame // PER].any()


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"dim \(10\) must be a multiple of num_heads \(4\)"):
        TemporalAggregator(10, 4)
