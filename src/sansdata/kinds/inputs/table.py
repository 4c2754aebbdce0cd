"""Rows of a table. They travel as columns of the batch: {'numbers': (B, N) float32 in their own units, 'categories':
(B, M) int64, 'missing': (B, N + M) bool, the numbers first}; a missing value is 0 there and means nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from ...columns import Inputs
from ...errors import TaskError
from ...figures import Drawing, Figure, Finding, Preview, Record, Warned
from ...tasks import Column, TableSpec
from ...tasks.table import PIECES
from ..base import Axes, InputKind, Preprocessor

MISSING_SHARE = 0.1
"""Of the values of a column that may be missing, in a draw that knows no better."""
ORDERS = 1000.0
"""Largest over smallest distance from the lowest value of numbers that are drawn by their logarithm."""
BINS = 10
FEW = 0.02
"""Share of distinct rows below which samples are one row."""


@dataclass(frozen=True)
class Standardise:
    """A network sees one row of floats (B, spec.width): (number - mean) / std, 0 where it is missing, and behind it 1
    where it is, for each number that may be missing; then a column of 0 and 1 for each level, all 0 where it is
    missing.
    """

    spec: TableSpec
    mean: tuple[float, ...]
    std: tuple[float, ...]
    passes_on: bool = True

    def __call__(self, inputs: Inputs) -> Tensor:
        assert not isinstance(inputs, Tensor)
        numbers, categories, missing = inputs["numbers"], inputs["categories"], inputs["missing"]
        device, count = numbers.device, len(self.spec.numbers)
        mean, std = (torch.tensor(values, device=device) for values in (self.mean, self.std))
        scaled = ((numbers - mean) / std).masked_fill(missing[:, :count], 0.0)
        parts = []
        for place, column in enumerate(self.spec.numbers):
            parts.append(scaled[:, place : place + 1])
            if column.missing:
                parts.append(missing[:, place : place + 1].to(scaled.dtype))
        for place, column in enumerate(self.spec.categories):
            levels = nn.functional.one_hot(categories[:, place], len(column.levels)).to(scaled.dtype)
            parts.append(levels.masked_fill(missing[:, count + place, None], 0.0))
        return torch.cat(parts, 1)

    def describe(self) -> dict[str, Any]:
        return {"door": "standardise", "mean": list(self.mean), "std": list(self.std)}


@dataclass(frozen=True)
class Pieces(Standardise):
    """A network sees the row of `Standardise` and behind it PIECES values from 0 to 1 for each number (all 0 where it
    is missing): how far the number has come through each piece of its range, the pieces of equal length in the
    logarithm of its distance from the lowest value.

    After the piecewise linear encoding of Gorishniy et al. 2022 (arXiv 2203.05556). Deviation: they cut at quantiles
    of the training data, which is not here; the logarithm finds what crowds at the low end, as amounts and counts do.
    """

    def __call__(self, inputs: Inputs) -> Tensor:
        assert not isinstance(inputs, Tensor)
        numbers, missing = inputs["numbers"], inputs["missing"][:, : len(self.spec.numbers)]
        low, high = (torch.tensor([c.range[end] for c in self.spec.numbers], device=numbers.device) for end in (0, 1))  # type: ignore[index]
        distance = ((numbers - low) / (high - low)).clamp(0, 1)
        place = torch.log1p((ORDERS - 1) * distance) / math.log(ORDERS)
        pieces = (PIECES * place.unsqueeze(2) - torch.arange(PIECES, device=numbers.device)).clamp(0, 1)
        return torch.cat([super().__call__(inputs), pieces.masked_fill(missing.unsqueeze(2), 0.0).flatten(1)], 1)

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"door": "pieces"}


@dataclass(frozen=True)
class Matrix:
    """A model of another library sees float64 (B, columns) in the order of the task: numbers in their own units, the
    place of the level for a category, nan where a value is missing."""

    spec: TableSpec
    passes_on: bool = False

    def __call__(self, inputs: Inputs) -> Tensor:
        assert not isinstance(inputs, Tensor)
        numbers, categories = inputs["numbers"].double(), inputs["categories"].double()
        values = torch.cat([numbers, categories], 1).masked_fill(inputs["missing"], torch.nan)
        order = [*(c.name for c in self.spec.numbers), *(c.name for c in self.spec.categories)]
        return values[:, [order.index(column.name) for column in self.spec.columns]]

    def describe(self) -> dict[str, Any]:
        return {"door": "matrix"}


SCALES = {"standardise": Standardise, "pieces": Pieces}
"""Doors of our own networks."""


class Table(InputKind):
    """spec.columns says what each column holds."""

    Spec = TableSpec
    unit = "rows"
    exact = True  # bf16 keeps three digits of a number, and perceptrons this small gain no time by it
    differentiable = True
    sources = ("uniform", "gaussian", "skewed")

    def draw(
        self, count: int, generator: Generator, source: str = "", door: Preprocessor | None = None
    ) -> dict[str, Tensor]:
        """Each column by itself. uniform: evenly over its range. gaussian: normal by its mean and std, kept within the
        range. skewed: half of them evenly, a tenth at the lowest value, the others by the logarithm over three orders
        of magnitude above it, as amounts and counts often lie. Levels are even, and values that may be missing are so
        in MISSING_SHARE of the rows."""
        numbers = [self._numbers(column, count, generator, source) for column in self.spec.numbers]
        levels = [torch.randint(len(c.levels), (count,), generator=generator) for c in self.spec.categories]
        gone = torch.rand(count, len(self.spec.columns), generator=generator) < MISSING_SHARE
        return self.rows(torch.stack(numbers, 1) if numbers else None, torch.stack(levels, 1) if levels else None, gone)

    def _numbers(self, column: Column, count: int, generator: Generator, source: str) -> Tensor:
        """(B,) values of one numeric column, from one of `sources`."""
        assert column.range is not None
        low, high = column.range
        if source == "gaussian":
            value = column.centre + column.spread * torch.randn(count, generator=generator)
        else:
            value = low + (high - low) * torch.rand(count, generator=generator)
        if source == "skewed":
            small = low + (high - low) * (ORDERS ** torch.rand(count, generator=generator) - 1) / (ORDERS - 1)
            share = torch.rand(count, generator=generator)
            value = torch.where(share < 0.5, value, torch.where(share < 0.9, small, torch.full_like(value, low)))
        return (value.round() if column.whole else value).clamp(low, high)

    def rows(self, numbers: Tensor | None, categories: Tensor | None, missing: Tensor) -> dict[str, Tensor]:
        """Columns as they travel, from numbers (B, N), levels (B, M) and missing (B, N + M): whatever a column cannot
        miss is not missing, and a missing value is 0."""
        spec, count = self.spec, len(missing)
        may = torch.tensor([c.missing for c in (*spec.numbers, *spec.categories)], device=missing.device)
        missing = missing & may
        numbers = torch.zeros(count, 0, device=missing.device) if numbers is None else numbers
        categories = missing.new_zeros(count, 0, dtype=torch.int64) if categories is None else categories
        first = len(spec.numbers)
        return {
            "numbers": numbers.masked_fill(missing[:, :first], 0.0),
            "categories": categories.masked_fill(missing[:, first:], 0),
            "missing": missing,
        }

    def preprocessor(self, described: Mapping[str, Any]) -> Preprocessor:
        door, numbers = described.get("door", "standardise"), self.spec.numbers
        if unknown := described.keys() - {"door", "mean", "std"}:
            raise TaskError(f"preprocessing of a table has door, mean and std, not '{sorted(unknown)[0]}'")
        if door == "matrix":
            return Matrix(self.spec)
        if door not in SCALES:
            raise TaskError(f"preprocessing: unknown door '{door}' of a table. Known: {', '.join(SCALES)}, matrix.")
        mean = described.get("mean", [column.centre for column in numbers])
        std = described.get("std", [column.spread for column in numbers])
        try:
            scale = SCALES[door](self.spec, tuple(float(v) for v in mean), tuple(float(v) for v in std))
        except (TypeError, ValueError):
            raise TaskError("preprocessing of a table needs mean and std as lists of numbers") from None
        if not len(scale.mean) == len(scale.std) == len(numbers) or min(scale.std, default=1.0) <= 0:
            raise TaskError(
                f"preprocessing of a table needs a mean and a std above 0 for each of {len(numbers)} numbers"
            )
        return scale

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        spec = self.spec
        first, second = len(spec.numbers), len(spec.categories)
        layout = {"numbers": ("f", first), "categories": ("i", second), "missing": ("b", first + second)}
        count = None
        for name, (type_, width) in layout.items():
            array = arrays.get(name)
            if array is None or array.dtype.kind != type_ or array.ndim != 2 or array.shape[1] != width:
                raise ValueError(f"expected '{name}' of shape (N, {width}), got {getattr(array, 'shape', 'none')}")
            if count not in (None, len(array)):
                raise ValueError("columns of different lengths")
            count = len(array)
        levels = np.array([len(column.levels) for column in spec.categories])
        if ((arrays["categories"] < 0) | (arrays["categories"] >= levels)).any():
            raise ValueError("a level that the task does not know")
        columns = {name: torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in layout}
        return {**columns, "numbers": columns["numbers"].float(), "categories": columns["categories"].long()}

    def statistics(self, packed: Inputs) -> list[Finding]:
        assert not isinstance(packed, Tensor)
        numbers, categories, missing = packed["numbers"], packed["categories"], packed["missing"]
        whole = torch.cat([numbers.double(), categories.double(), missing.double()], 1)
        findings: list[Finding] = [
            Figure("distinct", len(whole.unique(dim=0)) / len(whole), "share", "rows that are not repeated", "higher")
        ]
        for place, column in enumerate(self.spec.numbers):
            low, high = column.range
            inside = numbers[~missing[:, place], place]
            bars = torch.histc(inside, BINS, low, high) if len(inside) else torch.zeros(BINS)
            edges = np.linspace(low, high, BINS + 1)
            labels = tuple(f"{a:.4g} to {b:.4g}" for a, b in itertools.pairwise(edges))
            findings.append(Drawing(f"column {column.name}", "bars", bars.int().tolist(), "samples by value", labels))
        for place, column in enumerate(self.spec.categories):
            gone = missing[:, len(self.spec.numbers) + place]
            bars = torch.bincount(categories[~gone, place], minlength=len(column.levels))
            findings.append(Drawing(f"column {column.name}", "bars", bars.tolist(), "samples by level", column.levels))
        return findings

    def warnings(self, statistics: Mapping[str, Any]) -> list[Warned]:
        if statistics["distinct"] >= FEW:
            return []
        return [Warned("identical samples", statistics["distinct"], "hardly any row differs from the others")]

    def preview(self, packed: Inputs) -> list[Preview]:
        assert not isinstance(packed, Tensor)
        names = [column.name for column in self.spec.columns]
        numbers, levels = list(self.spec.numbers), list(self.spec.categories)
        records: list[Preview] = []
        for row in range(len(packed["missing"])):
            fields = {}
            for place, column in enumerate(numbers):
                fields[column.name] = f"{float(packed['numbers'][row, place]):.4g}"
            for place, column in enumerate(levels):
                fields[column.name] = column.levels[int(packed["categories"][row, place])]
            for place, column in enumerate([*numbers, *levels]):
                if packed["missing"][row, place]:
                    fields[column.name] = "missing"
            records.append(Record({name: fields[name] for name in names}))
        return records

    def describe(self) -> str:
        return f"rows of {len(self.spec.numbers)} numbers and {len(self.spec.categories)} categories"

    def signature(self) -> Mapping[str, Axes]:
        first, second = len(self.spec.numbers), len(self.spec.categories)
        return {
            "numbers": Axes("float32", (first,), "in their own units, standardised inside"),
            "categories": Axes("int64", (second,), "the place of each level in the task"),
            "missing": Axes("bool", (first + second,), "where a value is missing: numbers, then categories"),
        }

    def hint(self, module: nn.Module) -> str:
        first = next((part for part in module.modules() if isinstance(part, nn.Linear)), None)
        if first is None or first.in_features == self.spec.width:
            return ""
        return (
            f". Its first linear layer takes {first.in_features} values and a row of the task has {self.spec.width}: "
            "a number each, one more where it may be missing, and one for each level"
        )
