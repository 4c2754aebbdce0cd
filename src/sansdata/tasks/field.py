"""The output side of a generator: numbers in the shape of a sample, such as a picture or a point."""

from __future__ import annotations

import math
from typing import Literal

import pydantic

from .noise import MAX_NUMBERS
from .side import Side


class FieldSpec(Side):
    """A sample as a generator makes it. shape: of one, such as [1, 28, 28] of a picture; empty is that of the inputs.
    range: (lowest, highest) of what is shown and measured, as in the data that the teacher was trained on. steps: of
    the teacher's own sampler, where its sample from a noise is asked for."""

    kind: Literal["field"] = "field"
    shape: tuple[pydantic.PositiveInt, ...] = pydantic.Field(default=(), max_length=4)
    range: tuple[float, float] = (-1.0, 1.0)
    steps: int = pydantic.Field(default=20, ge=1, le=10_000)

    @pydantic.model_validator(mode="after")
    def _sensible(self) -> FieldSpec:
        low, high = self.range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"range must be [lowest, highest], got {list(self.range)}")
        if math.prod(self.shape) > MAX_NUMBERS:
            raise ValueError(f"a field of shape {list(self.shape)} has more than {MAX_NUMBERS:,} numbers")
        return self

    def fitted_to(self, inputs: Side) -> FieldSpec:
        """With the shape of the inputs."""
        shape = getattr(inputs, "shape", ())
        if self.shape:
            return self
        if not shape:
            raise ValueError(f"for inputs of kind '{inputs.kind}' give the shape of a field")  # type: ignore[attr-defined]
        return self.model_copy(update={"shape": tuple(shape)})

    @property
    def width(self) -> float:
        """Of the range."""
        return self.range[1] - self.range[0]
