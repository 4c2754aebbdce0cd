"""Which figures are shares of cases, and of how many patients: what an interval rests on beside resampling, which finds
no patient that was not met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .answers import OUTSIDE, RECALIBRATED, Answers, Key, Who
from .resampling import Share
from .subgroups import Column

OF_ALL = ("accuracy", "agreement", "selection_rate", OUTSIDE.name, "demographic_parity_difference")


def share_of(
    key: Key,
    both: Mapping[Who, Answers],
    labels: np.ndarray,
    patients: np.ndarray,
    names: tuple[str, ...],
    columns: Sequence[Column] = (),
) -> Share | None:
    """None for what is no share, such as an error of calibration or the area under a precision-recall curve; that under
    the ROC curve is one, of pairs of a positive and a negative case, of which as many have no patient in common as the
    rarer of both has patients.

    A figure of several shares, such as a difference of two groups, has the patients of the smallest: none of its parts
    is surer than that one. A patient of one class moves a mean over K classes by a K-th of a share, or twice that where
    the shares are of pairs: the mean has K times as many, or half of that, and no more than there are. labels, patients
    (N,) of the cases that `both` answered.
    """
    whose: tuple[Who, ...] = ("student", "teacher") if key.who == "difference" else (key.who,)
    classes = [names.index(key.label)] if key.label else [1] if len(names) == 2 else range(len(names))
    parts = [part for who in whose for part in _below_the_line(key.base, both[who].decided, labels, classes)]
    sides = _sides(key, len(labels), columns)
    several = [len(np.unique(patients[side & part])) for side in sides for part in parts]
    if not several or not min(several):
        return None
    of_groups = key.name.endswith("against the rest") or key.group in {column.name for column in columns}
    paired = key.who == "difference" and not of_groups
    signed = key.who == "difference" or key.name.endswith("against the rest")
    most = min(len(np.unique(patients[side])) for side in sides)
    count = min(most, min(several) * _averaged(key.base, len(parts) // len(whose)))
    return Share(count, -1.0 if signed else 0.0, paired=paired)


def _averaged(name: str, parts: int) -> int:
    """Times the patients of the smallest part that a mean over the classes has."""
    if name == "balanced_accuracy":
        return parts
    return max(1, parts // 4) if name == "auroc" else 1  # each class has two sides


def _below_the_line(name: str, decided: np.ndarray, labels: np.ndarray, classes: Sequence[int]) -> list[np.ndarray]:
    """(N,) bool each: the cases that a share is of; several where the figure is made of several, none where it is
    no share."""
    if name in OF_ALL:
        return [np.ones(len(labels), bool)]
    if name == "balanced_accuracy":
        return [labels == place for place in np.unique(labels)]
    if name in ("auroc", "equalized_odds_difference"):
        return [side for place in classes for side in (labels == place, labels != place)]
    of_one = {
        "sensitivity": lambda place: labels == place, "true_positive_rate": lambda place: labels == place,
        "specificity": lambda place: labels != place, "false_positive_rate": lambda place: labels != place,
        "ppv": lambda place: decided == place, "npv": lambda place: decided != place,
    }  # fmt: skip
    return [of_one[name](place) for place in classes] if name in of_one else []


def _sides(key: Key, count: int, columns: Sequence[Column]) -> list[np.ndarray]:
    """(N,) bool each: all cases, those of a level, those of a level and of the others, or of each level of a gap."""
    if key.group in ("", RECALIBRATED):
        return [np.ones(count, bool)]
    for column in columns:
        if key.group == column.name:
            return list(column.levels.values())
        for level, inside in column.levels.items():
            if key.group == f"{column.name}: {level}":
                return [inside, column.shown & ~inside] if key.name.endswith("against the rest") else [inside]
    return []
