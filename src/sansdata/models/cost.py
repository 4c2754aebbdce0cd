"""What a network costs, counted and not timed."""

from __future__ import annotations

from torch import Tensor, nn

from .. import columns
from ..columns import Inputs
from .device import device_of
from .modes import fixed
from .taps import execution_order


def multiply_adds(module: nn.Module, prepared: Inputs) -> int:
    """Multiply-adds of convolutions and linear layers for one input. prepared: two of them, as the module takes
    them."""
    probe = columns.to(prepared, device_of(module))
    with fixed(module):
        ran = execution_order(module, probe, lambda part: isinstance(part, (nn.Conv1d, nn.Conv2d, nn.Linear)))
    return sum(_layer_cost(module.get_submodule(path), output) for path, output in ran)


def _layer_cost(layer: nn.Module, output: Tensor) -> int:
    per_output = layer.weight[0].numel()  # type: ignore[index]
    return per_output * output[0].numel()
