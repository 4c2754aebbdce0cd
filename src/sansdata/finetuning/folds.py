"""Cases in three parts, no patient in two of them: to tune on, to stop by, and to test on at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from ..validation.cases import Cases

PARTS = 4
"""A quarter stops, a quarter tests, the rest tunes."""
FEWEST = 40
"""Cases: with fewer, no part says anything."""


@dataclass(frozen=True, eq=False)
class Folds:
    """Places (M,) int64 of the cases in each part."""

    tune: np.ndarray
    stop: np.ndarray
    test: np.ndarray


def three_folds(cases: Cases, seed: int) -> Folds:
    """Patients are kept together and classes spread as evenly as that allows. Raises DataError where there are too few
    cases, or a class is missing from the part to tune on or the part to test on."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels, patients = cases.labels, cases.patients
    if len(cases) < FEWEST or cases.patient_count < 2 * PARTS:
        raise DataError(
            f"{len(cases)} cases of {cases.patient_count} patients; fine-tuning needs at least {FEWEST} cases of "
            f"{2 * PARTS} patients, so that half tune, a quarter stop and a quarter test"
        )
    if int(np.bincount(labels)[np.unique(labels)].min()) < PARTS:
        raise DataError(f"a class has fewer than {PARTS} cases; it cannot stand in every part")
    split = StratifiedGroupKFold(PARTS, shuffle=True, random_state=seed).split(labels, labels, patients)
    parts = [held for _, held in split]
    folds = Folds(np.sort(np.concatenate(parts[2:])), parts[1], parts[0])
    there = set(np.unique(labels))
    for name in ("tune", "test"):
        if set(np.unique(labels[getattr(folds, name)])) != there:
            raise DataError(f"a class is missing from the part to {name}: too few patients have it; give more cases")
    return folds
