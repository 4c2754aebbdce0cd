"""Any architecture back to a network: those of models.build, and what this room makes of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import nn

from ..errors import StudentError
from ..models.allocation import Allocation
from ..models.build import build
from ..models.shared_classifier import insert
from .quant_relu import put_stairs
from .quantize import quantize
from .shrink import resize

MAX_NESTING = 8
MAX_SIDE = 8_192
MAX_WIDTH = 65_536
MAX_MAP = 1_024
"""Of the sides of a feature map."""
ROOM = 16 * 1024**2
"""Elements that a network may need beside those of its file: buffers that are not saved."""
ROOM_OF_ORIGIN = 128 * 1024**2
"""The same of one that is made from a larger network, which is built first and thrown away."""


def rebuild(
    architecture: Mapping[str, Any], code: Collection[str] = (), elements: int | None = None, what: str = "the network"
) -> nn.Module:
    """The network with random weights, of any kind that models.build knows, or {"kind": "shrink", "ratio", "of", ...},
    {"kind": "quantized", "weights", "inputs", "of", ...}, {"kind": "quant-relu", "bits", "places", "of"}, with few bits
    of activations, or {"kind": "shared-classifier", "of", ...}: a student behind whose last stage a projector stands.

    code: the functions that the user named; no other is imported. elements: how many numbers the file of its weights
    holds, where the architecture is read from that file too; the network is then stopped where it asks for far more.

    Raises StudentError for an architecture that cannot be built or is too large (what: how the message calls it),
    UnsafeFileError for code that was not named.
    """
    if elements is None or factories_in(architecture):  # what the user's own code allocates is the user's business
        return _rebuild(architecture, MAX_NESTING, code)
    with Allocation(_room(architecture, elements), what):
        return _rebuild(architecture, MAX_NESTING, code)


def _room(architecture: Mapping[str, Any], elements: int) -> int:
    """How many elements may be made on the way to a network of so many."""
    made_of_another = any(part.get("kind") in ("shrink", "quantized") for part in _parts(architecture))
    return 16 * elements + ROOM_OF_ORIGIN if made_of_another else 2 * elements + ROOM


def _rebuild(architecture: Mapping[str, Any], depth: int, code: Collection[str]) -> nn.Module:
    kind = architecture.get("kind")
    if kind == "shared-classifier":
        return _with_projector(architecture, depth, code)
    if kind == "quant-relu":
        return _with_stairs(architecture, depth, code)
    if kind not in ("shrink", "quantized"):
        return build(architecture, code=code)
    of, shape, classes = (architecture.get(part) for part in ("of", "shape", "classes"))
    ratio = architecture.get("ratio")
    if depth == 0:
        raise StudentError(f"architecture: derived more than {MAX_NESTING} times over")
    if not (isinstance(of, Mapping) and isinstance(shape, (list, tuple)) and len(shape) == 3):
        raise StudentError(f"architecture: {kind} needs 'of' (an architecture) and 'shape' (channels, height, width)")
    if not all(isinstance(side, int) and 1 <= side <= MAX_SIDE for side in shape):
        raise StudentError(f"architecture: shape must be whole numbers from 1 to {MAX_SIDE:,}, got {shape!r:.80}")
    size = (int(shape[0]), int(shape[1]), int(shape[2]))
    if kind == "quantized":
        bits = (architecture.get("weights"), architecture.get("inputs"))
        if not all(isinstance(one, int) and (2 <= one <= 8 or one == 32) for one in bits):
            raise StudentError(
                f"architecture: quantized needs weights and inputs at 2 to 8 or 32 bits, got {bits!r:.80}"
            )
        return quantize(_rebuild(of, depth - 1, code), size, *bits)  # type: ignore[arg-type]
    if not (isinstance(ratio, (int, float)) and 0 < ratio <= 1 and isinstance(classes, int)):
        raise StudentError(
            f"architecture: shrink needs a ratio in 0..1 and classes, got {ratio!r:.40}, {classes!r:.40}"
        )
    return resize(_rebuild(of, depth - 1, code), ratio, size, classes, architecture.get("answers"))


def _with_stairs(architecture: Mapping[str, Any], depth: int, code: Collection[str]) -> nn.Module:
    of = architecture.get("of")
    if depth == 0:
        raise StudentError(f"architecture: nested more than {MAX_NESTING} times over")
    if not isinstance(of, Mapping):
        raise StudentError("architecture: quant-relu needs 'of' (an architecture), 'bits' and 'places'")
    module = _rebuild(of, depth - 1, code)
    put_stairs(module, architecture.get("bits"), architecture.get("places"))
    return module


def _with_projector(architecture: Mapping[str, Any], depth: int, code: Collection[str]) -> nn.Module:
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
    module = _rebuild(of, depth - 1, code)
    how = {"rectified": architecture.get("rectified", False) is True, "pooled": pooled}
    insert(module, stage=str(names[0]), head=str(names[1]), **how, **sizes)  # type: ignore[arg-type]
    return module


def _is_size(value: object) -> bool:
    return (
        isinstance(value, (list, tuple)) and len(value) == 2 and all(_is_width(one) and one <= MAX_MAP for one in value)
    )


def _is_width(value: object) -> bool:
    return isinstance(value, int) and 0 < value <= MAX_WIDTH


def factories_in(architecture: Mapping[str, Any]) -> list[str]:
    """The factories, code by name, that rebuilding would import and call."""
    return [str(part.get("name")) for part in _parts(architecture) if part.get("kind") == "factory"]


def _parts(architecture: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The architecture, and what it was made of."""
    part: Any = architecture
    for _ in range(MAX_NESTING + 1):
        yield part
        part = part.get("of")
        if not isinstance(part, Mapping):
            return
