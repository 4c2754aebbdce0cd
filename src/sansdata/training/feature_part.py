"""A part of a student that only training needs, which reads its features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ..errors import MethodError
from ..method import Context
from ..models.modes import fixed
from ..models.with_part import PROJECTED, WithPart
from ..teachers.base import dissect


def beside_features(
    student: nn.Module, context: Context, make: Callable[[int], nn.Module], stream: str, why: str, without: str
) -> WithPart:
    """The student with what `make` gives for the width of its features, at the tap PROJECTED; initialised from the
    stream of that name, the same on every rank.

    why: for what the method needs them, without: how to do without. Raises MethodError where no linear layer gives the
    student's logits.
    """
    with fixed(student):
        head = dissect(context.network.around(student), torch.zeros(2, *context.task.shape)).head
    if head is None:
        raise MethodError(f"{why}, and no linear layer gives this student's logits; take another student, or {without}")
    layer = student.get_submodule(head)
    assert isinstance(layer, nn.Linear)
    with context.streams.as_global(stream, shared=True):
        part = make(layer.in_features)
    return context.runtime.place(WithPart(student, PROJECTED, part, reads=f"{head}:input", child=stream))
