"""BEST-RQ: masks and their statistics, targets against their formula, and what may move the loss."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from speech.best_rq import BestRQ, masked_stacks, span_mask
from speech.conformer import Conformer, frame_mask, normalised

MELS = 6
TINY = dict(num_mels=MELS, width=32, layers=2, heads=2, ffn_dim=48, kernel=7)
CODES = dict(num_codebooks=3, codebook_size=11, code_dim=4)


def objective(**changes) -> BestRQ:
    torch.manual_seed(0)
    return BestRQ(Conformer(**TINY), **(CODES | changes))


def clips(*frames: int) -> tuple[Tensor, Tensor]:
    return torch.randn(len(frames), max(frames), MELS, generator=seeded(1)) * 2 + 3, torch.tensor(frames)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def heard_by_the_encoder(best_rq: BestRQ, features: Tensor, frames: Tensor, seed: int = 0) -> Tensor:
    heard = []
    hook = best_rq.encoder.register_forward_pre_hook(lambda module, inputs: heard.append(inputs[0]))
    best_rq(features, frames, seeded(seed))
    hook.remove()
    return heard[0]


# Masks


def test_a_frame_is_masked_as_often_as_one_of_the_spans_before_it_starts():
    mask = span_mask(torch.full((400,), 1000), 1000, 32, 0.025, seeded(0))
    ramp = 1 - (1 - 0.025) ** torch.arange(1, 1001).clamp(max=32)
    assert mask.float().mean() == pytest.approx(float(ramp.mean()), abs=0.01)  # 55% in the middle of a clip
    for place in (0, 5, 15, 31, 500):
        assert mask[:, place].float().mean() == pytest.approx(float(ramp[place]), abs=0.1)


def test_a_masked_run_is_a_span_long_unless_spans_overlap_or_the_clip_ends():
    mask = span_mask(torch.full((200,), 500), 500, 32, 0.002, seeded(0))
    edges = F.pad(mask.int(), (1, 1)).diff()
    lengths = [
        (int(end - start), int(end))
        for row in edges
        for start, end in zip(row.eq(1).nonzero()[:, 0], row.eq(-1).nonzero()[:, 0], strict=True)
    ]
    assert all(length >= 32 for length, end in lengths if end < 500)
    assert sum(length == 32 for length, _ in lengths) > 0.8 * len(lengths) > 80


def test_masks_and_noise_are_a_function_of_the_generator():
    frames = torch.tensor([300, 200])
    one, same, other = (span_mask(frames, 300, 32, 0.025, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    best_rq, batch = objective(), clips(300, 200)
    one, same, other = (heard_by_the_encoder(best_rq, *batch, seed) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_padding_is_never_masked_nor_a_target():
    frames = torch.tensor([64, 30, 5, 0])
    mask = span_mask(frames, 64, 32, 1.0, seeded(0))
    assert torch.equal(mask, frame_mask(frames, 64))
    assert masked_stacks(mask, frames).sum(1).tolist() == [16, 8, 2, 0]


def test_a_stack_is_a_target_if_all_its_frames_are_masked():
    masked = torch.tensor([[1, 1, 1, 1, 0, 1, 1, 1, 1, 1], [1, 1, 1, 0, 1, 1, 0, 0, 0, 0]], dtype=torch.bool)
    expected = torch.tensor([[True, False, True], [False, True, False]])  # the second clip has six frames
    assert torch.equal(masked_stacks(masked, torch.tensor([10, 6])), expected)


@torch.no_grad()
def test_masked_frames_are_heard_as_noise_and_the_others_as_they_are():
    best_rq, (features, frames) = objective(noise_std=0.1), clips(800, 500)
    heard, clean = heard_by_the_encoder(best_rq, features, frames), normalised(features, frames)
    mask = span_mask(frames, 800, 32, 0.025, seeded(0))
    assert torch.equal(heard[~mask], clean[~mask])
    assert heard[mask].mean() == pytest.approx(0.0, abs=0.01) and heard[mask].std() == pytest.approx(0.1, rel=0.05)


# Targets


@torch.no_grad()
def test_targets_are_the_nearest_vectors_by_cosine():
    best_rq = objective()
    stacks = torch.randn(40, 4 * MELS, generator=seeded(2))
    codes = best_rq.codes(stacks)
    assert codes.shape == (40, 3)
    for row, stack in enumerate(stacks):
        projected = sum(stack[i] * best_rq.projection[i] for i in range(4 * MELS))
        for book in range(3):
            cosines = F.cosine_similarity(projected, best_rq.codebooks[book], dim=-1)
            assert codes[row, book] == cosines.argmax()
    assert torch.equal(best_rq.codes(stacks * 7), codes)


@torch.no_grad()
def test_loss_and_figures_are_those_of_the_formula():
    best_rq, (features, frames) = objective(), clips(200, 119)
    loss, figures = best_rq(features, frames, seeded(0))
    asked = masked_stacks(span_mask(frames, 200, 32, 0.025, seeded(0)), frames)
    x = best_rq.encoder(heard_by_the_encoder(best_rq, features, frames), frames).x
    clean = normalised(features, frames).reshape(2, 50, 4 * MELS)
    losses, right, used = [], [], [set(), set(), set()]
    for clip, stack in asked.nonzero().tolist():
        codes = best_rq.codes(clean[clip, stack][None])[0]
        logits = (best_rq.heads.weight @ x[clip, stack] + best_rq.heads.bias).reshape(3, 11)
        for book in range(3):
            losses.append(logits[book].logsumexp(0) - logits[book, codes[book]])
            right.append(logits[book].argmax() == codes[book])
            used[book].add(int(codes[book]))
    torch.testing.assert_close(loss, torch.stack(losses).mean())
    assert figures.masked_share == pytest.approx(int(asked.sum()) / (50 + 30))
    assert figures.accuracy == pytest.approx(sum(map(float, right)) / len(right))
    assert figures.codes_used == pytest.approx(sum(map(len, used)) / 3)
    assert not any(figure.requires_grad for figure in figures)


def test_what_is_random_is_drawn_once_from_the_seed_and_kept_with_the_weights():
    one, same, other = objective(), objective(), objective(seed=1)
    for name in ("projection", "codebooks"):
        assert torch.equal(getattr(one, name), getattr(same, name))
        assert not torch.equal(getattr(one, name), getattr(other, name))
        assert name in one.state_dict()
    torch.testing.assert_close(one.codebooks.norm(dim=-1), torch.ones(3, 11))


def test_the_defaults_are_the_paper_s():
    best_rq = BestRQ(Conformer(**(TINY | dict(num_mels=80, width=8))))
    assert best_rq.projection.shape == (320, 16) and best_rq.codebooks.shape == (16, 8192, 16)
    assert (best_rq.span_frames, best_rq.start_probability, best_rq.noise_std) == (32, 0.025, 0.1)


# What may move the loss


def test_frames_that_are_heard_have_no_part_in_the_loss():
    best_rq, (features, frames) = objective(), clips(200, 119)
    outputs = []

    def keep_gradient(module, inputs, output):
        output.x.retain_grad()
        outputs.append(output.x)

    best_rq.encoder.register_forward_hook(keep_gradient)
    best_rq(features, frames, seeded(0))[0].backward()
    asked = masked_stacks(span_mask(frames, 200, 32, 0.025, seeded(0)), frames)
    touched = outputs[0].grad.abs().amax(-1) > 0
    assert torch.equal(touched, asked) and 0 < asked.sum() < asked.numel()


@torch.no_grad()
def test_padding_and_loudness_change_nothing():
    best_rq, (features, frames) = objective(), clips(200, 119)
    loss, figures = best_rq(features, frames, seeded(0))
    features[1, 119:] = 1e3
    torch.testing.assert_close(best_rq(features, frames, seeded(0)), (loss, figures))
    again = best_rq(features * 5 + 2, frames, seeded(0))
    torch.testing.assert_close(again, (loss, figures), atol=1e-3, rtol=1e-3)


def test_gradient_reaches_encoder_and_heads_and_nothing_frozen():
    best_rq, batch = objective(), clips(200, 119)
    best_rq(*batch, seeded(0))[0].backward()
    assert all(weight.grad.any() for weight in best_rq.parameters())
    assert {name.partition(".")[0] for name, _ in best_rq.named_parameters()} == {"encoder", "heads"}
    assert not best_rq.projection.requires_grad and not best_rq.codebooks.requires_grad


def test_a_batch_with_nothing_masked_has_loss_0():
    best_rq, batch = objective(start_probability=0.0), clips(20, 3)
    loss, figures = best_rq(*batch, seeded(0))
    loss.backward()
    assert loss == 0 and [float(figure) for figure in figures] == [0, 0, 0]


# It learns


def repeated_spectra(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Eight clips of 2 s that go round three spectra of 80 ms each: what is masked can be known from the rest."""
    spectra = torch.randn(3, MELS, generator=seeded(5))
    first = torch.randint(3, (8, 1), generator=generator)
    places = (torch.arange(200) // 8 + first) % 3  # [B, F]
    return spectra[places] + 0.05 * torch.randn(8, 200, MELS, generator=generator), torch.full((8,), 200)


def test_a_few_steps_learn_what_is_masked_from_what_is_not():
    best_rq, generator = objective(num_codebooks=2, codebook_size=16), seeded(0)
    optimizer = torch.optim.AdamW(best_rq.parameters(), lr=4e-3)
    start, _ = best_rq(*repeated_spectra(seeded(9)), seeded(9))
    assert start.item() == pytest.approx(math.log(16), rel=0.2)
    for _ in range(60):
        loss, _ = best_rq(*repeated_spectra(generator), generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        loss, figures = best_rq(*repeated_spectra(seeded(9)), seeded(9))
    # far below the uniform loss, and below log 3 too, where knowing the spectra and not their order ends
    assert loss < 0.25 * math.log(16) < math.log(3)
    assert figures.accuracy > 0.75 and figures.codes_used >= 3
