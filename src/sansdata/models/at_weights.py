"""A module at other weights than its own, and a student as a function that can be asked there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from ..columns import Inputs
from ..contracts import Outputs


class AtWeights(nn.Module):
    """Answers as `module` would with these parameters, for updates that look one step ahead; gradients flow to them.

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


class StudentAt:
    """A student as a function of inputs as they travel, at the weights of its module or at others."""

    def __init__(
        self,
        forward: Callable[[nn.Module, Inputs], Outputs],
        module: nn.Module,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        """forward: how a module of this student is run. weights: by name, in place of the module's parameters."""
        self._forward, self._module, self._weights = forward, module, weights

    def __call__(self, inputs: Inputs) -> Outputs:
        module = self._module
        if self._weights is not None:
            module = AtWeights(module, self._weights).train(module.training)
        return self._forward(module, inputs)

    @property
    def weights(self) -> dict[str, Tensor]:
        """Its parameters by name; gradients flow to those that ask for one."""
        return dict(self._module.named_parameters()) if self._weights is None else dict(self._weights)

    def of(self, module: nn.Module) -> StudentAt:
        """Another module in this one's place, run alike."""
        return StudentAt(self._forward, module)

    def at(self, weights: Mapping[str, Tensor]) -> StudentAt:
        """The same student with these parameters instead; BatchNorm's running statistics are copies."""
        return StudentAt(self._forward, self._module, weights)
