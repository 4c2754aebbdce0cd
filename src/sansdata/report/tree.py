"""JSON of unknown shape, read without an error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class Tree:
    """JSON of unknown shape: `tree.at("cost", "seconds").number()` is a number or None, never an error."""

    def __init__(self, value: Any = None):
        self.value = value

    def at(self, *path: str) -> Tree:
        value = self.value
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return Tree(value)

    def number(self) -> float | None:
        """A finite number, else None."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            return None
        try:
            value = float(self.value)
        except OverflowError:
            return None
        return value if math.isfinite(value) else None

    def text(self, default: str = "") -> str:
        """Text, or a number or flag as text."""
        return str(self.value) if isinstance(self.value, str | int | float) else default

    def items(self) -> list[Tree]:
        return [Tree(item) for item in self.value] if isinstance(self.value, list | tuple) else []

    def fields(self) -> dict[str, Tree]:
        entries = self.value if isinstance(self.value, Mapping) else {}
        return {str(key): Tree(value) for key, value in entries.items()}

    def __bool__(self) -> bool:
        return bool(self.value)
