"""Rows of a table with their class as codes: each column one of several bins, and back to values.

A number becomes the bin that it lies in and comes back as one drawn evenly from that bin; a category is its own level.
A value that may be missing has a bin for that. The class is the last column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Generator, Tensor

from ...tasks import Column, Task
from .table import Table

MASS = 0.5
"""Share of a number's values at one point from which on that point is a bin of its own, such as no capital gain."""
Bin = tuple[float, float]
"""Lowest and highest value; both the same for a single point."""


def fit_bins(column: Column, values: Tensor, count: int) -> tuple[Bin, ...]:
    """At most `count` bins of a numeric column, one more where values lie on both sides of a crowded one: even ones
    over its range, as FairDisCo cuts them; whole numbers of which no more occur have one each.

    values (N,) float: those of real rows that are not missing. Deviation: the released loaders make two bins of columns
    that crowd at one value (capital gain), at it and beyond; here what lies beyond is cut where as many rows lie in
    each bin, since one even bin of amounts would be none at all.
    """
    assert column.range is not None
    distinct, times = values.double().unique(return_counts=True)
    if column.whole and len(distinct) <= count:
        return tuple((value, value) for value in distinct.tolist())
    if len(distinct) > 1 and count > 1 and int(times.max()) >= MASS * len(values):
        point = float(distinct[times.argmax()])
        sides = [side for side in (values[values < point].double(), values[values > point].double()) if len(side)]
        many = sum(map(len, sides))
        beyond = [bin for side in sides for bin in _even_shares(side, max(1, round((count - 1) * len(side) / many)))]
        return tuple(sorted([(point, point), *beyond]))
    low, high = column.range
    edges = torch.linspace(low, high, count + 1, dtype=torch.float64).tolist()
    return tuple(pairwise(edges))


def _even_shares(values: Tensor, count: int) -> list[Bin]:
    """At most `count` bins with about as many of the values (N,) in each."""
    cuts = values.quantile(torch.linspace(0, 1, count + 1, dtype=torch.float64)).unique().tolist()
    return list(pairwise(cuts)) or [(cuts[0], cuts[0])]


@dataclass(frozen=True)
class TableBins:
    """The columns of `task` but `sensitive`, and its class, each as one of several bins. bins: of each numeric column,
    ascending."""

    task: Task
    sensitive: str
    bins: Mapping[str, tuple[Bin, ...]]

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Without the sensitive one, in order; the class is not among them."""
        return tuple(column for column in self.task.inputs.columns if column.name != self.sensitive)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Bins of each column, the class last."""
        inner = [len(self.bins[c.name]) if c.numeric else len(c.levels) for c in self.columns]
        return (*(size + column.missing for size, column in zip(inner, self.columns)), self.task.classes)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the columns, that of the class last."""
        return (*(column.name for column in self.columns), self.task.outputs.column or "class")

    def codes(self, rows: Mapping[str, Tensor], labels: Tensor) -> Tensor:
        """(N, columns + 1) int64: the bin of each value. rows as they travel, labels (N,)."""
        coded = []
        for column in self.columns:
            place, gone = self._place(column), rows["missing"][:, self._missing_place(column)]
            if column.numeric:
                lows = torch.tensor([low for low, _ in self.bins[column.name]], dtype=torch.float64)
                code = torch.searchsorted(lows, rows["numbers"][:, place].double().contiguous(), right=True) - 1
                code = code.clamp_min(0)
            else:
                code = rows["categories"][:, place]
            last = len(self.bins[column.name]) if column.numeric else len(column.levels)
            coded.append(code.masked_fill(gone, last) if column.missing else code)
        return torch.stack([*coded, labels.long()], 1)

    def one_hot(self, codes: Tensor) -> Tensor:
        """(N, sum of sizes) float32: a column of 0 and 1 for each bin."""
        parts = [torch.nn.functional.one_hot(codes[:, place], size) for place, size in enumerate(self.sizes)]
        return torch.cat(parts, 1).float()

    def rows(self, codes: Tensor, sensitive: Tensor, stream: Generator) -> tuple[dict[str, Tensor], Tensor]:
        """(rows as they travel, labels (N,)) from bins (N, columns + 1) and levels (N,) of the sensitive column: a
        number is drawn evenly from its bin."""
        spec, table = self.task.inputs, Table(self.task.inputs)
        numbers = torch.zeros(len(codes), len(spec.numbers))
        missing = torch.zeros(len(codes), len(spec.columns), dtype=torch.bool)
        levels = torch.zeros(len(codes), len(spec.categories), dtype=torch.int64)
        for at, column in enumerate(self.columns):
            place, code = self._place(column), codes[:, at]
            if column.missing:
                gone = code == self.sizes[at] - 1
                missing[:, self._missing_place(column)] = gone
                code = code.masked_fill(gone, 0)
            if column.numeric:
                numbers[:, place] = self._inside(column, code, stream)
            else:
                levels[:, place] = code
        levels[:, [c.name for c in spec.categories].index(self.sensitive)] = sensitive
        return table.rows(numbers, levels, missing), codes[:, -1]

    def _inside(self, column: Column, code: Tensor, stream: Generator) -> Tensor:
        """(N,) float32, drawn evenly from the bins `code`; whole numbers where the column has only these."""
        ends = torch.tensor(self.bins[column.name], dtype=torch.float64)
        low, high = ends[code, 0], ends[code, 1]
        share = torch.rand(len(code), generator=stream, dtype=torch.float64)
        if not column.whole:
            return (low + share * (high - low)).float()
        # Where the next bin begins at the end of this one, the end is the next one's; bins of a single point keep it.
        open_end = torch.isin(high, ends[:, 0]) & (high > low)
        first, last = low.ceil(), torch.where(open_end, high.ceil() - 1, high.floor())
        return (first + (share * (last - first + 1).clamp_min(1)).floor()).minimum(last.maximum(first)).float()

    def _place(self, column: Column) -> int:
        spec = self.task.inputs
        among: Sequence[Column] = spec.numbers if column.numeric else spec.categories
        return [one.name for one in among].index(column.name)

    def _missing_place(self, column: Column) -> int:
        return self._place(column) + (0 if column.numeric else len(self.task.inputs.numbers))

    def heads(self, values: Tensor) -> Iterator[Tensor]:
        """(N, size) of each column out of (N, sum of sizes), the class last."""
        return iter(values.split(self.sizes, 1))
