"""Training at few bits: a network whose weights are seen on a grid wherever it runs, above float weights that learn.

BinaryConnect (Courbariaux et al. 2015), as FAQD trains: the gradient is taken at the weights on the grid and applied to
the float ones. The float weight stays below the view as `.original`, so that optimisers, checkpoints and functional
calls meet a parameter like any other.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..columns import Inputs
from ..errors import StudentError
from ..models.copying import duplicate
from ..models.modes import fixed
from ..models.taps import execution_order
from .grids import OnGrid, Scale, snap
from .quantize import WeightBits, quantized_parts

Weighted = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Layers whose weight may be at few bits; norms, embeddings, recurrent cells and all biases stay in float."""


class FewBits(nn.Module):
    """The view of a weight on its grid."""

    def __init__(self, bits: int, scale: Scale) -> None:
        super().__init__()
        self.bits = bits
        self.scale: Scale = scale

    def on_grid(self, weight: Tensor) -> OnGrid:
        return snap(weight, self.bits, self.scale)

    def forward(self, weight: Tensor) -> Tensor:
        return _Seen.apply(weight, self)  # type: ignore[return-value]


class _Seen(torch.autograd.Function):
    """The values on the grid, bit for bit; gradients pass to the float weight as they come, of any order."""

    @staticmethod
    def forward(ctx, weight: Tensor, view: FewBits) -> Tensor:  # type: ignore[override]
        return view.on_grid(weight).values

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return grad, None


def layers_that_run(module: nn.Module, prepared: Inputs) -> list[str]:
    """Paths of the weighted layers in the order in which they first run. prepared: two inputs as the module takes
    them, on its device."""
    with fixed(module):
        ran = execution_order(module, prepared, lambda part: isinstance(part, Weighted))
    return list(dict.fromkeys(path for path, _ in ran))


def view(module: nn.Module, prepared: Inputs, bits: int, scale: Scale = "optimal", last: bool = False) -> list[str]:
    """Puts the weights of `module` at `bits` (1, 2, 4 or 8), in place; gives the paths of their layers.

    last: also the layer that runs last, the classifier, which the paper leaves in float. A weight that several layers
    share, or that is computed from others, stays in float too. Raises StudentError where no layer is left.
    """
    if any(isinstance(part, (FewBits, WeightBits)) for part in module.modules()):
        raise StudentError("the student is at few bits already: start from the one in float that it was made from")
    paths = layers_that_run(module, prepared)
    chosen = [path for path in (paths if last else paths[:-1]) if _has_its_own(module, path)]
    if not chosen:
        also = "" if last else ", besides the one that gives the answers (bits.last=true puts that at few bits too)"
        raise StudentError(
            f"bits.weights={bits}: no convolution or linear layer with a weight of its own runs in this student{also}"
        )
    for path in chosen:
        parametrize.register_parametrization(module.get_submodule(path), "weight", FewBits(bits, scale))
    return chosen


def views(module: nn.Module) -> Iterator[tuple[str, FewBits, Tensor]]:
    """(path of the layer, view, float weight below it) of every weight at few bits."""
    for path, part in module.named_modules():
        if parametrize.is_parametrized(part, "weight"):
            first = part.parametrizations.weight[0]  # type: ignore[index, union-attr]
            if isinstance(first, FewBits):
                yield path, first, part.parametrizations.weight.original  # type: ignore[union-attr]


def released(module: nn.Module) -> nn.Module:
    """The network as it leaves: a copy whose weights are those of the grid, without what is below; one that `quantize`
    made keeps its grid, with the same values below it. `module` itself where nothing is at few bits."""
    if not any(isinstance(part, (FewBits, WeightBits)) for part in module.modules()):
        return module
    plain = duplicate(module)
    for path, seen, weight in list(views(plain)):
        layer = plain.get_submodule(path)
        # torch's own way back changes the class of the layer, which the copy shares with its original.
        layer.__class__ = type(layer).__bases__[0]
        del layer.parametrizations
        layer.weight = nn.Parameter(seen.on_grid(weight.detach()).values, weight.requires_grad)
    for _, part in quantized_parts(plain):
        if parametrize.is_parametrized(part.layer, "weight"):
            part.layer.parametrizations.weight.original.data = part.layer.weight.detach()  # type: ignore[union-attr]
    return plain


def _has_its_own(module: nn.Module, path: str) -> bool:
    """Whether the weight of the layer is a parameter that no other part holds."""
    layer = module.get_submodule(path)
    if parametrize.is_parametrized(layer) or not isinstance(layer._parameters.get("weight"), nn.Parameter):
        return False
    owners = [1 for part in module.modules() for one in part._parameters.values() if one is layer.weight]
    return len(owners) == 1
