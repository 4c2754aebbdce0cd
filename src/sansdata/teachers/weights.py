"""Reading weights from anyone: safetensors, and PyTorch's own files without ever running the code in them.

What is beside the weights in a training checkpoint is read past where it is known to be settings; the rest of what
torch.save can write is refused by name, and `sansdata convert` takes the weights out of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import TeacherError, UnsafeFileError
from ..models.limits import MAX_ELEMENTS, MAX_TENSORS
from ..models.module_pickle import is_module, state_of
from ..models.pickles import Foreign
from ..models.pt2_file import read_pt2
from ..models.tensor_file import open_size, read_safetensors
from ..models.torch_file import read_plain
from .foreign import refuse_foreign

MAX_DEPTH = 6
"""How deep in a checkpoint weights are looked for."""
MAX_KEY = 500
"""Letters of the way to them; a longer name, repeated for all that lies below it, would fill the memory."""
HARMLESS = frozenset(
    [
        "argparse.Namespace", "types.SimpleNamespace", "collections.deque", "uuid.UUID", "decimal.Decimal",
        "fractions.Fraction", "typing.Any", "numpy.ndarray", "copy_reg._reconstructor", "copyreg._reconstructor",
        *(
            f"{module}.{name}"
            for module in ("builtins", "__builtin__")
            for name in ("object", "list", "dict", "tuple", "int", "float", "bool", "str", "complex", "slice", "range")
        ),
        *(f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")),
    ]
)  # fmt: skip
HARMLESS_PACKAGES = ("pathlib.", "datetime.", "omegaconf.", "yacs.", "easydict.", "ml_collections.",
                     "pytorch_lightning.utilities.parsing.", "lightning_fabric.utilities.data.",
                     "lightning.fabric.utilities.data.", "lightning.pytorch.utilities.parsing.")  # fmt: skip
"""What stands beside the weights in training checkpoints: settings and counters. They are passed over, not made."""


def read_weights(path: str | Path) -> dict[str, dict[str, Tensor]]:
    """Every dict of tensors in a file, by the dotted key where it lies ('' is the file itself): name -> tensor on the
    CPU. Which of them a network is, `choice.choose` finds, and `check_tensors` looks at their values.

    Formats: .safetensors; .pt, .pth, .th, .pth.tar, .bin of torch.save; .pt2 of torch.export, without its program.
    Raises TeacherError for a file that is missing, cut or holds no tensors; UnsafeFileError for one that would have to
    run code, or lies.
    """
    path = Path(path)
    open_size(path)
    if path.suffix.lower() == ".safetensors":
        contents: Any = read_safetensors(path)[0]
    elif path.suffix.lower() == ".pt2":
        contents = read_pt2(path)
    else:
        refuse_foreign(path)
        contents = read_plain(path, partial(_accept, path)).tree
    states = states_in(contents)
    if not states:
        keys = ", ".join(str(key)[:40] for key in list(contents)[:6]) if isinstance(contents, Mapping) else ""
        held = f"its keys: {keys}" if keys else type(contents).__name__
        raise TeacherError(
            f"{path}: no tensors with names in it ({held}), so it holds no weights. Look for the file that does: it "
            "has about four bytes a parameter"
        )
    return states


def _accept(path: Path, name: str) -> None:
    """Raises for a name that stands for more than settings and counters beside the weights."""
    if name not in HARMLESS and not name.startswith(HARMLESS_PACKAGES):
        raise UnsafeFileError(
            f"{path}: needs the code {name[:120]} to be read, which is not run here. Take the weights out of it "
            f"without: sansdata convert {path}"
        )


# -- what was in the file


def states_in(contents: Any) -> dict[str, dict[str, Tensor]]:
    """Dotted key -> tensors by name, of every dict of tensors in what a file holds, and of every pickled module. Lists
    count as dicts of numbers, objects as dicts of their attributes."""
    states: dict[str, dict[str, Tensor]] = {}
    visited: set[int] = set()
    waiting: deque[tuple[str, int, Any]] = deque([("", 0, contents)])
    while waiting:
        key, depth, value = waiting.popleft()
        if id(value) in visited or depth == MAX_DEPTH:
            continue
        visited.add(id(value))
        if is_module(value):
            states[key] = state_of(value)
            continue
        parts = _parts(value)
        tensors = {name: part for name, part in parts.items() if isinstance(part, Tensor)}
        if tensors and (key or not isinstance(value, (list, tuple))):
            states[key] = tensors
        waiting += [
            (f"{key}.{name}".lstrip("."), depth + 1, part)
            for name, part in parts.items()
            if isinstance(part, (Mapping, list, tuple, Foreign)) and len(key) + len(name) < MAX_KEY
        ]
    return states


def _parts(value: Any) -> dict[str, Any]:
    """What a value holds, by names; nothing of what has none."""
    if isinstance(value, Foreign):
        return {**_parts(value.state), **_parts(value.entries), **_parts(value.elements)}
    if isinstance(value, (list, tuple)):
        return {str(place): item for place, item in enumerate(value)}
    return {name: item for name, item in value.items() if isinstance(name, str)} if isinstance(value, Mapping) else {}


def check_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raises TeacherError unless all are plain dense weights with finite values; UnsafeFileError for more than a file
    can hold."""
    if len(tensors) > MAX_TENSORS:
        raise UnsafeFileError(f"{path}: {len(tensors):,} tensors, more than {MAX_TENSORS:,}")
    total = 0
    for name, value in tensors.items():
        where = f"{path}: weight '{name[:100]}'"
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise TeacherError(f"{where} is sparse, quantised or without contents; give plain dense weights")
        total += value.numel()
        # strides of 0 can claim any number of elements over a few bytes
        if value.numel() * value.element_size() > value.untyped_storage().nbytes() or total > MAX_ELEMENTS:
            raise UnsafeFileError(f"{where} claims {value.numel():,} elements; the file has fewer")
        if (value.is_floating_point() or value.is_complex()) and (bad := _not_finite(value)):
            raise TeacherError(
                f"{where} is not finite in {bad:,} of {value.numel():,} places; the training that made it diverged"
            )


def _not_finite(value: Tensor) -> int:
    """How many elements are not; types of one byte have no such operator of their own."""
    finite = torch.isfinite(value.float() if value.dtype.itemsize == 1 else value)
    return 0 if bool(finite.all()) else int((~finite).sum())
