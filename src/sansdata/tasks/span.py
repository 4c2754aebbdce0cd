"""The output side of extractive question answering: which part of the first of two texts is the answer."""

from __future__ import annotations

from typing import Literal

import pydantic

from .side import Side
from .tokens import MAX_LENGTH, TwoTextsSpec

MAX_ANSWER = 512


class SpanSpec(Side):
    """The first and the last token of an answer within the first text, of at most `longest` tokens. positions: tokens
    of the first text; 0 is as many as the inputs have."""

    kind: Literal["span"] = "span"
    longest: int = pydantic.Field(default=12, ge=1, le=MAX_ANSWER)
    positions: int = pydantic.Field(default=0, ge=0, le=MAX_LENGTH)

    def fitted_to(self, inputs: Side) -> SpanSpec:
        """With the length of the first text, where none is given."""
        if not isinstance(inputs, TwoTextsSpec):
            raise ValueError(f"a span is one of the first of two-texts, and the inputs are {inputs.kind}")  # type: ignore[attr-defined]
        if self.positions and self.positions != inputs.first_length:
            raise ValueError(f"positions={self.positions}, and a first text has {inputs.first_length} tokens")
        return self.model_copy(update={"positions": inputs.first_length})
