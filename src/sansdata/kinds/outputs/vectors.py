"""A vector: answers are (B, size) float32. What counts is how they are spread as a set, so that no two answers to the
same input tell how close two networks are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import columns
from ...contracts import Outputs
from ...errors import TeacherError
from ...figures import Drawing, Figure, Finding, Warned
from ...models.taps import outputs_of
from ...objectives.distributions import energy_distance
from ...tasks import VectorsSpec
from ..base import OutputKind, all_alike, not_finite, unmoved

COLLAPSED = 0.05
"""Mean spread of the numbers below which vectors are one."""
MOST = 2000
"""Vectors between which all distances are taken."""


class Vectors(OutputKind):
    """spec.size is Z."""

    Spec = VectorsSpec
    unit = "numbers"

    def read(self, raw: Any) -> Tensor:
        tensors = outputs_of(raw)
        if 0 not in tensors:
            raise TeacherError(f"expected a tensor of vectors (B, {self.spec.size}), got {type(raw).__name__}")
        return tensors[0].float()

    def faults(self, raw: Any, count: int) -> list[str]:
        expected = (count, self.spec.size)
        try:
            answers = self.read(raw)
        except TeacherError as fault:
            return [str(fault)]
        if answers.shape == expected:
            return []
        return [f"the teacher returned shape {list(answers.shape)}; expected {expected}, vectors for {count} inputs"]

    def judge(self, answers: Tensor, name_of: Callable[[int], str]) -> tuple[str, list[str], list[str]]:
        if faults := not_finite(answers, "vectors"):
            return "unknown", faults, []
        if bool(unmoved(answers).all()):
            return "vectors", [all_alike("vector")], []
        return "vectors", [], []

    def match(self, student: Outputs, teacher: Outputs, how: Any) -> Tensor:
        """(B,) mean squared difference: of answers to the same inputs, where these belong together."""
        return (student.value - teacher.value).square().mean(1)

    def agreement(self, student: Tensor, teacher: Tensor) -> None:
        return None

    def describe(self, answers: Tensor, late: Tensor | None = None) -> list[Finding]:
        """Of the teacher's: how wide each number is spread."""
        spread = answers.double().std(0, correction=0)
        described: list[Finding] = [
            Figure("spread", float(spread.mean()), "number", "standard deviation, mean over the numbers"),
            Drawing("spread_of_each", "bars", [round(value, 6) for value in spread.tolist()],
                    "standard deviation of each number", unit="number"),
        ]  # fmt: skip
        return described

    def warnings(
        self, described: Mapping[str, Any], agreed: float, count: int, name_of: Callable[[int], str]
    ) -> list[Warned]:
        if described["spread"] >= COLLAPSED:
            return []
        return [Warned("collapse of vectors", described["spread"], "the teacher's vectors are hardly apart")]

    def evaluate(self, answers: np.ndarray, truth: np.ndarray, teacher: np.ndarray | None = None) -> list[Finding]:
        """answers (N, Z), truth (M, Z): draws of the distribution that is sought, in any order."""
        own, sought = (torch.from_numpy(np.asarray(v, np.float64)) for v in (answers, truth))
        findings: list[Finding] = [
            Figure("energy_distance", _apart(own, sought), "number", "to the vectors of the set; 0: alike", "lower"),
            Figure("spread_ratio", _ratio(own, sought), "number", "spread over that of the set; 1: alike"),
        ]  # fmt: skip
        if teacher is not None:
            theirs = torch.from_numpy(teacher.astype(np.float64))
            findings += [
                Figure("teacher_energy_distance", _apart(theirs, sought), "number", "of the teacher's", "lower"),
                Figure("energy_distance_to_teacher", _apart(own, theirs), "number", "0: alike", "lower"),
            ]  # fmt: skip
        return findings

    def targets(self, answers: Tensor) -> np.ndarray:
        return answers.float().numpy()

    def captions(self, answers: np.ndarray, name_of: Callable[[int], str]) -> Sequence[tuple[str, str]]:
        """The length of each."""
        return [(f"length {np.linalg.norm(row):.3g}", "") for row in answers.reshape(len(answers), -1)]

    def signature(self) -> tuple[str, tuple[int, ...]]:
        return "vectors", (self.spec.size,)


def _apart(one: Tensor, other: Tensor) -> float:
    return float(energy_distance(*(columns.some(vectors, MOST) for vectors in (one, other))).clamp_min(0))


def _ratio(one: Tensor, other: Tensor) -> float:
    return float(one.std(0).mean() / other.std(0).mean().clamp_min(1e-12))
