"""A clean file of weights out of one that needs code to be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ..errors import TeacherError, UnsafeFileError
from ..files import reason, user_path, write_atomic
from ..models.limits import MAX_ELEMENTS, MAX_FILE_BYTES, MAX_HEADER_BYTES, MAX_TENSORS
from ..models.modes import usual_modes
from ..models.tensor_file import read_safetensors
from ..models.torch_file import read_plain
from ..teachers.foreign import refuse_foreign
from ..teachers.weights import states_in
from .outputs import require_free

ENDINGS = (".pt", ".pth", ".th", ".tar", ".bin", ".ckpt", ".pkl", ".pickle", ".model")
MODULES = ("torch.", "__torch__.")
"""Beginnings of classes whose tensors are what is written."""
SHOWN = 12
MAX_SHARING = 4
"""Names under which the bytes of a file may be written on the whole: weights that are tied have two or three."""
SMALL_BYTES = 2**20
"""A file of so few bytes may be written whatever it shares."""


@dataclass(frozen=True)
class Converted:
    """What `convert` wrote."""

    file: Path
    sets: dict[str, int]
    """Key of each set of weights -> its number of tensors."""
    left_out: tuple[str, ...]
    """What the file held beside them: classes that were not made, and values that are no weights."""


@usual_modes()
def convert(file: str | Path, key: str | None = None, out: str | Path | None = None) -> Converted:
    """Writes the weights in `file` as safetensors. Nothing in it is run: pickled modules, TorchScript archives and
    checkpoints with objects of any class are read as plain data, and all but tensors is left out.

    key: of several sets of weights only this one ('state_dict_ema'); without it all are written, each with its key
    before its names, and ARCH@FILE#KEY chooses. out: default is the file's name with .safetensors.

    Raises ConfigError for an output that is there, or whose folder is not; TeacherError for a file without weights, a
    key that it has not, more than is ever read again, or an output that cannot be written; UnsafeFileError for a file
    that lies about its contents.
    """
    source = user_path(file, "file")
    if not source.name:
        raise TeacherError(f"'{source}' names no file of weights")
    target = user_path(out) if out is not None else _default(source)
    require_free(target)
    contents, left_out = _contents(source)
    states = states_in(contents)
    if key is not None:
        states = {"": _chosen(states, key, source)}
    tensors = {
        f"{place}.{name}".lstrip(".") if len(states) > 1 else name: value
        for place, state in states.items()
        for name, value in state.items()
    }
    if len(tensors) < sum(map(len, states.values())):
        raise TeacherError(f"{source}: two of its sets of weights have the same names; choose one with --key")
    if not tensors:
        raise TeacherError(f"{source}: holds no weights: no tensor in it has a name")
    _require_size(tensors, source)
    data = safetensors.torch.save(_own(tensors), {"format": "pt"})
    if int.from_bytes(data[:8], "little") > MAX_HEADER_BYTES:
        raise TeacherError(f"{source}: the names of its tensors take more than {MAX_HEADER_BYTES:,} bytes")
    try:
        write_atomic(target, data)
    except OSError as fault:
        raise TeacherError(f"{target}: cannot be written ({reason(fault)})") from None
    counted = {key or place: len(state) for place, state in states.items()}
    return Converted(target, counted, (*left_out, *_others(contents)))


def _default(source: Path) -> Path:
    name = source
    while name.suffix.lower() in ENDINGS:
        name = name.with_suffix("")
    return name.with_name(name.name + ".safetensors")


def _contents(source: Path) -> tuple[Any, tuple[str, ...]]:
    """(what the file holds, the classes in it that were not made)."""
    if source.suffix.lower() == ".safetensors":
        return read_safetensors(source)[0], ()
    refuse_foreign(source)
    contents = read_plain(source, scripted=True)
    return contents.tree, tuple(name for name in contents.foreign if not name.startswith(MODULES))


def _chosen(states: dict[str, dict[str, Tensor]], key: str, source: Path) -> dict[str, Tensor]:
    """The one set under that key, or with a key that ends so."""
    exact = [place for place in states if place == key]
    matches = exact or [place for place in states if place.endswith("." + key)]
    if len(matches) == 1:
        return states[matches[0]]
    known = ", ".join(f"{place or 'the file itself'} ({len(state)})" for place, state in list(states.items())[:SHOWN])
    raise TeacherError(f"{source}: {len(matches)} sets of weights under '{key}'. With their tensors: {known or 'none'}")


def _require_size(tensors: dict[str, Tensor], source: Path) -> None:
    """What is to be written must be readable again, and no more than a few times what the file holds: one tensor may
    stand there under thousands of names. Raises TeacherError, UnsafeFileError."""
    elements = sum(value.numel() for value in tensors.values())
    if len(tensors) > MAX_TENSORS or elements > MAX_ELEMENTS:
        raise TeacherError(
            f"{source}: {len(tensors):,} tensors of {elements:,} elements; at most {MAX_TENSORS:,} of {MAX_ELEMENTS:,} "
            "are read again. Choose one set of weights with --key"
        )
    storages = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in tensors.values()}
    need, size = sum(value.numel() * value.element_size() for value in tensors.values()), sum(storages.values())
    if need > max(SMALL_BYTES, MAX_SHARING * size) or need > MAX_FILE_BYTES:
        raise UnsafeFileError(
            f"{source}: its {len(tensors):,} names would take {need:,} bytes and share {size:,}; expected at most "
            f"{MAX_SHARING} names for each. Choose one set of weights with --key"
        )


def _own(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each with bytes of its own, as the format needs."""
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}


def _others(contents: Any) -> list[str]:
    """Names at the top of the file that are neither weights nor hold any."""
    if not isinstance(contents, dict):
        return []
    return [
        str(name)[:60] for name, value in contents.items() if not isinstance(value, Tensor) and not states_in(value)
    ]
