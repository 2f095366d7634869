"""The optimizers of a stage, and their state by the name of the parameter it belongs to."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


def build_optimizers(
    model: nn.Module, peak_lr: float, muon_lr: float | None, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """What trains the parameters of `model` that require a gradient; each group carries its `peak_lr`.

    With `muon_lr` the weights of linear layers are trained by Muon, in steps whose size is that of AdamW
    at this rate, and all the rest by AdamW; without it, everything by AdamW. Only matrices decay.
    Muon (Jordan et al., 2024; Liu et al., "Muon is scalable for LLM training", 2025) takes rare facts up
    in fewer steps: our choice.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    by_muon = set() if muon_lr is None else {id(weight) for weight in _linear_weights(model)}
    muon = [p for p in trained if id(p) in by_muon]
    rest = [p for p in trained if id(p) not in by_muon]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    on_gpu = any(p.is_cuda for p in trained)
    optimizers = [torch.optim.AdamW(groups, lr=peak_lr, betas=(0.9, 0.95), fused=None if on_gpu else True)]
    if muon:
        optimizers.append(torch.optim.Muon(muon, lr=muon_lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def _linear_weights(model: nn.Module) -> Iterable[nn.Parameter]:
    """Weights of linear layers; a head that shares the table of an embedding is no such weight."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    linear = (module.weight for module in model.modules() if isinstance(module, nn.Linear))
    return (weight for weight in linear if id(weight) not in tables)


def state_tensors(
    optimizers: Iterable[torch.optim.Optimizer], trained: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """The optimizers' state, each tensor under `<key>.<name of the parameter>`."""
    return {
        f"{key}.{name}": value
        for optimizer in optimizers
        for name, parameter in trained.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def load_state_tensors(
    optimizers: Iterable[torch.optim.Optimizer], trained: Mapping[str, nn.Parameter], state: Mapping[str, Tensor]
) -> None:
    """Put back what `state_tensors` gave; a parameter that no loss has reached yet has no state."""
    home = {id(p): optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    for key_and_name, value in state.items():
        key, name = key_and_name.split(".", 1)
        parameter = trained[name]
        stays = key == "step"  # AdamW counts on the CPU
        home[id(parameter)].state[parameter][key] = value if stays else value.to(parameter.device)
