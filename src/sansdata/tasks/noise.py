"""The input side of a generator: noise, at most one label beside it, and how strongly it is to follow that."""

from __future__ import annotations

import math
from typing import Any, Literal

import pydantic

from .classes import MAX_CLASSES, names_as_text
from .side import Side

MAX_NUMBERS = 64 * 1024 * 1024
"""Of one noise."""


class NoiseSpec(Side):
    """Independent standard normal numbers. shape: of one noise, such as [64] for a latent or [3, 32, 32] for the start
    of a picture. labels: how many a generator can be asked for, one of which then travels beside the noise; 0 is a
    generator that takes none. label_names: one name per label, or empty; of a generator that reads texts these are the
    texts. guidance: the range of strengths, where the generator is told by an argument how far to push its answer
    towards the label; that is so of an exported student which has learnt it, and not of a job."""

    kind: Literal["noise"] = "noise"
    shape: tuple[pydantic.PositiveInt, ...] = pydantic.Field(min_length=1, max_length=4)
    labels: int = pydantic.Field(default=0, ge=0, le=MAX_CLASSES)
    label_names: tuple[str, ...] = ()
    guidance: tuple[float, float] | None = None

    @pydantic.field_validator("label_names", mode="before")
    @classmethod
    def _as_text(cls, names: object) -> object:
        return names_as_text(names)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _counted(cls, fields: Any) -> Any:
        """Names that stand alone say how many labels there are."""
        if isinstance(fields, dict) and "labels" not in fields and isinstance(fields.get("label_names"), (list, tuple)):
            return fields | {"labels": len(fields["label_names"])}
        return fields

    @pydantic.model_validator(mode="after")
    def _sensible(self) -> NoiseSpec:
        if math.prod(self.shape) > MAX_NUMBERS:
            raise ValueError(f"a noise of shape {list(self.shape)} has more than {MAX_NUMBERS:,} numbers")
        if self.label_names and len(self.label_names) != self.labels:
            raise ValueError(f"label_names has {len(self.label_names)} names for {self.labels} labels")
        if self.guidance is not None and not (self.labels and 0 <= self.guidance[0] < self.guidance[1] <= 100):
            raise ValueError(f"guidance {list(self.guidance)} is a range within 0..100, and goes towards labels")
        return self

    @pydantic.model_serializer(mode="wrap")
    def _as_before(self, plain: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Tasks without guidance are written, and compared, as they were before there was such a field."""
        fields = plain(self)
        return fields if self.guidance is not None else {k: v for k, v in fields.items() if k != "guidance"}

    @property
    def numbers(self) -> int:
        """How many numbers one noise has."""
        return math.prod(self.shape)
