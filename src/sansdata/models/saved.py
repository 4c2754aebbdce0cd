"""The student's file: safetensors, with everything needed to use it in one metadata key.

The key 'sansdata' holds JSON: format, architecture (models.build), task, preprocessing, provenance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic
import safetensors.torch
from torch import Tensor, nn

from ..config import Strict, validate
from ..errors import StudentError, TeacherError
from ..files import write_atomic
from ..tasks import ImageTask
from .tensor_file import read_safetensors

FORMAT = 1
KEY = "sansdata"


class Preprocessing(Strict):
    """The model sees (image - mean) / std of images in 0..1, per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Metadata(Strict):
    format: Literal[1]
    architecture: dict[str, Any] | None
    task: ImageTask
    preprocessing: Preprocessing
    provenance: dict[str, Any]

    @pydantic.model_validator(mode="after")
    def _agrees(self) -> Metadata:
        given, task = self.preprocessing, self.task
        if len(given.mean) != task.channels or len(given.std) != task.channels or min(given.std) <= 0:
            raise ValueError("preprocessing needs a mean and a std above 0 for each channel of the task")
        return self


@dataclass(frozen=True)
class SavedModel:
    """A student file as read. `tensors` has every name of the module's state_dict, tied ones included."""

    architecture: dict[str, Any] | None
    task: ImageTask
    """With the file's own preprocessing as mean and std."""
    preprocessing: Preprocessing
    provenance: dict[str, Any]
    tensors: dict[str, Tensor]


def write_model(
    path: str | Path,
    module: nn.Module,
    architecture: Mapping[str, Any] | None,
    task: ImageTask,
    provenance: Mapping[str, Any],
) -> None:
    """Writes parameters and buffers of `module` at once or not at all. architecture None: only its maker can build it.

    Raises StudentError where the state is no dict of tensors or a description is no plain JSON.
    """
    path = Path(path)
    description = {
        "format": FORMAT,
        "architecture": None if architecture is None else dict(architecture),
        "task": task.model_dump(mode="json"),
        "preprocessing": {"mean": list(task.mean), "std": list(task.std)},
        "provenance": dict(provenance),
    }
    try:
        metadata = {KEY: json.dumps(description, allow_nan=False)}
    except (TypeError, ValueError) as fault:
        raise StudentError(f"{path}: architecture and provenance must be plain JSON ({fault})") from None
    write_atomic(path, safetensors.torch.save(_own_copies(module), metadata))


def _own_copies(module: nn.Module) -> dict[str, Tensor]:
    """The state with each name owning its bytes: the format knows neither tied tensors nor strides."""
    tensors: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise StudentError(
                f"'{name}' in the student's state is {type(value).__name__}, not a tensor; it cannot be saved"
            )
        plain = value.detach().cpu().contiguous()
        whole = plain.untyped_storage().nbytes() == plain.numel() * plain.element_size()
        if plain.numel() and (plain.data_ptr() in taken or not whole):
            plain = plain.clone()
        taken.add(plain.data_ptr())
        tensors[name] = plain
    return tensors


def parse_metadata(text: str, where: str) -> Metadata:
    """Raises TeacherError that names the field which is missing, unknown or wrong."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise TeacherError(f"{where}: its 'sansdata' metadata is no valid JSON; the file was changed or cut") from None
    if not isinstance(fields, dict):
        raise TeacherError(f"{where}: its 'sansdata' metadata must be a JSON object, got {type(fields).__name__}")
    if fields.get("format") != FORMAT:
        raise TeacherError(
            f"{where}: student file format {fields.get('format')!r:.40}; this sansdata reads format {FORMAT}. "
            "A newer file needs a newer sansdata."
        )
    return validate(Metadata, fields, where, error=TeacherError)


def read_model(path: str | Path) -> SavedModel:
    """A student file, checked. Raises TeacherError for anything else, UnsafeFileError for a file that lies."""
    tensors, metadata = read_safetensors(path)
    if KEY not in metadata:
        raise TeacherError(
            f"{path}: a safetensors file, but not one that sansdata wrote (no '{KEY}' metadata). "
            f"Name its architecture: ARCH@{path}"
        )
    found = parse_metadata(metadata[KEY], str(path))
    task = found.task.model_copy(update={"mean": found.preprocessing.mean, "std": found.preprocessing.std})
    return SavedModel(found.architecture, task, found.preprocessing, found.provenance, tensors)
