"""The input side of a table: what its columns hold and in which range."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Literal

import pydantic

from ..config import Strict
from .classes import names_as_text
from .side import Side

PIECES = 16
"""Values by which the door 'pieces' spells out one number."""
MAX_COLUMNS = 10_000
MAX_LEVELS = 10_000
MAX_WIDTH = 1_000_000
"""Columns of a table in which every category has a column of its own."""


class Column(Strict):
    """One column: a number with its `range`, or a category with its `levels`.

    range: (lowest, highest) that occurs. mean, std: of the number, where they are known; without, the middle of the
    range and that of an even spread over it. whole: only whole numbers occur. missing: a value may be absent.
    """

    name: str
    range: tuple[float, float] | None = None
    mean: float | None = None
    std: float | None = pydantic.Field(default=None, gt=0)
    whole: bool = False
    levels: tuple[str, ...] = ()
    missing: bool = False

    @pydantic.field_validator("levels", mode="before")
    @classmethod
    def _as_text(cls, levels: object) -> object:
        return names_as_text(levels)

    @pydantic.model_validator(mode="after")
    def _one_of_two(self) -> Column:
        if bool(self.levels) == (self.range is not None):
            raise ValueError(
                f"column '{self.name}' needs either range: [lowest, highest], for a number, or levels: [...], for a "
                "category"
            )
        if self.levels and (self.mean is not None or self.std is not None or self.whole):
            raise ValueError(f"column '{self.name}' is a category: mean, std and whole belong to numbers")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"column '{self.name}': range must be [lowest, highest], got {list(self.range)}")
        if len(set(self.levels)) != len(self.levels):
            raise ValueError(f"column '{self.name}' names a level twice")
        if len(self.levels) > MAX_LEVELS:
            raise ValueError(f"column '{self.name}' has {len(self.levels):,} levels; at most {MAX_LEVELS:,}")
        return self

    @pydantic.model_serializer(mode="wrap")
    def _what_is_said(self, dump: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is not given: a table of a hundred columns stays readable."""
        return {key: value for key, value in dump(self).items() if value not in (None, False, (), [])}

    @property
    def numeric(self) -> bool:
        return self.range is not None

    @property
    def centre(self) -> float:
        """The mean, or the middle of the range."""
        assert self.range is not None
        return sum(self.range) / 2 if self.mean is None else self.mean

    @property
    def spread(self) -> float:
        """The standard deviation, or that of numbers spread evenly over the range."""
        assert self.range is not None
        return (self.range[1] - self.range[0]) / math.sqrt(12) if self.std is None else self.std


class TableSpec(Side):
    """A row of a table: `columns`, in the order in which a model reads them."""

    kind: Literal["table"] = "table"
    columns: tuple[Column, ...] = pydantic.Field(min_length=1, max_length=MAX_COLUMNS)

    @pydantic.model_validator(mode="after")
    def _distinct(self) -> TableSpec:
        twice = sorted(name for name, times in Counter(column.name for column in self.columns).items() if times > 1)
        if twice:
            raise ValueError(f"two columns are named '{twice[0]}'")
        if sum(max(1, len(column.levels)) for column in self.columns) > MAX_WIDTH:
            raise ValueError(f"the levels of all columns together are more than {MAX_WIDTH:,}")
        return self

    @property
    def numbers(self) -> tuple[Column, ...]:
        """The numeric columns, in order."""
        return tuple(column for column in self.columns if column.numeric)

    @property
    def categories(self) -> tuple[Column, ...]:
        """The columns with levels, in order."""
        return tuple(column for column in self.columns if not column.numeric)

    @property
    def width(self) -> int:
        """Values that a network reads of one row: a number each, whether it is missing where it can be, and a column
        for each level."""
        numbers = sum(2 if column.missing else 1 for column in self.numbers)
        return numbers + sum(len(column.levels) for column in self.categories)

    @property
    def width_in_pieces(self) -> int:
        """The same of a network behind the door 'pieces'."""
        return self.width + PIECES * len(self.numbers)
