"""A model with all it needs around it, so that it can stand alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..columns import Inputs
from ..errors import StudentError
from ..kinds.index import input_kind
from ..models.copying import private_copy
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
        self.module = private_copy(module, StudentError).cpu().float()
        _bake(self.module)
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            tensor.data = tensor.data.contiguous()  # channels-last weights cannot be traced into every format
        kind = input_kind(task)
        self.columns = tuple(kind.signature())
        self.plain = isinstance(kind.draw(1, torch.Generator().manual_seed(0)), Tensor)
        """Whether what travels is one tensor and no columns with names, of which there may be one too."""
        self.task = task
        self.eval().requires_grad_(False)

    def forward(self, *columns: Tensor) -> Tensor:
        inputs: Inputs = columns[0] if self.plain else dict(zip(self.columns, columns))
        return Network.of(self.module, self.task)(inputs).value


@torch.no_grad()
def _bake(module: nn.Module) -> None:
    """Parametrized weights become plain ones, with the values that they are seen with.

    Not by torch's own `remove_parametrizations`: it changes the class of the layer, which a copy shares with its
    original.
    """
    for part in module.modules():
        if parametrize.is_parametrized(part):
            values = {name: getattr(part, name).detach().clone() for name in part.parametrizations}  # type: ignore[union-attr]
            del part.parametrizations
            part.__class__ = type(part).__bases__[0]
            for name, value in values.items():
                part.register_parameter(name, nn.Parameter(value))
