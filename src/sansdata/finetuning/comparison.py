"""Before and after fine-tuning, on the same cases that neither saw."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..figures import Figure, Warned
from ..validation.answers import Answers, Key, Who, beside
from ..validation.cases import Cases
from ..validation.changes import sign_flip
from ..validation.rare import RareClasses, rare_classes
from ..validation.resampling import COUNT, Estimate, estimates
from ..validation.shares import share_of
from ..validation.subgroups import Suppressed, columns_of, group_figures
from ..validation.summary import MEANINGS
from .loop import Stage

NAMES: Mapping[Who, str] = {"student": "after", "teacher": "before", "difference": "change in"}
SHOWN = ("accuracy", "balanced_accuracy", "auroc", "auprc", "sensitivity", "specificity", "ece", "brier")
FORGOT = 0.02
"""Of the agreement with the teacher on synthetic inputs that may be lost: the methods card's."""


@dataclass(frozen=True)
class Comparison:
    """On `cases` cases of `patients` patients of the test fold. chance: that so uneven a change is none, by patient.
    kept: share of the synthetic inputs on which the network names the teacher's class, before and after; None where
    none were given."""

    cases: int
    patients: int
    figures: tuple[Figure, ...]
    chance: float
    kept: tuple[float, float] | None
    stages: tuple[Stage, ...]
    suppressed: tuple[Suppressed, ...]
    warnings: tuple[Warned, ...]

    def figure(self, name: str) -> Figure:
        """Such as 'before accuracy', 'change in accuracy' or 'change in accuracy, scanner: B'. Raises KeyError."""
        for one in self.figures:
            if one.name == name:
                return one
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "cases": self.cases, "patients": self.patients, "chance": self.chance,
            "kept": None if self.kept is None else {"before": self.kept[0], "after": self.kept[1]},
            "stages": [{"name": s.name, "epochs": len(s.losses) - 1, "kept": s.kept, "loss before": s.losses[0],
                        "loss after": s.losses[s.kept]} for s in self.stages],
            "figures": [one.to_dict() for one in self.figures], "warnings": [one.to_dict() for one in self.warnings],
            "suppressed": [one.to_dict() for one in self.suppressed],
        }  # fmt: skip


def compare(
    before: Answers, after: Answers, cases: Cases, stages: list[Stage], kept: tuple[float, float] | None
) -> Comparison:
    """before, after: answers to the cases of the test fold; intervals are by patient, of pairs."""
    both: Mapping[Who, Answers] = {"student": after, "teacher": before}
    labels, names = cases.labels, cases.data.class_names
    columns = columns_of(cases, len(names))
    shown = [column for column in columns if column.levels]

    def statistics(weights: np.ndarray) -> dict[Key, np.ndarray]:
        figures = {key: value for key, value in beside(both, labels, weights, names).items() if key.name in SHOWN}
        for column in shown:
            for key, value in group_figures(both, labels, column, weights).items():
                if key.name in ("accuracy", "auroc"):
                    figures[key] = value
        return figures

    measured = estimates(
        statistics, cases.patients, COUNT, share=lambda key: share_of(key, both, labels, cases.patients, names, shown)
    )
    rare = rare_classes(cases)
    return Comparison(
        len(cases), cases.patient_count, tuple(_figures(measured, rare)),
        sign_flip(before.decided == labels, after.decided == labels, cases.patients), kept, tuple(stages),
        (*(one for column in columns for one in column.suppressed), *rare.suppressed), tuple(_warnings(measured, kept)),
    )  # fmt: skip


def _figures(measured: Mapping[Key, Estimate], rare: RareClasses) -> Iterator[Figure]:
    for key, one in measured.items():
        if key.label or not math.isfinite(one.value) or rare.hides(key):
            continue
        group = f", {key.group}" if key.group else ""
        unit = "number" if key.who == "difference" or key.name in ("auroc", "auprc", "ece", "brier") else "share"
        better = "lower" if key.name in ("ece", "brier") else "higher"
        yield Figure(f"{NAMES[key.who]} {key.name}{group}", one.value, unit, MEANINGS[key.name], better, one.interval)


def _warnings(measured: Mapping[Key, Estimate], kept: tuple[float, float] | None) -> Iterator[Warned]:
    if kept is not None and kept[0] - kept[1] > FORGOT:
        yield Warned(
            "forgetting", kept[1] - kept[0],
            "on synthetic inputs the student names the teacher's class less often than before, by more than two "
            "points: raise the weight of the synthetic inputs, or lower the rates.",
        )  # fmt: skip
    for key, one in measured.items():
        if key.who == "difference" and key.group and key.name == "accuracy" and one.interval and one.interval[1] < 0:
            yield Warned(
                f"got worse, {key.group}", one.value,
                "fine-tuning made this group's accuracy lower, more than chance explains.",
            )  # fmt: skip
