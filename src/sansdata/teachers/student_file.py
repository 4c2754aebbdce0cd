"""Networks out of student files of our own, which say how they are built, for which job and behind which door."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..code_named import code_of
from ..compress.rebuild import factories_in, rebuild
from ..errors import TeacherError, UnsafeFileError
from ..models.saved import SavedModel
from ..tasks import Task
from .fill import fill


def restore(saved: SavedModel, file: Path, spec: str = "") -> nn.Module:
    """The network of a student file of ours, with its weights. spec: what the user wrote; only code that it names may
    make the network, and it is allowed no more memory than the file's weights explain.

    Raises TeacherError or StudentError for a network that the weights do not fit, UnsafeFileError for other code.
    """
    architecture = saved.architecture
    if architecture is None:
        raise TeacherError(
            f"{file}: its network was given as a module in Python, so only your code can build it: "
            f"package.module:function@{file}"
        )
    code = [name for name in [code_of(spec)] if name]
    if unnamed := [name for name in factories_in(architecture) if name not in code]:
        raise UnsafeFileError(
            f"{file}: its network is made by the code {unnamed[0][:200]}. If you trust it, say so: "
            f"{unnamed[0][:200]}@{file}"
        )
    elements = sum(value.numel() for value in saved.tensors.values())
    module = rebuild(architecture, code, elements, f"{file}: a file of {elements:,} numbers whose network")
    fill(module, saved.tensors, saved.task, root_name(architecture), str(file))
    return module


def same_job(saved: Task, task: Task, file: Path | str, mend: str = "Choose the other task") -> Task:
    """The run's task with the file's preprocessing. file: what is of the job `saved`, for messages; mend: what to do
    where it is another, or names its classes in another order. Raises TeacherError."""
    if saved.pair != task.pair:
        raise TeacherError(
            f"{file}: was made for {' x '.join(saved.pair)}, the task is {' x '.join(task.pair)}. {mend}"
        )
    for side in ("inputs", "outputs"):
        theirs, expected = (getattr(one, side).model_dump() for one in (saved, task))
        may_differ = ("class_names", "column", "answers", *getattr(saved, side).files)
        for field in theirs:
            if theirs[field] != expected.get(field) and field not in may_differ:
                shown, required = (str(one[field])[:80] for one in (theirs, expected))
                raise TeacherError(f"{file}: was made for {field} {shown}, the task has {required}. {mend}")
    _require_one_order(saved, task, file, mend)
    return task.seen_through(saved.own_preprocessing)


def _require_one_order(own: Task, asked: Task, file: Path | str, mend: str) -> None:
    """Raises TeacherError where both name their classes, and not alike: a label would be another's."""
    names, others = (getattr(task.outputs, "class_names", ()) for task in (own, asked))
    if names and others and tuple(names) != tuple(others):
        first = next(place for place, pair in enumerate(zip(names, others)) if pair[0] != pair[1])
        raise TeacherError(
            f"{file}: the order of its classes is another than the task's: class {first} is {names[first]!r:.60} there "
            f"and {others[first]!r:.60} in the task. {mend}"
        )


def root_name(architecture: Mapping[str, Any]) -> str:
    while isinstance(architecture.get("of"), Mapping):
        architecture = architecture["of"]
    kind, name = architecture.get("kind"), str(architecture.get("name"))
    return f"{kind}:{name}" if kind in ("timm", "torchvision") else name
