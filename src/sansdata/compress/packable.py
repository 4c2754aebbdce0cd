"""What of a network's state takes fewer bytes in its file: weights at few bits, and those that pruning left."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize

from ..models.packed import FLOAT
from .few_bits import FewBits
from .prune import left_by_pruning
from .quantize import WeightBits


def packable(module: nn.Module) -> dict[str, int]:
    """Name in the state of the released network -> bits of its grid, or 32 where only zeros are left out."""
    names, pruned = {}, left_by_pruning(module)
    for path, part in module.named_modules():
        parametrized = parametrize.is_parametrized(part, "weight")
        view = part.parametrizations.weight[0] if parametrized else None  # type: ignore[index, union-attr]
        if isinstance(view, FewBits):
            name, bits = "weight", view.bits
        elif isinstance(view, WeightBits):
            name, bits = "parametrizations.weight.original", view.bits
        elif view is None and path in pruned:
            name, bits = "weight", FLOAT
        else:
            continue
        names[f"{path}.{name}" if path else name] = bits
    return names
