"""Whether a second model answers otherwise than a first, patient by patient: an exact test, and Holm for several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from .rare import rare_places

Key = TypeVar("Key")


def sign_flip(before: np.ndarray, after: np.ndarray, patients: np.ndarray) -> float:
    """The chance of so uneven a change between two rows of right answers (N,) bool if neither model were better: exact;
    1 where nothing changed.

    Cases of one patient (N,) int64 are alike, so that what a patient's cases won less what they lost counts as one sum,
    whose sign would be as likely the other one. Where each patient has one case this is McNemar's exact test.
    """
    from scipy.signal import convolve
    from scipy.stats import binom

    whose = np.unique(patients, return_inverse=True)[1]
    won = np.bincount(whose, weights=after.astype(np.float64) - before).astype(np.int64)
    sizes, counts = np.unique(np.abs(won[won != 0]), return_counts=True)
    chances = np.ones(1)  # of each sum, from the lowest to the highest
    for size, many in zip(sizes.tolist(), counts.tolist()):
        own = np.zeros(2 * size * many + 1)
        own[:: 2 * size] = binom.pmf(np.arange(many + 1), many, 0.5)
        chances = convolve(chances, own)
    highest = len(chances) // 2
    as_uneven = np.abs(np.arange(-highest, highest + 1)) >= abs(int(won.sum()))
    return min(1.0, max(0.0, float(chances[as_uneven].sum())))  # long convolutions round to some 1e-16


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
    """(class -> chance of so uneven a change after Holm; class -> change in accuracy), of the classes that are neither
    rare nor hidden with those. before, after (N,) bool: answered right; labels, patients (N,) int64."""
    raw, moves = {}, {}
    rare, beside = rare_places(labels, patients, classes)
    for place in range(classes):
        own = labels == place
        if place not in (*rare, *beside):
            raw[place] = sign_flip(before[own], after[own], patients[own])
            moves[place] = float(after[own].mean() - before[own].mean())
    return holm(raw), moves
