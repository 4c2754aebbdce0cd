"""Any architecture back to a network: those of models.build, and what this room makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..errors import StudentError
from ..models.build import build
from ..models.shared_classifier import insert
from .quantize import quantize
from .shrink import resize

MAX_NESTING = 8
MAX_WIDTH = 65_536


def rebuild(architecture: Mapping[str, Any]) -> nn.Module:
    """The network with random weights, of any kind that models.build knows, or {"kind": "shrink", "ratio", "of", ...},
    {"kind": "quantized", "weights", "inputs", "of", ...}, or {"kind": "shared-classifier", "of", ...}: a student behind
    whose last stage a projector stands.

    Raises StudentError for an architecture that cannot be built.
    """
    return _rebuild(architecture, MAX_NESTING)


def _rebuild(architecture: Mapping[str, Any], depth: int) -> nn.Module:
    kind = architecture.get("kind")
    if kind == "shared-classifier":
        return _with_projector(architecture, depth)
    if kind not in ("shrink", "quantized"):
        return build(architecture)
    of, shape, classes = (architecture.get(part) for part in ("of", "shape", "classes"))
    ratio = architecture.get("ratio")
    if depth == 0:
        raise StudentError(f"architecture: derived more than {MAX_NESTING} times over")
    if not (isinstance(of, Mapping) and isinstance(shape, (list, tuple)) and len(shape) == 3):
        raise StudentError(f"architecture: {kind} needs 'of' (an architecture) and 'shape' (channels, height, width)")
    size = (int(shape[0]), int(shape[1]), int(shape[2]))
    if kind == "quantized":
        bits = (architecture.get("weights"), architecture.get("inputs"))
        if not all(isinstance(one, int) and (2 <= one <= 8 or one == 32) for one in bits):
            raise StudentError(
                f"architecture: quantized needs weights and inputs at 2 to 8 or 32 bits, got {bits!r:.80}"
            )
        return quantize(_rebuild(of, depth - 1), size, *bits)  # type: ignore[arg-type]
    if not (isinstance(ratio, (int, float)) and 0 < ratio <= 1 and isinstance(classes, int)):
        raise StudentError(
            f"architecture: shrink needs a ratio in 0..1 and classes, got {ratio!r:.40}, {classes!r:.40}"
        )
    return resize(_rebuild(of, depth - 1), ratio, size, classes)


def _with_projector(architecture: Mapping[str, Any], depth: int) -> nn.Module:
    of, names = architecture.get("of"), [architecture.get(part) for part in ("stage", "head")]
    sizes = {part: architecture.get(part) for part in ("classes", "width", "features", "factor")}
    if depth == 0:
        raise StudentError(f"architecture: nested more than {MAX_NESTING} times over")
    if not isinstance(of, Mapping) or not all(isinstance(name, str) and name for name in names):
        raise StudentError("architecture: shared-classifier needs 'of' (an architecture), 'stage' and 'head' (paths)")
    if not all(map(_is_width, sizes.values())):
        raise StudentError(f"architecture: shared-classifier needs whole numbers up to {MAX_WIDTH}, got {sizes!r:.120}")
    pooled = architecture.get("pooled")
    if pooled is not None and not _is_size(pooled):
        raise StudentError(f"architecture: shared-classifier's 'pooled' is a height and a width, got {pooled!r:.60}")
    module = _rebuild(of, depth - 1)
    how = {"rectified": architecture.get("rectified", False) is True, "pooled": pooled}
    insert(module, stage=str(names[0]), head=str(names[1]), **how, **sizes)  # type: ignore[arg-type]
    return module


def _is_size(value: object) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(_is_width(one) for one in value)


def _is_width(value: object) -> bool:
    return isinstance(value, int) and 0 < value <= MAX_WIDTH


def factories_in(architecture: Mapping[str, Any]) -> list[str]:
    """The factories, code by name, that rebuilding would import and call."""
    found, part = [], architecture
    for _ in range(MAX_NESTING + 1):
        if part.get("kind") == "factory":
            found.append(str(part.get("name")))
        inner = part.get("of")
        if not isinstance(inner, Mapping):
            break
        part = inner
    return found
