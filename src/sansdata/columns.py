"""What travels between rooms: one tensor, or named columns, whose first axis is the sample. The only module that asks
which of the two it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Inputs = Tensor | Mapping[str, Tensor]
"""Images are a tensor (B, C, H, W); texts are {'tokens': (B, L), 'mask': (B, L)}; an input kind says which it has."""

Some = TypeVar("Some", bound=Inputs)


def each(change: Callable[..., Tensor], *inputs: Inputs) -> Inputs:
    """`change` on the tensor, or on every column: of several inputs, on the columns of the same name together."""
    first = inputs[0]
    if isinstance(first, Tensor):
        return change(*inputs)
    return {name: change(*(one[name] for one in inputs)) for name in first}  # type: ignore[index]


def parts(inputs: Inputs) -> list[Tensor]:
    """The tensor alone, or every column in order."""
    return [inputs] if isinstance(inputs, Tensor) else list(inputs.values())


def count(inputs: Inputs) -> int:
    """How many samples there are."""
    return len(parts(inputs)[0])


def take(inputs: Inputs, ids: Tensor | slice) -> Inputs:
    """The samples at `ids`, in that order."""
    return each(lambda column: column[ids], inputs)


def some(inputs: Some, most: int) -> Some:
    """At most `most` of the samples, drawn evenly and always the same: the first of a set that lies class by class are
    of one class."""
    if count(inputs) <= most:
        return inputs
    ids = torch.randperm(count(inputs), generator=torch.Generator().manual_seed(0))[:most]
    return take(inputs, ids)  # type: ignore[return-value]


def evenly(inputs: Inputs, most: int) -> Inputs:
    """At most `most` of the samples, in their order, spread evenly over all from the first to the last."""
    return inputs if count(inputs) <= most else take(inputs, places(count(inputs), most))


def places(among: int, most: int) -> Tensor:
    """(M,) int64: at most `most` of 0..among-1, rising, spread evenly from the first to the last."""
    return torch.arange(among) if among <= most else torch.linspace(0, among - 1, most).round().long()


def split(inputs: Inputs, size: int) -> list[Inputs]:
    """Parts of at most `size` samples, in order."""
    return [take(inputs, slice(start, start + size)) for start in range(0, count(inputs), size)]


def join(several: Sequence[Inputs]) -> Inputs:
    """All samples of `several`, one after the other."""
    return each(lambda *columns: torch.cat(columns), *several)


def copied(inputs: Inputs) -> Inputs:
    """A copy that shares no memory and no gradient with the original."""
    return each(lambda column: column.detach().clone(), inputs)


def to(inputs: Inputs, device: torch.device) -> Inputs:
    """The same on `device`."""
    return each(lambda column: column.to(device), inputs)


def same(one: Inputs, other: Inputs) -> bool:
    """Whether both have the same columns with the same values; nan is nan."""
    pairs = zip(parts(one), parts(other))
    return len(parts(one)) == len(parts(other)) and all(
        a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all()) for a, b in pairs
    )


def asks_gradient(inputs: Inputs) -> bool:
    """Whether a gradient is asked of any column."""
    return any(column.requires_grad for column in parts(inputs))
