"""A model with all it needs around it, so that it can stand alone."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ..errors import StudentError
from ..models.taps import logits_of
from ..tasks import ImageTask


class Deployable(nn.Module):
    """Images float32 (B, C, H, W) in 0..1 -> logits float32 (B, K); the task's normalisation is inside.

    Holds a frozen private copy of `module` on the CPU, in float32, in eval mode and in the plain memory layout; the
    caller's module stays as it was. Raises StudentError for a module that cannot be copied.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, module: nn.Module, task: ImageTask) -> None:
        super().__init__()
        try:
            self.module = copy.deepcopy(module).cpu().float()
        except Exception as fault:  # tensors with a gradient history kept as attributes, open files, locks ...
            raise StudentError(f"the module cannot be copied ({fault}), so it cannot be deployed") from None
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            tensor.data = tensor.data.contiguous()  # channels-last weights cannot be traced into every format
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(task, name)).view(1, -1, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return logits_of(self.module((images - self.mean) / self.std)).float()
