"""A model with all it needs around it, so that it can stand alone."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..columns import Inputs
from ..errors import StudentError
from ..kinds.index import input_kind
from ..network import Network
from ..tasks import Task


class Deployable(nn.Module):
    """Inputs as they travel -> answers float32, with the preprocessing inside: images (B, C, H, W) in 0..1 -> logits
    (B, K). Inputs of several columns are its arguments, in the order of the kind's signature.

    Holds a frozen private copy of `module` on the CPU, in float32, in eval mode and in the plain memory layout, with
    its weights as they are seen (those at few bits are rounded once, not at every call); the caller's module stays as
    it was. Raises StudentError for a module that cannot be copied.
    """

    def __init__(self, module: nn.Module, task: Task) -> None:
        super().__init__()
        try:
            self.module = copy.deepcopy(module).cpu().float()
        except Exception as fault:  # tensors with a gradient history kept as attributes, open files, locks ...
            raise StudentError(f"the module cannot be copied ({fault}), so it cannot be deployed") from None
        _bake(self.module)
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            tensor.data = tensor.data.contiguous()  # channels-last weights cannot be traced into every format
        self.columns = tuple(input_kind(task).signature())
        self.task = task
        self.eval().requires_grad_(False)

    def forward(self, *columns: Tensor) -> Tensor:
        inputs: Inputs = columns[0] if len(self.columns) == 1 else dict(zip(self.columns, columns))
        return Network.of(self.module, self.task)(inputs).value


@torch.no_grad()
def _bake(module: nn.Module) -> None:
    """Parametrized weights become plain ones, with the values that they are seen with.

    Not by torch's own `remove_parametrizations`: it changes the class of the layer, which a copy shares with its
    original.
    """
    for part in module.modules():
        if parametrize.is_parametrized(part):
            seen = {name: getattr(part, name).detach().clone() for name in part.parametrizations}  # type: ignore[union-attr]
            del part.parametrizations
            part.__class__ = type(part).__bases__[0]
            for name, value in seen.items():
                part.register_parameter(name, nn.Parameter(value))
