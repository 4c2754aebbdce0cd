"""One of the N classes of a few-shot task: answers are logits (B, N) float32, which mean nothing before a support set
has named the classes. Such networks are judged by adapting them (evaluate.few_shot), never side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ...figures import Finding, Warned
from ...tasks import WaysSpec
from .classes import Classes


class Ways(Classes):
    """spec.classes is N."""

    Spec = WaysSpec
    unit = "ways"
    comparable = compares = False

    def agreement(self, student: Tensor, teacher: Tensor) -> None:
        return None

    def describe(self, answers: Tensor, late: Tensor | None = None) -> list[Finding]:
        return []

    def warnings(
        self, described: Mapping[str, Any], agreed: float, count: int, name_of: Callable[[int], str]
    ) -> list[Warned]:
        return []

    def evaluate(self, answers: np.ndarray, truth: np.ndarray, teacher: np.ndarray | None = None) -> list[Finding]:
        """Nothing: the answers of a network that was not adapted are of no classes."""
        return []

    def captions(self, answers: np.ndarray, name_of: Callable[[int], str]) -> Sequence[tuple[str, str]]:
        return []
