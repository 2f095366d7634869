"""From frames to token embeddings: formulas, padding, company, and the published sizes."""

import math

import pytest
import torch
from torch import Tensor, nn

from adapters.memory import Memory
from adapters.speech_adapter import SpeechAdapter, StackingProjector, StackingTransformer

F, W, D, HEADS = 12, 16, 10, 2
KINDS = {
    "rotary": lambda: SpeechAdapter(F, W, HEADS, 24, D),
    "swiglu, norm in the middle": lambda: StackingProjector(F, 4, 32, D, "swiglu", True),
    "swiglu, norm after": lambda: StackingProjector(F, 4, 32, D, "swiglu", False),
    "gelu, norm in the middle": lambda: StackingProjector(F, 4, 32, D, "gelu", True),
    "transformer": lambda: StackingTransformer(F, 4, 2, HEADS, 24, 9, D),
}


def random_adapter(kind: str) -> nn.Module:
    torch.manual_seed(0)
    adapter = KINDS[kind]().eval()
    with torch.no_grad():
        for name, parameter in adapter.named_parameters():
            parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.3)
    return adapter


def clips(*lengths: int) -> Memory:
    generator = torch.Generator().manual_seed(1)
    keep = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Memory(torch.randn(len(lengths), max(lengths), F, generator=generator), keep)


@pytest.fixture(params=KINDS)
def adapter(request) -> nn.Module:
    return random_adapter(request.param)


@torch.no_grad()
def test_padding_and_company_change_nothing(adapter):
    batch = clips(15, 7, 1)
    x, keep = adapter(batch)
    assert keep.sum(1).tolist() == [math.ceil(length / adapter.stride) for length in (15, 7, 1)]
    noisy = Memory(torch.where(batch.keep.unsqueeze(-1), batch.x, 1e3), batch.keep)
    torch.testing.assert_close(adapter(noisy).x[keep], x[keep])
    for row, length in enumerate((15, 7, 1)):
        alone = adapter(Memory(batch.x[row : row + 1, :length], batch.keep[row : row + 1, :length]))
        torch.testing.assert_close(alone.x[0], x[row][keep[row]])


@torch.no_grad()
def test_a_clip_of_nothing_gives_nothing_and_stays_finite(adapter):
    x, keep = adapter(Memory(torch.randn(2, 5, F), torch.tensor([[True] * 5, [False] * 5])))
    assert keep.sum(1).tolist()[1] == 0 and x.isfinite().all()


# Formulas


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def layer_norm(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]


