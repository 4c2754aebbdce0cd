"""What the two sides of a task have in common."""

from __future__ import annotations

from typing import ClassVar, Self

from ..config import Strict


class Side(Strict):
    """The Spec of a kind: one side of a task as a file has it, with a field `kind`. Hashable: tuples, no lists."""

    files: ClassVar[tuple[str, ...]] = ()
    """Fields that name a file, or nothing. A task file gives them relative to itself; a strict run may read them, and
    keeps a copy under the field's name."""

    def fitted_to(self, inputs: Side) -> Self:
        """This output side beside `inputs`: what it leaves open follows from them. Raises ValueError where the two do
        not go together."""
        return self
