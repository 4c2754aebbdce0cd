"""A generator beside the denoiser that taught it, on noises of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...columns import Inputs
from ...figures import Drawing, Figure, Finding
from ...models.diffusion.denoiser import Denoiser
from ...models.diffusion.steerable import Steerable

WATCHED, SHARES = 64, 20
"""Noises, and steps of the teacher's sampler, on which the student is compared with the teacher's trajectories."""
STRENGTHS = 5
"""Evenly spread over the range of guidance, at which both are compared."""


@dataclass(frozen=True)
class Watched:
    """draw: the answers of `student` to columns as it takes them. inputs: noise, and a label where there is one.
    strengths: the range of guidance of which the student is told; all but its own curve is measured in the middle of
    it. width: of the range of the data, by which errors are divided."""

    denoiser: Denoiser
    student: nn.Module
    draw: Callable[[Inputs], Tensor]
    inputs: Mapping[str, Tensor]
    strengths: tuple[float, float] | None
    width: float

    def findings(self, calls: int) -> list[Finding]:
        """calls: in how many the student is sampled at most."""
        middle = self._pushed(None if self.strengths is None else sum(self.strengths) / 2)
        end = self._teachers(middle, SHARES)
        findings: list[Finding] = [
            Figure("paired_error", self._error(self.draw(middle), end), "number",
                   f"root mean squared difference from the teacher's samples in {SHARES} steps of the same noises, of "
                   "the range", "lower"),
            Drawing("error on the way", "curve", {"student": self._on_the_way(middle)},
                    "the same at every share of the way, from the sample (0) to the noise (1), in one call"),
        ]  # fmt: skip
        if calls > 1:
            counts = range(1, calls + 1)
            student = [[count, self._error(self._in_calls(middle, count), end)] for count in counts]
            teacher = [[count, self._error(self._teachers(middle, count), end)] for count in counts]
            findings.append(Drawing(
                "error by calls", "curve", {"student": student, "teacher": teacher},
                "the same of samples in so many calls, and of the teacher's in as many steps",
            ))  # fmt: skip
        if self.strengths is not None:
            findings.append(Drawing(
                "error by guidance", "curve", {"student": self._by_guidance()},
                "the same with the student and the teacher guided that strongly",
            ))  # fmt: skip
        return findings

    def _on_the_way(self, inputs: Mapping[str, Tensor]) -> list[list[float]]:
        """[share, error], from the sample on."""
        signals = self.denoiser.signals(inputs["noise"], inputs.get("label"), SHARES, inputs.get("guidance"))
        errors = []
        for number, signal in enumerate(signals):
            share = 1 - number / SHARES
            time = torch.full((len(signal),), share, device=signal.device)
            errors.append([float(time[0]), self._error(self.draw({**inputs, "time": time}), signal)])
        return errors[::-1]

    def _by_guidance(self) -> list[list[float]]:
        """[strength, error]"""
        assert self.strengths is not None
        errors = []
        for strength in torch.linspace(*self.strengths, STRENGTHS).tolist():
            inputs = self._pushed(strength)
            errors.append([strength, self._error(self.draw(inputs), self._teachers(inputs, SHARES))])
        return errors

    def _in_calls(self, inputs: Mapping[str, Tensor], calls: int) -> Tensor:
        assert isinstance(self.student, Steerable)
        return self.student.sample(inputs["noise"], inputs.get("label"), calls, inputs.get("guidance"))

    def _teachers(self, inputs: Mapping[str, Tensor], steps: int) -> Tensor:
        return self.denoiser.sample(inputs["noise"], inputs.get("label"), steps, inputs.get("guidance"))

    def _pushed(self, strength: float | None) -> dict[str, Tensor]:
        """The inputs, with a strength where the student is told one."""
        noise = self.inputs["noise"]
        conditions = {} if strength is None else {"guidance": torch.full((len(noise),), strength, device=noise.device)}
        return {**self.inputs, **conditions}

    def _error(self, one: Tensor, other: Tensor) -> float:
        """The root mean squared difference."""
        return float((one - other).square().mean().sqrt()) / self.width
