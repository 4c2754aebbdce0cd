"""Rows made of other rows: with one value set, half way between two, with two values drawn anew.

Rows are columns as they travel: numbers (B, N), categories (B, C) and missing (B, N + C), numbers first.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from ... import columns
from ...kinds.inputs.table import Table

Rows = Mapping[str, Tensor]


def with_value(table: Table, rows: Rows, place: Tensor, value: Tensor) -> Rows:
    """The rows (B,) with `value` in the numeric column `place` of each, which is then not missing."""
    numbers, missing = rows["numbers"].clone(), rows["missing"].clone()
    each = torch.arange(len(place))
    whole = torch.tensor([column.whole for column in table.spec.numbers])
    numbers[each, place] = torch.where(whole[place], value.round(), value)
    missing[each, place] = False
    return {**rows, "numbers": numbers, "missing": missing}


def between(table: Table, a: Rows, b: Rows, stream: Generator) -> Rows:
    """Numbers half way, levels of either row; a value that only one of them has is that one's."""
    first = len(table.spec.numbers)
    numbers = (a["numbers"] + b["numbers"]) / 2
    whole = torch.tensor([column.whole for column in table.spec.numbers], dtype=torch.bool)
    numbers = torch.where(whole, numbers.round(), numbers)
    gone_a, gone_b = a["missing"][:, :first], b["missing"][:, :first]
    numbers = torch.where(gone_a, b["numbers"], torch.where(gone_b, a["numbers"], numbers))
    take_a = torch.rand(a["categories"].shape, generator=stream) < 0.5
    levels = torch.where(take_a, a["categories"], b["categories"])
    gone = torch.where(take_a, a["missing"][:, first:], b["missing"][:, first:])
    return table.rows(numbers, levels, torch.cat([gone_a & gone_b, gone], 1))


def mutated(table: Table, rows: Rows, stream: Generator, source: str = "") -> Rows:
    """The rows with two columns of each, chosen at random, drawn anew from `source`."""
    count, first, width = len(rows["missing"]), len(table.spec.numbers), len(table.spec.columns)
    fresh = table.draw(count, stream, source)
    changed = torch.rand(count, width, generator=stream).argsort(1) < 2
    return table.rows(
        torch.where(changed[:, :first], fresh["numbers"], rows["numbers"]),
        torch.where(changed[:, first:], fresh["categories"], rows["categories"]),
        torch.where(changed, fresh["missing"], rows["missing"]),
    )


def chosen(which: Tensor, a: Rows, b: Rows) -> Rows:
    """Of each pair of rows that of `a` where `which` (B,) is true, else that of `b`."""
    mixed = columns.each(lambda x, y: torch.where(which[:, None], x, y), a, b)
    assert not isinstance(mixed, Tensor)
    return mixed
