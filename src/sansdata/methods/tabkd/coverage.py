"""Which pairs of bins the rows that were asked have covered, and rows that cover new ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from ...kinds.inputs.table import Table

LEAST_INTEREST = 0.02
"""Share of the largest interest that every bin has."""


class Coverage:
    """Which pairs of bins, of two different columns, have stood together in a row that was asked.

    A numeric column without cuts has one bin, a category one for each level, but for the rarest beyond `most` levels,
    which share the last; a missing value is in no bin.
    """

    def __init__(self, table: Table, most: int, source: str = "") -> None:
        """most: bins of a column. source: of what a row holds where coverage leaves it open."""
        self.table, self.most, self.source = table, most, source
        self.covered: Tensor | None = None
        """(T, T) bool over the T bins of all columns, in the order of numbers and categories."""
        self.edges: list[list[float]] = []

    def _sizes(self, cuts: Mapping[str, list[float]]) -> list[int]:
        spec = self.table.spec
        levels = [min(len(column.levels), self.most) for column in spec.categories]
        return [len(cuts[column.name]) + 1 for column in spec.numbers] + levels

    def bins(self, rows: Mapping[str, Tensor], cuts: Mapping[str, list[float]]) -> Tensor:
        """(B, columns) number of the bin of each value among all bins; -1 where it is missing."""
        spec, sizes = self.table.spec, self._sizes(cuts)
        parts = [
            torch.bucketize(rows["numbers"][:, place].contiguous(), torch.tensor(cuts[column.name]))
            for place, column in enumerate(spec.numbers)
        ]
        parts += [rows["categories"][:, place].clamp(max=self.most - 1) for place in range(len(spec.categories))]
        starts = torch.tensor([0, *np.cumsum(sizes)[:-1].tolist()])
        return (torch.stack(parts, 1) + starts).masked_fill(rows["missing"], -1)

    def see(self, rows: Mapping[str, Tensor], cuts: Mapping[str, list[float]]) -> None:
        """Marks the pairs of `rows` as covered."""
        seen, bins = self._of(cuts), self.bins(rows, cuts)
        for first in range(bins.shape[1]):
            for second in range(first + 1, bins.shape[1]):
                both = (bins[:, first] >= 0) & (bins[:, second] >= 0)
                seen[bins[both, first], bins[both, second]] = True
                seen[bins[both, second], bins[both, first]] = True

    def _of(self, cuts: Mapping[str, list[float]]) -> Tensor:
        """What is covered of these bins; where they are new, nothing."""
        edges = [list(cuts[column.name]) for column in self.table.spec.numbers]
        if self.covered is None or edges != self.edges:
            total = sum(self._sizes(cuts))
            self.covered, self.edges = torch.zeros(total, total, dtype=torch.bool), edges
        return self.covered

    def share(self, cuts: Mapping[str, list[float]]) -> float:
        """Covered pairs over all pairs, 0..1."""
        sizes = self._sizes(cuts)
        possible = sum(sizes) ** 2 - sum(size**2 for size in sizes)
        return 1.0 if possible == 0 else float(self._of(cuts).sum()) / possible

    def interest(self, rows: Mapping[str, Tensor], answers: Tensor, cuts: Mapping[str, list[float]]) -> Tensor:
        """(T,) how much the teacher's `answers` (B, K) to `rows` vary within each bin: where they are all alike,
        another row tells nothing new."""
        bins, total = self.bins(rows, cuts), sum(self._sizes(cuts))
        count, mean, square = (
            torch.zeros(total),
            torch.zeros(total, answers.shape[1]),
            torch.zeros(total, answers.shape[1]),
        )
        for column in range(bins.shape[1]):
            there = bins[:, column] >= 0
            place = bins[there, column]
            count.index_add_(0, place, torch.ones(len(place)))
            mean.index_add_(0, place, answers[there])
            square.index_add_(0, place, answers[there].square())
        count = count.clamp_min(1)[:, None]
        varies = (square / count - (mean / count).square()).clamp_min(0).sum(1)
        return varies + LEAST_INTEREST * varies.max().clamp_min(1e-6)

    def rows(
        self, count: int, cuts: Mapping[str, list[float]], interest: Tensor, stream: Generator
    ) -> Mapping[str, Tensor]:
        """Rows each of which covers as many new pairs as it greedily can: column after column, in an order of its own,
        takes the bin with the most uncovered pairs to the bins that were taken before; among equals by `interest` (T,).
        """
        spec, sizes = self.table.spec, self._sizes(cuts)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        total, width = int(starts[-1]), len(sizes)
        covered = self._of(cuts).numpy().copy()
        # The largest of u^(1/w) is each place with a chance in proportion to its w; below 1, it decides among equals.
        chance = torch.rand(count, total, generator=stream).pow(interest.mean() / interest).numpy() * 0.5
        orders = torch.rand(count, width, generator=stream).argsort(1).numpy()
        chosen = np.zeros((count, width), np.int64)
        for row in range(count):
            bins: list[int] = []
            for column in orders[row]:
                own = slice(int(starts[column]), int(starts[column + 1]))
                gain = (~covered[own][:, bins]).sum(1) if bins else np.zeros(sizes[column])
                best = own.start + int((gain + chance[row, own]).argmax())
                bins.append(best)
                chosen[row, column] = best - own.start
            covered[np.ix_(bins, bins)] = True
        drawn = self.table.draw(count, stream, self.source)
        within = torch.rand(count, len(spec.numbers), generator=stream)
        numbers = drawn["numbers"].clone()
        for place, column in enumerate(spec.numbers):
            edges = torch.tensor([column.range[0], *cuts[column.name], column.range[1]])  # type: ignore[index]
            low, high = edges[chosen[:, place]], edges[chosen[:, place] + 1]
            value, inside = numbers[:, place], (numbers[:, place] >= low) & (numbers[:, place] <= high)
            even = low + (high - low) * within[:, place]
            numbers[:, place] = torch.where(inside, value, even.round() if column.whole else even)
        levels = torch.from_numpy(chosen[:, len(spec.numbers) :])
        rare = levels >= self.most - 1  # the last bin stands for all rarer levels
        levels = torch.where(rare, drawn["categories"].maximum(levels), levels) if levels.numel() else levels
        return self.table.rows(numbers, levels, torch.zeros_like(drawn["missing"]))

    def state_dict(self) -> dict[str, Any]:
        return {"covered": self.covered, "edges": self.edges}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.covered, self.edges = state["covered"], state["edges"]
