"""Models into one, in a fixed order and in float64, so that the sum does not hang on who answered first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


def average(states: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> dict[str, Tensor]:
    """Weighted mean of states with the same names; weights are normalised. Summed in float64, in the order given.

    Counters (integers, such as num_batches_tracked) take the largest: a mean of counts would be no count.
    """
    total = float(sum(weights))
    result: dict[str, Tensor] = {}
    for name, first in states[0].items():
        if not first.is_floating_point():
            result[name] = torch.stack([state[name] for state in states]).amax(0)
            continue
        mean = torch.zeros_like(first, dtype=torch.float64)
        for state, weight in zip(states, weights):
            mean += state[name].double() * (weight / total)
        result[name] = mean.to(first.dtype)
    return result


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, detached copies on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


def parameter_names(module: nn.Module) -> tuple[str, ...]:
    return tuple(name for name, _ in module.named_parameters())


def weight_names(module: nn.Module) -> tuple[str, ...]:
    """What of its state learns, tied weights by each of their names."""
    buffers = buffer_names(module)
    return tuple(name for name in module.state_dict() if name not in buffers)


def buffer_names(module: nn.Module) -> tuple[str, ...]:
    names = {name for name, _ in module.named_buffers(remove_duplicate=False)}
    return tuple(name for name in module.state_dict() if name in names)
