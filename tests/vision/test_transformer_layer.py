"""The transformer layer of picture encoders: its formula, and what may not matter to it."""

import math

import pytest
import torch
from torch import Tensor

from vision.transformer_layer import TransformerLayer

P, N, DIM, HEADS = 2, 6, 16, 4


def random_layer(gates: float = 0.6) -> TransformerLayer:
    torch.manual_seed(0)
    layer = TransformerLayer(DIM, HEADS, mlp_ratio=2.0, gated=True)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.endswith("openness"):
                parameter.fill_(gates if name.startswith("attention") else -gates / 2)
            else:
                parameter.normal_(float(name.endswith("norm.weight")), 0.4)
    return layer


def random_inputs() -> tuple[Tensor, Tensor]:
    """x [P, N, D]; the second picture has four places of the six."""
    torch.manual_seed(1)
    keep = torch.ones(P, N, dtype=torch.bool)
    keep[1, 4:] = False
    return torch.randn(P, N, DIM), keep


def seen(keep: Tensor) -> Tensor:
    """Every place sees those that are there: keep [P, N] -> [P, 1, 1, N]."""
    return keep[:, None, None, :]


def written_out(weights: dict[str, Tensor], x: Tensor, keep: Tensor) -> Tensor:
    """The layer of one picture at a time, head by head; places that are not there stay out of it."""

    def layer_norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    pictures = []
    for picture in (x[p, keep[p]] for p in range(len(x))):
        q, k, v = (layer_norm(picture, "attention_norm") @ weights["qkv.weight"].T).chunk(3, dim=-1)
        heads = [slice(i, i + DIM // HEADS) for i in range(0, DIM, DIM // HEADS)]
        shares = [(q[:, head] @ k[:, head].T / math.sqrt(DIM // HEADS)).softmax(-1) for head in heads]
        attended = torch.cat([share @ v[:, head] for share, head in zip(shares, heads, strict=True)], -1)
        y = picture + weights["attention_gate.openness"].tanh() * (attended @ weights["out.weight"].T)
        hidden = layer_norm(y, "mlp_norm") @ weights["mlp.0.weight"].T + weights["mlp.0.bias"]
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        fed = hidden @ weights["mlp.2.weight"].T + weights["mlp.2.bias"]
        pictures.append(y + weights["mlp_gate.openness"].tanh() * fed)
    return torch.cat(pictures)


@torch.no_grad()
def test_the_layer_is_its_formula():
    layer, (x, keep) = random_layer(), random_inputs()
    torch.testing.assert_close(layer(x, seen(keep))[keep], written_out(layer.state_dict(), x, keep))


@torch.no_grad()
@pytest.mark.parametrize("swapped", ["heads", "query and key", "gates", "norms"])
def test_a_wrong_layer_is_told_from_the_formula(swapped):
    layer, (x, keep) = random_layer(), random_inputs()
    weights = {name: weight.clone() for name, weight in layer.state_dict().items()}
    if swapped == "heads":
        layer.out.weight.data = layer.out.weight.data.unflatten(1, (HEADS, -1)).flip(1).flatten(1)
    elif swapped == "query and key":
        layer.qkv.weight.data = layer.qkv.weight.data.unflatten(0, (3, -1))[[2, 1, 0]].flatten(0, 1)
    elif swapped == "gates":
        layer.attention_gate, layer.mlp_gate = layer.mlp_gate, layer.attention_gate
    else:
        layer.attention_norm, layer.mlp_norm = layer.mlp_norm, layer.attention_norm
    with pytest.raises(AssertionError, match="not close"):
        torch.testing.assert_close(layer(x, seen(keep))[keep], written_out(weights, x, keep))


@torch.no_grad()
def test_closed_gates_keep_every_bit():
    x, keep = random_inputs()
    assert torch.equal(random_layer(gates=0.0)(x, seen(keep)), x)


@torch.no_grad()
def test_places_that_are_not_there_change_nothing():
    layer, (x, keep) = random_layer(), random_inputs()
    expected = layer(x, seen(keep))[keep]
    x[~keep] = 1e4
    assert torch.equal(layer(x, seen(keep))[keep], expected)


@torch.no_grad()
def test_order_and_company_change_nothing():
    layer, (x, keep) = random_layer(), random_inputs()
    expected = layer(x, seen(keep))
    order = torch.randperm(N)
    torch.testing.assert_close(layer(x[:, order], seen(keep[:, order])), expected[:, order])
    torch.testing.assert_close(layer(x[1:, :4], seen(keep[1:, :4])), expected[1:, :4])


@pytest.mark.parametrize("gates", [0.0, 0.6], ids=["closed", "open"])
def test_gradient_reaches_every_weight_once_the_gates_are_open(gates):
    layer, (x, keep) = random_layer(gates), random_inputs()
    layer(x, seen(keep))[keep].square().sum().backward()
    moved = {name for name, parameter in layer.named_parameters() if parameter.grad.any()}
    everything = {name for name, _ in layer.named_parameters()}
    assert moved == (everything if gates else {"attention_gate.openness", "mlp_gate.openness"})
