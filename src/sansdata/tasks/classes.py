"""The output side of one of several exclusive classes, and the names of classes, which other sides have too."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from .side import Side

MAX_CLASSES = 100_000


class ClassesSpec(Side):
    """One of `classes` exclusive classes. class_names: one name per class, or empty. column: the column of a labelled
    table or the field of a record that holds the class; empty takes 'label', 'class', 'target' or 'y'. answers: of a
    network with several outputs the place, or the name, of its logits; None where one alone has a number per class."""

    kind: Literal["classes"] = "classes"
    classes: int = pydantic.Field(ge=2, le=MAX_CLASSES)
    class_names: tuple[str, ...] = ()
    column: str = ""
    answers: int | str | None = None

    @pydantic.field_validator("class_names", mode="before")
    @classmethod
    def _as_text(cls, names: object) -> object:
        return names_as_text(names)

    @pydantic.model_serializer(mode="wrap")
    def _plain(self, plain: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_unset(plain(self))

    @pydantic.model_validator(mode="after")
    def _named(self) -> ClassesSpec:
        check_names(self.class_names, self.classes)
        return self


def names_as_text(names: object) -> object:
    """YAML reads the name 1 as a number and the name no as a flag; both are text to us."""
    if not isinstance(names, (list, tuple)):
        return names
    plain = (str(name).lower() if isinstance(name, bool) else name for name in names)
    return [str(name) if isinstance(name, (int, float)) else name for name in plain]


def check_names(names: tuple[str, ...], classes: int) -> None:
    """Raises ValueError where there are names for other than `classes` classes."""
    if names and len(names) != classes:
        raise ValueError(f"class_names has {len(names)} names for {classes} classes")


def without_unset(fields: dict[str, Any]) -> dict[str, Any]:
    """Tasks that do not name their answers are written as they always were."""
    return {name: value for name, value in fields.items() if not (name == "answers" and value is None)}
