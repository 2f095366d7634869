"""Which optimizer trains what, and at which rate."""

import torch
from torch import nn

from multimodal.training.optimizers import build_optimizers


class TiedModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.hidden = nn.Linear(4, 4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.convolution = nn.Conv1d(4, 4, 3)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.table.weight


def trained_by(model: nn.Module, muon_lr: float | None) -> dict[str, tuple[str, float, float]]:
    """Name of each trained parameter -> optimizer, peak rate, decay."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (type(optimizer).__name__, group["peak_lr"], group["weight_decay"])
        for optimizer in build_optimizers(model, peak_lr=0.1, muon_lr=muon_lr, weight_decay=0.01)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def test_muon_trains_the_weights_of_linear_layers_and_no_others():
    rest = {"hidden.bias": ("AdamW", 0.1, 0.0), "convolution.bias": ("AdamW", 0.1, 0.0)}
    rest |= {name: ("AdamW", 0.1, 0.01) for name in ("table.weight", "convolution.weight")}
    assert trained_by(TiedModel(), muon_lr=0.3) == rest | {"hidden.weight": ("Muon", 0.3, 0.01)}
    assert trained_by(TiedModel(), muon_lr=None) == rest | {"hidden.weight": ("AdamW", 0.1, 0.01)}


def test_a_step_moves_every_trained_parameter_and_nothing_else():
    torch.manual_seed(0)
    model = TiedModel()
    optimizers = build_optimizers(model, peak_lr=0.1, muon_lr=0.1, weight_decay=0.0)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    h = model.frozen(model.hidden(model.table(torch.tensor([[0, 1, 2, 3, 4]]))))
    model.head(model.convolution(h.transpose(1, 2)).transpose(1, 2)).square().sum().backward()
    for optimizer in optimizers:
        optimizer.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {name for name in before if not name.startswith("frozen")}
