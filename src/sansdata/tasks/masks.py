"""The output side of a mask: a class for each pixel, of an image or of every frame of a clip."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from .classes import check_names, names_as_text, without_unset
from .side import Side

MAX_MASK_CLASSES = 255
VOID = 255
"""The label of pixels that do not count, in masks that people drew."""


class MasksSpec(Side):
    """A class for each pixel. classes: how many, exclusive; a network of two may give one map of logits for the second.
    class_names: one name per class, or empty. size: of a mask, [height, width], or [frames, height, width] of a clip;
    empty is that of the inputs. answers: as in ClassesSpec."""

    kind: Literal["masks"] = "masks"
    classes: int = pydantic.Field(ge=2, le=MAX_MASK_CLASSES)
    class_names: tuple[str, ...] = ()
    size: tuple[int, ...] = ()
    answers: int | str | None = None

    @pydantic.field_validator("class_names", mode="before")
    @classmethod
    def _as_text(cls, names: object) -> object:
        return names_as_text(names)

    @pydantic.model_serializer(mode="wrap")
    def _plain(self, plain: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_unset(plain(self))

    @pydantic.model_validator(mode="after")
    def _sensible(self) -> MasksSpec:
        check_names(self.class_names, self.classes)
        if self.size and (len(self.size) not in (2, 3) or min(self.size) < 1):
            raise ValueError(f"size must be [height, width] or [frames, height, width], got {list(self.size)}")
        return self

    def fitted_to(self, inputs: Side) -> MasksSpec:
        """With the size of the inputs: of an image its height and width, of a clip its frames too."""
        shape = getattr(inputs, "shape", ())
        if self.size:
            return self
        if len(shape) not in (3, 4):
            raise ValueError(f"masks belong to images or clips; for inputs of kind '{inputs.kind}' give their size")  # type: ignore[attr-defined]
        return self.model_copy(update={"size": tuple(shape[1:])})
