"""A gate that is closed at the start, and opens by its own gradient."""

import torch

from adapters.gates import TanhGate


def test_a_fresh_gate_is_closed_but_can_open():
    gate, x = TanhGate(), torch.ones(3)
    assert torch.equal(gate(x), torch.zeros(3))
    gate(x).sum().backward()
    assert gate.openness.grad.item() == 3  # the slope of tanh at 0 is 1


def test_an_open_gate_scales_by_tanh():
    gate = TanhGate()
    gate.openness.data.fill_(0.5)
    torch.testing.assert_close(gate(torch.tensor([2.0, -1.0])), torch.tensor([2.0, -1.0]) * 0.46211716)
