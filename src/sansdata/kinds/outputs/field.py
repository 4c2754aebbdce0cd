"""A sample as a generator makes it: answers are (B, *shape) float32 in the range of the data. Two generators are as
close as their samples of the same noise; no class says so, so that the last student is the one that is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import columns
from ...contracts import Outputs
from ...errors import TeacherError
from ...figures import Drawing, Figure, Finding, Picture, Preview, Record, Warned
from ...models.taps import outputs_of
from ...objectives.point_sets import sliced_wasserstein
from ...tasks import FieldSpec
from ..base import UNMOVED, OutputKind, all_alike, not_finite

NameOf = Callable[[int], str]
ALIKE = 0.01
"""Mean distance between two samples, of the range, below which they are one."""
FAR = 4.0
"""Widths of the range beyond which a teacher's samples are in other units than the task says."""
CLOSE = 0.01
"""Of the range: two programs' samples that differ by less say the same."""
MOST = 2048
"""Samples whose distances are taken."""
BINS = 20


class Field(OutputKind):
    """spec.shape is that of one sample."""

    Spec = FieldSpec
    unit = "numbers of a sample"
    draws = True
    compares = False

    def read(self, raw: Any) -> Tensor:
        return _tensor_in(raw).float()

    def faults(self, raw: Any, count: int) -> list[str]:
        try:
            answers = _tensor_in(raw)
        except TeacherError as fault:
            return [str(fault)]
        expected = (count, *self.spec.shape)
        if not answers.is_floating_point():
            return [f"the teacher returned {answers.dtype}: expected {expected} floats for {count} noises"]
        if tuple(answers.shape) != expected:
            return [f"the teacher returned shape {list(answers.shape)}; expected {list(expected)}, samples of the task"]
        return []

    def judge(self, answers: Tensor, name_of: NameOf) -> tuple[str, list[str], list[str]]:
        if faults := not_finite(answers, "samples"):
            return "unknown", faults, []
        if self._spread(answers) < UNMOVED:
            return "samples", [all_alike("sample")], []
        low, high = self.spec.range
        reach = float(torch.maximum(low - answers.amin(), answers.amax() - high))
        if reach > FAR * self.spec.width:
            reached = f"{float(answers.amin()):.3g} to {float(answers.amax()):.3g}"
            return (
                "samples",
                [],
                [f"the teacher's samples reach from {reached}, far beyond the task's {low:g} to {high:g}"],
            )
        return "samples", [], []

    def match(self, student: Outputs, teacher: Outputs, how: Any) -> Tensor:
        """The mean squared difference, or the mean absolute one for match 'l1'."""
        difference = (student.value - teacher.value).flatten(1)
        return difference.abs().mean(1) if how.match == "l1" else difference.square().mean(1)

    def agreement(self, student: Tensor, teacher: Tensor) -> None:
        return None

    def same(self, one: Tensor, other: Tensor) -> Tensor:
        """Whether no number differs by more than a hundredth of the range."""
        return (one - other).abs().flatten(1).amax(1) <= CLOSE * self.spec.width

    def describe(self, answers: Tensor, late: Tensor | None = None) -> list[Finding]:
        low, high = self.spec.range
        bars = torch.histc(answers.float(), BINS, low, high) / max(1, answers.numel())
        edges = np.linspace(low, high, BINS + 1)
        outside = ((answers < low) | (answers > high)).float().mean()
        return [
            Figure("spread", self._spread(answers), "number",
                   "mean distance between two of the teacher's samples, of the range; near 0: all alike"),
            Figure("outside", float(outside), "share", "numbers of the teacher's samples beyond the task's range"),
            Drawing("values", "bars", [round(share, 6) for share in bars.tolist()],
                    "share of the numbers in the teacher's samples", tuple(f"{edge:.3g}" for edge in edges[:-1])),
        ]  # fmt: skip

    def warnings(self, described: Mapping[str, Any], agreed: float, count: int, name_of: NameOf) -> list[Warned]:
        if described["spread"] >= ALIKE:
            return []
        return [Warned("samples all alike", described["spread"],
                       "mean distance between two of the teacher's samples, of the range: it has collapsed, and so "
                       "will its student.")]  # fmt: skip

    def evaluate(self, answers: np.ndarray, truth: np.ndarray, teacher: np.ndarray | None = None) -> list[Finding]:
        """truth: (N, *shape), to each answer a sample of the same noise, such as a teacher's in many steps."""
        made, true = (torch.from_numpy(np.ascontiguousarray(one)).double() for one in (answers, truth))
        beside = None if teacher is None else torch.from_numpy(np.ascontiguousarray(teacher)).double()
        return [
            Figure("paired_error", self.paired_error(made, true), "number",
                   "root mean squared difference from the samples given to the same noises, of the range", "lower"),
            Figure("sliced_wasserstein", self._sliced(made, true), "number",
                   "between both sets of samples, whatever the noise, of the range", "lower"),
            Figure("spread", self._spread(made), "number", "mean distance between two samples, of the range"),
            Figure("true_spread", self._spread(true), "number", "the same of the samples given"),
            *([] if beside is None else [
                Figure("teacher_paired_error", self.paired_error(beside, true), "number",
                       "of the teacher, on the same noises", "lower"),
            ]),
        ]  # fmt: skip

    def paired_error(self, one: Tensor, other: Tensor) -> float:
        """Root mean squared difference of samples (N, *shape) of the same noises, in widths of the range."""
        return float((one - other).square().mean().sqrt()) / self.spec.width

    def _sliced(self, one: Tensor, other: Tensor) -> float:
        return float(sliced_wasserstein(one.flatten(1), other.flatten(1))) / self.spec.width

    def _spread(self, samples: Tensor) -> float:
        """Mean over the numbers of the standard deviation between samples, of the range."""
        return float(columns.some(samples, MOST).flatten(1).double().std(0, correction=0).mean()) / self.spec.width

    def targets(self, answers: Tensor) -> np.ndarray:
        return answers.float().numpy()

    def captions(self, answers: np.ndarray, name_of: NameOf) -> Sequence[tuple[str, str]]:
        """Nothing: a sample is not taken for anything."""
        return [("", "")] * len(answers)

    def drawn(self, previews: Sequence[Preview], several: Mapping[str, Tensor]) -> Sequence[Preview]:
        """The samples side by side in the place of their noise: pictures, or rows of numbers."""
        if _is_picture(self.spec.shape):
            columns = [self.pixels(answers) for answers in several.values()]
            return [Picture(np.concatenate(row, 1)) for row in zip(*columns)]
        made = []
        for place in range(len(previews)):
            rows = {whose: answers[place].flatten().tolist()[:8] for whose, answers in several.items()}
            made.append(Record({whose: " ".join(f"{value:.3g}" for value in row) for whose, row in rows.items()}))
        return made

    def legend(self, whose: Sequence[str]) -> str:
        return f"From left to right, of the same noise: {' and '.join(f'the {name}' for name in whose)}."

    def pixels(self, answers: Tensor) -> np.ndarray:
        """uint8 (N, H, W, C) of samples (N, C, H, W): the range from black to white."""
        low, _ = self.spec.range
        unit = ((answers.float().cpu() - low) / self.spec.width).nan_to_num(0).clamp(0, 1)
        return unit.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()

    def signature(self) -> tuple[str, tuple[int, ...]]:
        return "field", tuple(self.spec.shape)

    @property
    def numbers(self) -> int:
        """As many times as large as it is: a teacher makes an answer in so many passes."""
        return super().numbers * self.spec.steps


def _tensor_in(raw: Any) -> Tensor:
    """The samples in what a module returned: a tensor, the first of several, or one that it calls `sample`."""
    tensors = outputs_of(raw)
    for name in ("sample", 0):
        if name in tensors:
            return tensors[name]
    raise TeacherError(f"the model returned {type(raw).__name__}; expected a tensor of samples, or one named 'sample'")


def _is_picture(shape: Sequence[int]) -> bool:
    return len(shape) == 3 and shape[0] in (1, 3)
