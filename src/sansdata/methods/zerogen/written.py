"""What was written so far, and what was not kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .duplicates import Duplicates


class Written:
    """Texts with their class and context, in the order in which they were kept; none of them twice."""

    def __init__(self, classes: int, near: float) -> None:
        self.near = near
        self.texts: list[str] = []
        self.labels: list[int] = []
        self.contexts: list[str] = []
        self.drawn = 0
        """Continuations that were asked for."""
        self.refused: dict[str, int] = {}
        """Reason -> how many continuations were not kept."""
        self._known = Duplicates(near)
        self._counts = [0] * classes

    def __len__(self) -> int:
        return len(self.texts)

    def of_class(self, label: int) -> int:
        return self._counts[label]

    def refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def keep(self, text: str, label: int, context: str) -> bool:
        """False, and it is counted as refused, where the text was there before."""
        if reason := self._known.take(text):
            self.refuse(reason)
            return False
        self._add(text, label, context)
        return True

    def _add(self, text: str, label: int, context: str) -> None:
        self.texts.append(text)
        self.labels.append(label)
        self.contexts.append(context)
        self._counts[label] += 1

    def state_dict(self) -> dict[str, Any]:
        return {
            "texts": list(self.texts), "labels": list(self.labels), "contexts": list(self.contexts),
            "drawn": self.drawn, "refused": dict(self.refused),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.__init__(len(self._counts), self.near)
        for text, label, context in zip(state["texts"], state["labels"], state["contexts"]):
            self._known.take(text)
            self._add(text, label, context)
        self.drawn, self.refused = state["drawn"], dict(state["refused"])
