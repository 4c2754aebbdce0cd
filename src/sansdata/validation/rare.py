"""Classes of so few patients that nothing is said of them, nor anything from which it could be worked out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .answers import RECALIBRATED, Key
from .cases import Cases
from .subgroups import LEAST_OF_CLASS, Suppressed

OVER_CLASSES = (
    "balanced_accuracy", "auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "calibration_slope",
    "calibration_intercept",
)  # fmt: skip
"""Figures without the name of a class that hold one all the same: a mean over the classes, of which the others are
known, or of two classes those of class 1."""


@dataclass(frozen=True)
class RareClasses:
    """suppressed: the classes of which nothing is said, and why. hidden: their names, and of two classes both."""

    suppressed: tuple[Suppressed, ...]
    hidden: frozenset[str]

    def hides(self, key: Key) -> bool:
        """Whether a figure of all cases is not to be shown. Cells of groups have their own rule: see subgroups."""
        if not self.hidden or key.group not in ("", RECALIBRATED):
            return False
        return key.label in self.hidden or (not key.label and key.name in OVER_CLASSES)


def rare_classes(cases: Cases) -> RareClasses:
    """Of the cases that are measured."""
    names = cases.data.class_names
    rare, beside = rare_places(cases.labels, cases.patients, len(names))
    why = dict.fromkeys(rare, f"fewer than {LEAST_OF_CLASS} patients")
    if len(names) > 2:  # of two, what is said of one is said of the other
        why |= dict.fromkeys(beside, "a class of few patients could be worked out from it")
    suppressed = tuple(Suppressed("class", names[place], why[place]) for place in sorted(why))
    return RareClasses(suppressed, frozenset(names[place] for place in (*rare, *beside)))


def rare_places(labels: np.ndarray, patients: np.ndarray, classes: int) -> tuple[list[int], list[int]]:
    """(numbers of the classes of fewer than 5 patients, numbers of those that are hidden with them). What is left out
    alone is what the others leave over: so the rarest others go too, until two classes or more are hidden that together
    have 5 patients. labels, patients (N,) int64."""
    whose = [set(patients[labels == place].tolist()) for place in range(classes)]
    rare = [place for place in range(classes) if len(whose[place]) < LEAST_OF_CLASS]
    if not rare:
        return [], []
    beside: list[int] = []
    together = set().union(*(whose[place] for place in rare))
    for place in sorted((place for place in range(classes) if place not in rare), key=lambda one: len(whose[one])):
        if len(rare) + len(beside) > 1 and len(together) >= LEAST_OF_CLASS:
            break
        beside.append(place)
        together |= whose[place]
    return rare, beside
