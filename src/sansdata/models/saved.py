"""The student's file: safetensors, with everything needed to use it in one metadata key.

The key 'sansdata' holds JSON: format, architecture (models.build), task, preprocessing, provenance, and in format 3
which tensors are packed and how.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pydantic
import safetensors.torch
from torch import Tensor, nn

from ..config import Strict, validate
from ..errors import StudentError, TaskError, TeacherError
from ..files import write_atomic
from ..tasks import ImageTask, Task, task_from_mapping
from .packed import FLOAT, Packing, pack, unpack
from .tensor_file import read_safetensors

FORMATS = (1, 2, 3)
"""1: images and classes, with mean and std. 2: any pair of kinds, with what its input kind describes as preprocessing;
written only for tasks that 1 cannot say. 3: either, with packed tensors."""
KEY = "sansdata"


class Metadata(Strict):
    format: Literal[1, 2, 3]
    architecture: dict[str, Any] | None
    task: dict[str, Any]
    preprocessing: dict[str, Any]
    provenance: dict[str, Any]
    packed: dict[str, Packing] = pydantic.Field(default_factory=dict)

    @pydantic.model_validator(mode="after")
    def _as_its_format(self) -> Metadata:
        if bool(self.packed) != (self.format == 3):
            raise ValueError("format 3, and no other, says how tensors are packed")
        return self


@dataclass(frozen=True)
class SavedModel:
    """A student file as read. `tensors` has every name of the module's state_dict, tied ones included."""

    architecture: dict[str, Any] | None
    task: Task
    """With the file's own preprocessing."""
    provenance: dict[str, Any]
    tensors: dict[str, Tensor]
    bits: dict[str, int] = field(default_factory=dict)
    """Of each tensor that lies on a grid of so many bits, with one scale or one for each of its first dimension."""


def write_model(
    path: str | Path,
    module: nn.Module,
    architecture: Mapping[str, Any] | None,
    task: Task,
    provenance: Mapping[str, Any],
    packable: Mapping[str, int] | None = None,
) -> None:
    """Writes parameters and buffers of `module` at once or not at all. architecture None: only its maker can build it.
    packable: tensors that lie on a grid of so many bits, or at 32 hold many zeros; they are packed where that saves
    bytes.

    Raises StudentError where the state is no dict of tensors or a description is no plain JSON.
    """
    path = Path(path)
    tensors, packings = _own_copies(module), {}
    for name, bits in (packable or {}).items():
        if packed := pack(name, tensors[name], bits):
            del tensors[name]
            tensors |= packed[0]
            packings[name] = packed[1].model_dump(mode="json", exclude_defaults=True)
    description = {
        "format": 3 if packings else 1 if isinstance(task, ImageTask) else 2,
        "architecture": None if architecture is None else dict(architecture),
        "task": task.model_dump(mode="json"),
        "preprocessing": task.own_preprocessing,
        "provenance": dict(provenance),
        **({"packed": packings} if packings else {}),
    }
    try:
        metadata = {KEY: json.dumps(description, allow_nan=False)}
    except (TypeError, ValueError) as fault:
        raise StudentError(f"{path}: architecture and provenance must be plain JSON ({fault})") from None
    write_atomic(path, safetensors.torch.save(tensors, metadata))


def _own_copies(module: nn.Module) -> dict[str, Tensor]:
    """The state with each name owning its bytes: the format knows neither tied tensors nor strides."""
    tensors: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise StudentError(
                f"'{name}' in the student's state is {type(value).__name__}, not a tensor; it cannot be saved"
            )
        plain = value.detach().cpu().contiguous()
        whole = plain.untyped_storage().nbytes() == plain.numel() * plain.element_size()
        if plain.numel() and (plain.data_ptr() in storages or not whole):
            plain = plain.clone()
        storages.add(plain.data_ptr())
        tensors[name] = plain
    return tensors


def parse_metadata(text: str, where: str) -> tuple[Metadata, Task]:
    """(the metadata, its task with its own preprocessing). Raises TeacherError that names the field which is missing,
    unknown or wrong."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise TeacherError(f"{where}: its 'sansdata' metadata is no valid JSON; the file was changed or cut") from None
    if not isinstance(fields, dict):
        raise TeacherError(f"{where}: its 'sansdata' metadata must be a JSON object, got {type(fields).__name__}")
    if fields.get("format") not in FORMATS:
        raise TeacherError(
            f"{where}: student file format {fields.get('format')!r:.40}; this sansdata reads formats 1, 2 and "
            "3. A newer file needs a newer sansdata."
        )
    metadata = validate(Metadata, fields, where, error=TeacherError)
    try:
        task = task_from_mapping(metadata.task, f"{where}: task")
    except TaskError as fault:
        raise TeacherError(str(fault)) from None
    own = metadata.preprocessing
    if isinstance(task, ImageTask):  # a copy would skip the check of both numbers
        if own.keys() != {"mean", "std"}:
            raise TeacherError(f"{where}: preprocessing needs a mean and a std for each channel of the task")
        scale = {name: own[name] for name in ("mean", "std")}
        return metadata, validate(ImageTask, task.model_dump() | scale, where, error=TeacherError)
    return metadata, task.seen_through(own)


def read_model(path: str | Path) -> SavedModel:
    """A student file, checked. Raises TeacherError for anything else, UnsafeFileError for a file whose header does not
    match its contents."""
    tensors, metadata = read_safetensors(path)
    if KEY not in metadata:
        raise TeacherError(
            f"{path}: a safetensors file, but not one that sansdata wrote (no '{KEY}' metadata). "
            f"Name its architecture: ARCH@{path}"
        )
    described, task = parse_metadata(metadata[KEY], str(path))
    tensors = unpack(tensors, described.packed, str(path))
    bits = {name: packing.bits for name, packing in described.packed.items() if packing.bits != FLOAT}
    return SavedModel(described.architecture, task.beside(Path(path).parent), described.provenance, tensors, bits)
