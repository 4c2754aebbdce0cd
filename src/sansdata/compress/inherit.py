"""A student that starts from the teacher's own weights, where it is the same network with fewer layers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..errors import StudentError


def inherit(student: nn.Module, teacher: nn.Module) -> float:
    """Copies every tensor that the teacher has at the same place in the same shape; gives the share of weights copied.

    Where a numbered row of layers is shorter in the student, its layers stand for teacher layers spread evenly over
    the row, first for first and last for last (as DistilBERT takes every other layer, Sanh et al. 2019, section 3).
    Raises StudentError where no weight fits: a narrower student has nothing to inherit.
    """
    share = inheritable(student, teacher)
    if share == 0:
        raise StudentError(
            "inherit=true: no weight of the student has the name and shape of one of the teacher's. It takes a student "
            "of the teacher's kind and width with fewer layers (resnet20 from resnet56); leave it out otherwise."
        )
    mine = _tensors(student)
    with torch.no_grad():
        for name, source in _matches(student, teacher).items():
            mine[name].copy_(source)
    return share


def inheritable(student: nn.Module, teacher: nn.Module) -> float:
    """The share of the student's weights, 0..1, that `inherit` would copy; biases and statistics are not counted."""
    sizes = {name: value.numel() for name, value in _tensors(student).items() if value.ndim > 1}
    copied = sum(sizes.get(name, 0) for name in _matches(student, teacher))
    return copied / max(1, sum(sizes.values()))


def _matches(student: nn.Module, teacher: nn.Module) -> dict[str, Tensor]:
    """The student's name of each tensor that the teacher has too -> the teacher's tensor."""
    mine, theirs = _tensors(student), _tensors(teacher)
    places = _spread(mine, theirs)
    matching = {name: theirs[place] for name, place in places.items() if place in theirs}
    return {name: source for name, source in matching.items() if source.shape == mine[name].shape}


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """The state without what modules keep beside tensors."""
    return {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}


def _spread(mine: Iterable[str], theirs: Iterable[str]) -> dict[str, str]:
    """The student's name of each tensor -> the teacher's, with the numbers of shorter rows spread."""
    own_rows, rows = _rows(mine), _rows(theirs)
    places = {}
    for name in mine:
        parts = name.split(".")
        source = list(parts)
        for i, part in enumerate(parts):
            above = ".".join(parts[:i])
            if part.isdecimal() and len(rows[above]) > len(own_rows[above]) > 1:
                step = (len(rows[above]) - 1) / (len(own_rows[above]) - 1)
                source[i] = rows[above][round(own_rows[above].index(part) * step)]
        places[name] = ".".join(source)
    return places


def _rows(names: Iterable[str]) -> defaultdict[str, list[str]]:
    """Path of a container -> the numbers of its layers, in order."""
    partners: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        parts = name.split(".")
        for i, part in enumerate(parts):
            if part.isdecimal():
                partners[".".join(parts[:i])].add(part)
    return defaultdict(list, {path: sorted(numbers, key=int) for path, numbers in partners.items()})
