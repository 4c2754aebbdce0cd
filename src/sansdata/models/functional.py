"""A module at other weights than its own, for updates that look one step ahead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


class AtWeights(nn.Module):
    """Answers as `module` would with these parameters; gradients flow to them.

    BatchNorm's running statistics are copies: what a forward pass here sees does not reach the module.
    """

    def __init__(self, module: nn.Module, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        # A tuple, so that torch does not make the module a child of this one.
        self._of = (module,)
        self._tensors = {**parameters, **{name: value.clone() for name, value in module.named_buffers()}}

    def get_submodule(self, target: str) -> nn.Module:
        return self._of[0].get_submodule(target)

    def forward(self, *inputs: Tensor, **columns: Tensor) -> Any:
        return functional_call(self._of[0], self._tensors, inputs, columns)
