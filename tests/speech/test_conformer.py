"""The conformer: one layer against its formulas, padding and company, and the published size."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from adapters.memory import Memory
from speech.conformer import SIZES, Conformer, frame_mask, normalised, rotated, rotation, stack_frames

TINY = dict(num_mels=5, width=24, layers=2, heads=3, ffn_dim=20, kernel=7)
FRAMES = (47, 12, 30, 1)  # 12, 3, 8 and 1 stacks


def random_conformer(**changes) -> Conformer:
    torch.manual_seed(0)
    conformer = Conformer(**(TINY | changes)).eval()
    with torch.no_grad():
        for name, weight in conformer.named_parameters():
            weight.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.3)
    return conformer


def clips(*frames: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(len(frames), max(frames), TINY["num_mels"], generator=generator), torch.tensor(frames)


# One layer, written out


def layer_by_formula(weights: dict[str, Tensor], x: Tensor, places: int, heads: int, broken: str = "") -> Tensor:
    """One clip x [T, D] of which the first `places` are there -> [places, D]; `broken` leaves something out."""

    def norm(name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", torch.tensor(0.0))

    def ffn(name: str, x: Tensor) -> Tensor:
        hidden = linear(f"{name}.1", norm(f"{name}.0", x))
        return (1.0 if broken == "half step" else 0.5) * linear(f"{name}.3", hidden * hidden.sigmoid())

    def turned(x: Tensor, place: int) -> Tensor:
        half = len(x) // 2
        pairs = torch.view_as_complex(torch.stack([x[:half], x[half:]], -1).contiguous())
        angles = torch.tensor([place / 10_000 ** (2 * i / len(x)) for i in range(half)])
        pairs = pairs * torch.polar(torch.ones(half), angles)
        return torch.cat([pairs.real, pairs.imag])

    def attention(x: Tensor) -> Tensor:
        q, k, v = linear("attention.qkv", norm("attention.norm", x)).chunk(3, dim=-1)
        if broken == "query for key":
            q, k = k, q
        out = []
        for qh, kh, vh in zip(q.chunk(heads, -1), k.chunk(heads, -1), v.chunk(heads, -1), strict=True):
            qh, kh = (torch.stack([turned(row, place) for place, row in enumerate(part)]) for part in (qh, kh))
            scores = qh @ kh[:places].T / math.sqrt(qh.shape[-1])
            out.append(scores.softmax(-1) @ vh[:places])
        return linear("attention.out", torch.cat(out, -1))

    def convolution(x: Tensor) -> Tensor:
        value, gate = linear("convolution.gated", norm("convolution.norm", x)).chunk(2, dim=-1)
        x = value * gate.sigmoid()
        if broken != "kernel mask":
            x = x[:places]
        kernel = weights["convolution.kernel.weight"][:, 0, 0]  # [D, kernel]
        before = kernel.shape[1] // 2
        mixed = torch.zeros(places, x.shape[1])
        for place in range(places):
            for tap in range(kernel.shape[1]):
                if 0 <= place + tap - before < len(x):
                    mixed[place] += kernel[:, tap] * x[place + tap - before]
        mixed = norm("convolution.kernel_norm", mixed)
        return F.pad(linear("convolution.out", mixed * mixed.sigmoid()), (0, 0, 0, len(x_in) - places))

    x_in = x
    x = x + ffn("ffn_before", x)
    x = x + attention(x)
    x = x + convolution(x)
    x = x + ffn("ffn_after", x)
    return norm("norm", x)[:places]


@torch.no_grad()
def check_one_layer(broken: str = "") -> None:
    layer, places = random_conformer().layers[0], (11, 7, 1)
    x = torch.randn(3, 11, TINY["width"])
    keep = frame_mask(torch.tensor(places), 11)
    y = layer(x, keep, keep[:, None, None], rotation(11, TINY["width"] // TINY["heads"], x))
    for row, count in enumerate(places):
        expected = layer_by_formula(layer.state_dict(), x[row], count, TINY["heads"], broken)
        torch.testing.assert_close(y[row, :count], expected)


def test_a_layer_is_its_formula():
    check_one_layer()


@pytest.mark.parametrize("broken", ["query for key", "kernel mask", "half step"])
def test_a_layer_is_not_a_broken_formula(broken):
    with pytest.raises(AssertionError):
        check_one_layer(broken)


@torch.no_grad()
def test_the_encoder_is_stacks_of_four_a_linear_layer_and_its_layers():
    conformer, (features, frames) = random_conformer(layers=1), clips(47, 12, 30)
    x, keep = conformer(features, frames)
    assert x.shape == (3, 12, TINY["width"]) and keep.sum(1).tolist() == [12, 3, 8]
    assert x.shape[2] == conformer.out_dim
    for row, count in enumerate(frames.tolist()):
        alone = F.pad(features[row, :count], (0, 0, 0, -count % 4)).reshape(-1, 4 * TINY["num_mels"])
        stem = alone @ conformer.stem.weight.T + conformer.stem.bias
        expected = layer_by_formula(conformer.layers[0].state_dict(), stem, len(stem), TINY["heads"])
        torch.testing.assert_close(x[row][keep[row]], expected)


@torch.no_grad()
def test_rotation_knows_distances_and_no_places():
    q, k = torch.randn(2, 1, 1, 1, 8).expand(2, 1, 1, 9, 8)
    turns = rotation(9, 8, q)
    scores = (rotated(q, turns) @ rotated(k, turns).transpose(2, 3))[0, 0]
    for distance in range(-8, 9):
        same = scores.diagonal(distance)
        torch.testing.assert_close(same, same[:1].expand_as(same))
    assert (scores[0] - scores[0, 0]).abs()[1:].min() > 1e-3


# Padding and company


@torch.no_grad()
def test_padding_and_company_change_nothing():
    conformer, (features, frames) = random_conformer(), clips(*FRAMES)
    x, keep = conformer(features, frames)
    assert not x[~keep].any()
    noisy = torch.where(frame_mask(frames, features.shape[1]).unsqueeze(-1), features, 1e3)
    longer = conformer(F.pad(noisy, (0, 0, 0, 13), value=-1e3), frames)
    torch.testing.assert_close(longer.x[:, : x.shape[1]], x)
    assert torch.equal(longer.keep[:, : x.shape[1]], keep) and not longer.keep[:, x.shape[1] :].any()
    for row, count in enumerate(FRAMES):
        alone = conformer(features[row : row + 1, :count], frames[row : row + 1])
        assert alone.keep.all()
        torch.testing.assert_close(alone.x[0], x[row][keep[row]])


@torch.no_grad()
def test_the_order_of_a_batch_changes_nothing():
    conformer, (features, frames) = random_conformer(), clips(*FRAMES)
    order = torch.tensor([2, 0, 3, 1])
    x, keep = conformer(features, frames)
    turned = conformer(features[order], frames[order])
    torch.testing.assert_close(turned, Memory(x[order], keep[order]))


@torch.no_grad()
def test_training_mode_is_evaluation_mode():
    conformer, batch = random_conformer(), clips(*FRAMES)
    assert torch.equal(conformer.train()(*batch).x, conformer.eval()(*batch).x)


def test_a_clip_of_nothing_gives_nothing_and_stays_finite(monkeypatch):
    def attention(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor) -> Tensor:
        """As kernels do that divide 0 by 0 where nothing is to be seen."""
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
        return scores.masked_fill(~attn_mask, -torch.inf).softmax(-1) @ v

    monkeypatch.setattr(F, "scaled_dot_product_attention", attention)
    conformer, (features, _) = random_conformer(), clips(9, 9)
    x, keep = conformer(features, torch.tensor([9, 0]))
    assert not keep[1].any() and not x[1].any()
    x.sum().backward()
    assert all(weight.grad.isfinite().all() for weight in conformer.parameters())


@torch.no_grad()
def test_every_frame_hears_the_whole_clip_and_the_next_hears_more_of_it():
    conformer, (features, frames) = random_conformer(), clips(40)
    before = conformer(features, frames).x
    features[0, 20] += 1.0
    moved = (conformer(features, frames).x - before).abs().amax(-1)[0]
    assert moved.min() > 1e-5 and moved.argmax() == 20 // 4


def test_gradient_reaches_everything():
    conformer, batch = random_conformer(), clips(*FRAMES)
    conformer(*batch).x.square().sum().backward()
    assert all(weight.grad.any() and weight.grad.isfinite().all() for weight in conformer.parameters())


# Features


def test_stacks_are_frames_side_by_side_with_zeros_behind_the_last():
    features, frames = clips(6, 3)
    x, keep = stack_frames(features, frames)
    assert keep.tolist() == [[True, True], [True, False]]
    assert torch.equal(x[0, 0], features[0, :4].flatten())
    assert torch.equal(x[0, 1], torch.cat([features[0, 4:6].flatten(), torch.zeros(2 * TINY["num_mels"])]))
    assert torch.equal(x[1, 0], torch.cat([features[1, :3].flatten(), torch.zeros(TINY["num_mels"])]))


def test_normalised_features_have_mean_0_and_variance_1_in_each_bin_of_a_clip():
    features, frames = clips(40, 17)
    loud = features * torch.tensor([3.0, 0.2])[:, None, None] - 7
    y = normalised(loud, frames)
    for row, count in enumerate(frames.tolist()):
        assert not y[row, count:].any()
        torch.testing.assert_close(y[row, :count].mean(0), torch.zeros(5), atol=1e-5, rtol=0)
        torch.testing.assert_close(y[row, :count].var(0, correction=0), torch.ones(5), atol=1e-3, rtol=0)
    torch.testing.assert_close(normalised(y, frames), y, atol=1e-3, rtol=1e-3)
    assert not normalised(torch.full((1, 4, 5), 3.0), torch.tensor([4])).any()  # a constant bin says nothing


# Sizes and errors


def parameters(conformer: Conformer) -> int:
    return sum(weight.numel() for weight in conformer.parameters())


@pytest.fixture(scope="module")
def published() -> Conformer:
    with torch.device("meta"):
        return Conformer(**SIZES["paper-1b"])


def test_the_paper_s_encoder_has_its_size(published):
    assert parameters(published) == pytest.approx(1.0e9, rel=0.1)
    assert len(published.layers) == 24 and published.out_dim == 1536
    assert published.layers[0].attention.head_dim == 64


def test_sixty_seconds_are_1500_frames_of_the_published_encoder(published):
    x, keep = published(torch.empty(1, 6000, 80, device="meta"), torch.empty(1, dtype=torch.long, device="meta"))
    assert x.shape == (1, 1500, 1536) and keep.shape == (1, 1500)


def test_nano_is_at_most_5_mb_in_fp16():
    with torch.device("meta"):
        assert 2e6 < parameters(Conformer(**SIZES["nano"])) <= 2.5e6


def test_an_encoder_built_without_memory_and_filled_is_the_encoder():
    original, batch = random_conformer(), clips(*FRAMES)
    with torch.device("meta"):
        filled = Conformer(**TINY)
    filled.load_state_dict(original.state_dict(), strict=True, assign=True)
    assert torch.equal(filled(*batch).x, original(*batch).x)


@torch.no_grad()
def test_half_precision_stays_near():
    features, frames = clips(*FRAMES)
    conformer = random_conformer()
    x = conformer(features, frames).x
    half = conformer.bfloat16()(features.bfloat16(), frames).x
    assert half.dtype == torch.bfloat16
    assert (half - x).norm() < 0.1 * x.norm()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(heads=5), "width is 24; accepted for 5 heads: a multiple of 10"),
        (dict(heads=8), "width is 24; accepted for 8 heads: a multiple of 16"),
        (dict(kernel=6), "kernel is 6; accepted: an odd number of frames"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Conformer(**(TINY | changes))


def test_features_must_be_the_encoder_s():
    conformer, (features, frames) = random_conformer(), clips(9, 4)
    with pytest.raises(ValueError, match=r"features are \[2, 9, 4\]; this encoder takes \[B, F, 5\]"):
        conformer(features[..., :4], frames)
    with pytest.raises(ValueError, match=r"frames are \[1\] for 2 clips; accepted: one number a clip"):
        conformer(features, frames[:1])
