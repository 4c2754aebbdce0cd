"""Weights into a network, all of them or none, and why they do not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ..errors import StudentError, TeacherError
from ..models.build import architecture_of, build
from ..models.zoo import networks_of
from ..tasks import Task
from .choice import COUNTERS, fits

SHOWN = 4


def fill(
    module: nn.Module, tensors: Mapping[str, Tensor], task: Task, name: str, file: str, notes: Iterable[str] = ()
) -> None:
    """Loads all of `tensors`, converted to the module's types. Raises TeacherError that says what does not fit.

    notes: how they were chosen in the file, for that message.
    """
    own = {key: value for key, value in module.state_dict().items() if isinstance(value, Tensor)}
    missing = [key for key in own if key not in tensors and not key.endswith(COUNTERS)]
    unexpected = [key for key in tensors if key not in own and not key.endswith(COUNTERS)]
    shapes = [
        (k, tuple(tensors[k].shape), tuple(own[k].shape))
        for k in own
        if k in tensors and tensors[k].shape != own[k].shape
    ]
    if not (missing or unexpected or shapes):
        _require_numbers_alike(own, tensors, file)
        module.load_state_dict({key: tensors[key] for key in own if key in tensors}, strict=False)
        return
    lines = [f"{file}: these weights do not fit '{name}'."]
    lines += _what_differs(shapes, task)
    if shapes:
        lines.append(
            "shapes: " + _some([f"{key} is {list(came)}, expected {list(want)}" for key, came, want in shapes], "; ")
        )
    if missing:
        lines.append("missing: " + _some(missing))
    if unexpected:
        lines.append("not expected: " + _some(unexpected))
    lines += [note.removeprefix(f"{file}: ") for note in notes]
    other = _fitting_zoo(tensors, task)
    if other and other != name:
        lines.append(f"They fit the zoo's '{other}': write {other}@{file}")
    raise TeacherError("\n  ".join(lines))


def _require_numbers_alike(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], file: str) -> None:
    """Raises TeacherError where converting would lose what the numbers mean: imaginary parts, or steps of a grid."""
    for name in own.keys() & tensors.keys():
        value, expected = tensors[name], own[name]
        if value.is_complex() and not expected.is_complex():
            raise TeacherError(f"{file}: weight '{name[:100]}' is complex, and this network's is real")
        if expected.is_floating_point() and not value.is_floating_point():
            raise TeacherError(
                f"{file}: weight '{name[:100]}' has whole numbers ({value.dtype}), steps of a grid that is not there. "
                "Give weights in floating point"
            )


def _some(items: list[str], separator: str = ", ") -> str:
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return separator.join(items[:SHOWN]) + more


def _what_differs(shapes: list[tuple[str, tuple[int, ...], tuple[int, ...]]], task: Task) -> list[str]:
    """The two causes a user can mend in the task: the number of classes and of channels."""
    classes = getattr(task.outputs, "classes", -1)
    heads = {size[0] for _, size, want in shapes if size and want and want[0] == classes and size[1:] == want[1:]}
    if len(heads) == 1 and len([s for s in shapes if s[2] and s[2][0] == classes]) <= 2:
        return [f"This looks like {heads.pop()} classes but the task has {classes}: choose the task of these weights."]
    channels = task.shape[0] if task.pair[0] == "image" else -1
    stems = [size for _, size, want in shapes if len(size) == 4 and len(want) == 4 and want[1] == channels != size[1]]
    if stems and shapes[0][1] == stems[0]:
        return [f"They take {stems[0][1]} channel(s) and the task has {channels}."]
    return []


def _fitting_zoo(tensors: Mapping[str, Tensor], task: Task) -> str | None:
    """The zoo network whose hidden weights all have these names and shapes, or these in a dialect."""
    for name in networks_of(task.pair):
        try:
            with torch.device("meta"):  # shapes only, nothing is allocated
                module = build(architecture_of(name, task))
        except StudentError:  # one that makes no samples of this shape
            continue
        if fits({"": tensors}, module):
            return name
    return None
