"""What the two sides of a task have in common."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from ..config import Strict


class Side(Strict):
    """The Spec of a kind: one side of a task as a file has it, with a field `kind`. Hashable: tuples, no lists."""

    files: ClassVar[tuple[str, ...]] = ()
    """Fields that name a file, or nothing. A task file gives them relative to itself; a strict run may read them, and
    keeps a copy under the field's name."""

    @property
    def door(self) -> dict[str, Any]:
        """What the preprocessing of a network must know of this side, unless a task or a file says otherwise."""
        return {}

    def fitted_to(self, inputs: Side) -> Self:
        """This output side beside `inputs`: what it leaves open follows from them. Raises ValueError where the two do
        not go together."""
        return self
