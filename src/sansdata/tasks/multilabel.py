"""The output side of several labels at once, each of which is there or not whatever the others are."""

from __future__ import annotations

from typing import Literal

import pydantic

from .classes import MAX_CLASSES, check_names, names_as_text
from .side import Side


class MultilabelSpec(Side):
    """classes: how many labels there are. class_names: one name per label, or empty."""

    kind: Literal["multilabel"] = "multilabel"
    classes: int = pydantic.Field(ge=1, le=MAX_CLASSES)
    class_names: tuple[str, ...] = ()

    @pydantic.field_validator("class_names", mode="before")
    @classmethod
    def _as_text(cls, names: object) -> object:
        return names_as_text(names)

    @pydantic.model_validator(mode="after")
    def _named(self) -> MultilabelSpec:
        check_names(self.class_names, self.classes)
        return self
