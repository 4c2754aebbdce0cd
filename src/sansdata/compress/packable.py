"""What of a network's state takes fewer bytes in its file: weights at few bits, and those that pruning left."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize

from ..models.packed import FLOAT
from .few_bits import views
from .prune import left_by_pruning
from .quantize import WeightBits


def packable(module: nn.Module) -> dict[str, int]:
    """Name in the state of the released network -> bits of its grid, or 32 where only zeros are left out."""
    pruned = {_stored_name(module, path): FLOAT for path in left_by_pruning(module)}
    trained = {_at(path, "weight"): seen.bits for path, seen, _ in views(module)}
    rounded = {
        _stored_name(module, path): part.parametrizations.weight[0].bits  # type: ignore[index, union-attr]
        for path, part in module.named_modules()
        if parametrize.is_parametrized(part, "weight") and isinstance(part.parametrizations.weight[0], WeightBits)  # type: ignore[index, union-attr]
    }
    return pruned | rounded | trained


def _stored_name(module: nn.Module, path: str) -> str:
    """The name under which a layer's weight is in the state; of one at few bits that trains, as it will be released."""
    layer = module.get_submodule(path)
    if not parametrize.is_parametrized(layer, "weight") or path in {one for one, _, _ in views(module)}:
        return _at(path, "weight")
    return _at(path, "parametrizations.weight.original")


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
