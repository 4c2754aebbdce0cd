"""How a task is read: by its name, from a file, or from plain data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import read_yaml, validate
from ..errors import TaskError, did_you_mean
from .base import ImageTask, PairTask, Task
from .kinds import SPECS, side
from .known import KNOWN_TASKS

PAIRS = {
    "table-classification": ("table", "classes"),
    "text-classification": ("tokens", "classes"),
    "two-text-classification": ("two-texts", "classes"),
    "question-answering": ("two-texts", "span"),
    "segmentation": ("image", "masks"),
    "few-shot": ("image", "ways"),
    "clip-segmentation": ("clip", "masks"),
    "sound-classification": ("waveform", "classes"),
    "transcription": ("waveform", "transcript"),
}
"""Pairs that have a name of their own; the fields of both sides then stand side by side in the task file."""


def load_task(spec: str | Path | Mapping[str, Any] | Task) -> Task:
    """A task from a known name, a YAML file, or a mapping. Raises TaskError with the field and the reason."""
    if isinstance(spec, Task):
        return spec
    if isinstance(spec, Mapping):
        return task_from_mapping(spec, "the task")
    name = str(spec)
    if name in KNOWN_TASKS:
        return KNOWN_TASKS[name]
    path = Path(name)
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise TaskError(
            f"'{name[:100]}' is neither a known task nor a YAML file. {did_you_mean(name[:100], KNOWN_TASKS)} "
            "For another task write a file: kind: image, shape: [3, 32, 32], classes: 10, mean: [...], std: [...]; "
            "or kind: table-classification, or text-classification."
        )
    return task_from_mapping(read_yaml(path, error=TaskError), str(path), path.parent)


def task_from_mapping(fields: Mapping[str, Any], where: str, folder: Path | None = None) -> Task:
    """Raises TaskError that names the place `where` it was read and the field. Paths are relative to `folder`."""
    fields, apart = dict(fields), "inputs" in fields or "outputs" in fields
    kind = fields.pop("kind", None if apart else "image")
    if not apart:
        if isinstance(kind, str) and kind in PAIRS:
            fields = _two_sides(fields, *PAIRS[kind])
        elif kind == "image":
            return validate(ImageTask, fields, where, error=TaskError)
        else:
            raise TaskError(
                f"{where}: kind '{kind!s:.80}' is not supported. Known: image, {', '.join(PAIRS)}, or inputs: and "
                "outputs: with a kind each."
            )
    elif kind is not None:
        raise TaskError(f"{where}: a task with inputs: and outputs: has no kind of its own, got '{kind}'")
    for name in SPECS:
        if not isinstance(fields.get(name), Mapping):
            raise TaskError(f"{where}: '{name}' must be a section with its kind and what belongs to it")
        fields[name] = side(name, fields[name], where, folder)
    task = validate(PairTask, fields, where, error=TaskError)
    return _shorthand(task, where) if task.pair == ("image", "classes") else task


def _two_sides(fields: dict[str, Any], inputs: str, outputs: str) -> dict[str, Any]:
    """Fields that stand side by side, dealt out; one that no side knows goes to the inputs, which then refuse it."""
    fields_of_outputs = SPECS["outputs"][outputs].model_fields
    parts: dict[str, Any] = {"inputs": {"kind": inputs}, "outputs": {"kind": outputs}}
    for name, value in fields.items():
        if name == "preprocessing":
            parts[name] = value
        else:
            parts["outputs" if name in fields_of_outputs else "inputs"][name] = value
    return parts


def _shorthand(task: PairTask, where: str) -> ImageTask:
    fields = {"shape": task.shape, **task.outputs.model_dump(exclude={"kind", "column"}), **task.preprocessing}
    return validate(ImageTask, fields, where, error=TaskError)
