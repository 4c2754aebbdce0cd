"""A kind of output that is no class: so many measured values, as a third party would add it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sansdata.contracts import Outputs
from sansdata.errors import TeacherError
from sansdata.figures import Figure, Finding, Warned
from sansdata.kinds.base import OutputKind
from sansdata.tasks import Side


class ValuesSpec(Side):
    kind: Literal["values"] = "values"
    count: int


class Values(OutputKind):
    """Answers are (B, spec.count)."""

    Spec = ValuesSpec
    unit = "values"

    def read(self, raw: Any) -> Tensor:
        if not isinstance(raw, Tensor):
            raise TeacherError(f"expected a tensor of values, got {type(raw).__name__}")
        return raw.float()

    def faults(self, raw: Any, count: int) -> list[str]:
        wanted = (count, self.spec.count)
        return [] if isinstance(raw, Tensor) and raw.shape == wanted else [f"the teacher gives no values {wanted}"]

    def judge(self, answers: Tensor, name_of: Any) -> tuple[str, list[str], list[str]]:
        return "values", [], []

    def match(self, student: Outputs, teacher: Outputs, how: Any) -> Tensor:
        return (student.value - teacher.value).square().mean(1)

    def agreement(self, student: Tensor, teacher: Tensor) -> None:
        return None

    def describe(self, answers: Tensor, late: Tensor | None = None) -> list[Finding]:
        return [Figure("value_spread", float(answers.std()), "number", "standard deviation of the answers")]

    def warnings(self, described: Mapping[str, Any], agreed: float, count: int, name_of: Any) -> list[Warned]:
        return []

    def evaluate(self, answers: np.ndarray, truth: np.ndarray, teacher: np.ndarray | None = None) -> list[Finding]:
        error = float(np.abs(answers - truth).mean())
        return [Figure("mean_error", error, "number", "mean distance from the truth", "lower")]

    def targets(self, answers: Tensor) -> np.ndarray:
        return answers.numpy()

    def captions(self, answers: np.ndarray, name_of: Any) -> list[tuple[str, str]]:
        return [(" ".join(f"{value:.2g}" for value in row), "") for row in answers]

    def signature(self) -> tuple[str, tuple[int, ...]]:
        return "values", (self.spec.count,)


def network() -> torch.nn.Module:
    """Of the table in the test: two numbers in, two values out."""
    return torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
