"""The output sides of a task: today, one of several exclusive classes."""

from __future__ import annotations

from typing import Literal

import pydantic

from .side import Side

MAX_CLASSES = 100_000


class ClassesSpec(Side):
    """One of `classes` exclusive classes. class_names: one name per class, or empty. column: the column of a labelled
    table or the field of a record that holds the class; empty takes 'label', 'class', 'target' or 'y'."""

    kind: Literal["classes"] = "classes"
    classes: int = pydantic.Field(ge=2, le=MAX_CLASSES)
    class_names: tuple[str, ...] = ()
    column: str = ""

    @pydantic.model_validator(mode="after")
    def _named(self) -> ClassesSpec:
        check_names(self.class_names, self.classes)
        return self


def check_names(names: tuple[str, ...], classes: int) -> None:
    """Raises ValueError where there are names for other than `classes` classes."""
    if names and len(names) != classes:
        raise ValueError(f"class_names has {len(names)} names for {classes} classes")
