"""A labelled set of rows or texts, as an input kind stores them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .. import columns
from ..columns import Inputs
from ..errors import DataError
from ..kinds.index import input_kind
from ..tasks import Task
from .imageset import alike, check_labels, check_several


@dataclass(frozen=True, eq=False)
class KindSet:
    """packed: inputs as the kind of `task` stores them. labels: what is true of them, (N, ...) in the form in which the
    kind of output has targets, of classes int64 (N,). source: where they came from. notes: what was done to them on the
    way, in plain words."""

    task: Task
    packed: Inputs
    labels: np.ndarray
    class_names: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int) -> Iterator[tuple[Inputs, Tensor]]:
        """(inputs as they travel, labels (B, ...)) in order; the last may be smaller."""
        kind, labels = input_kind(self.task), torch.from_numpy(self.labels)
        for part, known in zip(columns.split(self.packed, size), labels.split(size)):
            yield kind.unpack(part), known

    def require_fit(self, task: Task) -> None:
        """Raises DataError where inputs or labels are those of another task, or one input is all that is there."""
        if task.inputs != self.task.inputs:
            raise DataError(f"{self.source}: was read for another task; load it with this one")
        if columns.count(self.packed) != len(self.labels):
            raise DataError(
                f"{self.source}: {columns.count(self.packed)} {input_kind(task).unit} but {len(self.labels)} labels"
            )
        if task.pair[1] == "classes":
            check_labels(self.labels, task.classes, self.source)
        if task.pair[1] == "multilabel":
            check_several(self.labels, task.classes, self.source)
        first_again = columns.each(lambda column: column[:1].expand_as(column), self.packed)
        if len(self) > 1 and columns.same(self.packed, first_again):
            raise DataError(alike(len(self), input_kind(task).unit, self.source))

    def subset(self, index: np.ndarray, note: str = "") -> KindSet:
        """The samples at `index` (M,), in that order, with `note` added."""
        packed = columns.take(self.packed, torch.from_numpy(index))
        return replace(
            self, packed=packed, labels=self.labels[index], notes=(*self.notes, note) if note else self.notes
        )
