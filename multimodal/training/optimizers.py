"""The optimizers of a stage, and their state by the name of the parameter it belongs to."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def build_optimizers(
    model: nn.Module,
    peak_lr: float,
    muon_lr: float | None,
    weight_decay: float,
    slow: Collection[str] = (),
    slow_share: float = 1.0,
) -> list[torch.optim.Optimizer]:
    """What trains the parameters of `model` that require a gradient; each group carries its `peak_lr`.

    With `muon_lr` the weights of linear layers are trained by Muon, in steps whose size is that of AdamW
    at this rate, and all the rest by AdamW; without it, everything by AdamW. Only matrices decay. Parameters
    whose names are in `slow` learn at `slow_share` of these rates.
    Muon (Jordan et al., 2024; Liu et al., "Muon is scalable for LLM training", 2025) takes rare facts up
    in fewer steps: our choice.
    """
    by_muon = set() if muon_lr is None else {id(weight) for weight in _linear_weights(model)}
    adamw: list[dict[str, Any]] = []
    muon: list[dict[str, Any]] = []
    for is_slow, share in ((False, 1.0), (True, slow_share)):
        of_speed = [p for name, p in model.named_parameters() if p.requires_grad and (name in slow) == is_slow]
        rest = [p for p in of_speed if id(p) not in by_muon]
        lr = peak_lr * share
        adamw.append({"params": [p for p in rest if p.ndim > 1], "lr": lr, "weight_decay": weight_decay})
        adamw.append({"params": [p for p in rest if p.ndim <= 1], "lr": lr, "weight_decay": 0.0})
        if muon_lr is not None:
            muon.append({"params": [p for p in of_speed if id(p) in by_muon], "lr": muon_lr * share})
    on_gpu = any(p.is_cuda for group in adamw + muon for p in group["params"])
    optimizers = [torch.optim.AdamW(_filled(adamw), betas=(0.9, 0.95), fused=None if on_gpu else True)]
    if _filled(muon):
        optimizers.append(torch.optim.Muon(_filled(muon), weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def _filled(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [group for group in groups if group["params"]]


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
