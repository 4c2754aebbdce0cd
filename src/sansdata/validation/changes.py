"""Whether a second model answers otherwise than a first, case by case: McNemar's exact test, and Holm for several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from .subgroups import LEAST_OF_CLASS

Key = TypeVar("Key")


def mcnemar(before: np.ndarray, after: np.ndarray) -> float:
    """The chance of so uneven a change between two rows of right answers (N,) bool if neither model were better: exact,
    by the cases on which just one of them is right; 1 where there are none."""
    from scipy.stats import binomtest

    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    return 1.0 if lost + won == 0 else float(binomtest(lost, lost + won).pvalue)


def holm(chances: Mapping[Key, float]) -> dict[Key, float]:
    """Corrected for how many there are (Holm 1979): in rising order, each by how many are left, never falling."""
    corrected, highest = {}, 0.0
    for place, (key, chance) in enumerate(sorted(chances.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, chance * (len(chances) - place)))
        corrected[key] = highest
    return corrected


def changed_classes(
    before: np.ndarray, after: np.ndarray, labels: np.ndarray, classes: int, patients: np.ndarray
) -> tuple[dict[int, float], dict[int, float]]:
    """(class -> chance of so uneven a change after Holm; class -> change in accuracy), of the classes that at least
    five patients have. before, after (N,) bool: answered right; labels, patients (N,) int64."""
    raw, moves = {}, {}
    for place in range(classes):
        own = labels == place
        if len(np.unique(patients[own])) >= LEAST_OF_CLASS:
            raw[place] = mcnemar(before[own], after[own])
            moves[place] = float(after[own].mean() - before[own].mean())
    return holm(raw), moves