def rotary_written_out(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """One clip, x [T, F]."""
    padded = torch.cat([torch.zeros(1, F), x, torch.zeros(2, F)])
    kernel = w["convolution.weight"]  # [W, F, 3]
    places = [sum(padded[2 * s + k] @ kernel[:, :, k].T for k in range(3)) for s in range(math.ceil(len(x) / 2))]
    h = torch.stack(places) + w["convolution.bias"]
    q, k, v = (layer_norm(h, w, "layer.attention_norm") @ w["layer.qkv.weight"].T).chunk(3, -1)
    size = W // HEADS
    angles = torch.arange(len(h))[:, None] * 10_000.0 ** (-torch.arange(size // 2) / (size // 2))

    def turned(t: Tensor) -> Tensor:
        pairs = torch.complex(t[:, : size // 2], t[:, size // 2 :]) * torch.polar(torch.ones_like(angles), angles)
        return torch.cat([pairs.real, pairs.imag], -1)

    heads = [slice(i * size, (i + 1) * size) for i in range(HEADS)]
    shares = [(turned(q[:, head]) @ turned(k[:, head]).T / math.sqrt(size)).softmax(-1) for head in heads]
    attended = torch.cat([share @ v[:, head] for share, head in zip(shares, heads, strict=True)], -1)
    h = h + attended @ w["layer.out.weight"].T
    y = layer_norm(h, w, "layer.ffn_norm") @ w["layer.ffn.0.weight"].T + w["layer.ffn.0.bias"]
    h = h + (y * y.sigmoid()) @ w["layer.ffn.2.weight"].T + w["layer.ffn.2.bias"]
    return layer_norm(h, w, "norm") @ w["out.weight"].T + w["out.bias"]


def stacking_written_out(w: dict[str, Tensor], x: Tensor, activation: str, in_the_middle: bool) -> Tensor:
    groups = torch.cat([x, torch.zeros(-len(x) % 4, F)]).view(-1, 4 * F)
    h = rms(groups, w["norm_before.weight"]) @ w["linear_in.weight"].T
    if activation == "swiglu":
        h = h[:, :16] * h[:, 16:] * h[:, 16:].sigmoid()
    else:
        h = 0.5 * h * (1 + torch.erf(h / math.sqrt(2)))
    if in_the_middle:
        return rms(h, w["norm_middle.weight"]) @ w["linear_out.weight"].T
    return rms(h @ w["linear_out.weight"].T, w["norm_after.weight"])


@torch.no_grad()
@pytest.mark.parametrize("broken", [None, "convolution turned round", "no rotation", "swapped keys and values"])
def test_the_rotary_adapter_is_its_formula(broken):
    adapter, (x, keep) = random_adapter("rotary"), clips(9)
    expected = rotary_written_out(adapter.state_dict(), x[0])
    if broken == "convolution turned round":
        adapter.convolution.weight.data = adapter.convolution.weight.data.flip(2)
    elif broken == "no rotation":
        adapter.layer.rope_theta = 1e30
    elif broken:
        adapter.layer.qkv.weight.data = adapter.layer.qkv.weight.data.unflatten(0, (3, -1))[[0, 2, 1]].flatten(0, 1)
    found = adapter(Memory(x, keep)).x[0]
    if broken is None:
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    else:
        assert (found - expected).abs().max() > 0.01


@torch.no_grad()
@pytest.mark.parametrize(
    ("activation", "in_the_middle"), [("swiglu", True), ("swiglu", False), ("gelu", True)], ids=str
)
def test_the_stacking_projector_is_its_formula(activation, in_the_middle):
    adapter = random_adapter(f"{activation}, norm {'in the middle' if in_the_middle else 'after'}")
    x, keep = clips(10)
    expected = stacking_written_out(adapter.state_dict(), x[0], activation, in_the_middle)
    torch.testing.assert_close(adapter(Memory(x, keep)).x[0], expected)
    if activation == "swiglu":  # the halves in each other's place
        adapter.linear_in.weight.data = adapter.linear_in.weight.data.roll(16, 0)
        assert (adapter(Memory(x, keep)).x[0] - expected).abs().max() > 0.01


# Sizes


@pytest.mark.parametrize(("text", "millions"), [(4096, 90), (8192, 102)], ids=["8B", "70B"])
def test_the_papers_adapter_has_about_100m_parameters(text, millions):
    with torch.device("meta"):
        adapter = SpeechAdapter(1536, 3072, 24, 4096, text)
    assert sum(p.numel() for p in adapter.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)


def test_ultravoxs_projector_for_8b_has_its_shapes():
    with torch.device("meta"):
        projector = StackingProjector(1280, 8, 4096, 4096, "swiglu", True)
    assert projector.linear_in.weight.shape == (4096, 10240) and projector.linear_out.weight.shape == (4096, 2048)
    assert sum(p.numel() for p in projector.parameters()) / 1e6 == pytest.approx(50.34, abs=0.01)


def test_an_unknown_activation_and_a_clip_too_long_are_refused():
    with pytest.raises(ValueError, match="found the activation 'tanh'; accepted: swiglu, gelu, relu, silu"):
        StackingProjector(F, 4, 32, D, "tanh", True)
    with pytest.raises(ValueError, match="found a clip of 10 places; accepted: at most 9"):
        random_adapter("transformer")(clips(40))
