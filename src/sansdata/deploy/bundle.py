"""A model with all it needs around it, so that it can stand alone."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from ..columns import Inputs
from ..errors import StudentError
from ..kinds.index import input_kind
from ..network import Network
from ..tasks import Task


class Deployable(nn.Module):
    """Inputs as they travel -> answers float32, with the preprocessing inside: images (B, C, H, W) in 0..1 -> logits
    (B, K). Inputs of several columns are its arguments, in the order of the kind's signature.

    Holds a frozen private copy of `module` on the CPU, in float32, in eval mode and in the plain memory layout; the
    caller's module stays as it was. Raises StudentError for a module that cannot be copied.
    """

    def __init__(self, module: nn.Module, task: Task) -> None:
        super().__init__()
        try:
            self.module = copy.deepcopy(module).cpu().float()
        except Exception as fault:  # tensors with a gradient history kept as attributes, open files, locks ...
            raise StudentError(f"the module cannot be copied ({fault}), so it cannot be deployed") from None
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            tensor.data = tensor.data.contiguous()  # channels-last weights cannot be traced into every format
        self.columns = tuple(input_kind(task).signature())
        self.task = task
        self.eval().requires_grad_(False)

    def forward(self, *columns: Tensor) -> Tensor:
        inputs: Inputs = columns[0] if len(self.columns) == 1 else dict(zip(self.columns, columns))
        return Network.of(self.module, self.task)(inputs).value
