"""Whether probabilities are as often right as they say, for many weightings of the same cases at once.

Shapes as in `performance`: weights (R, N), results (R,).
"""

from __future__ import annotations

import math

import numpy as np

from ..evaluate.equal_mass import equal_mass_edges
from .performance import ratio

BINS = 15
COUNT = 1000
"""Models that are drawn to say what an ECE is by chance."""
STEPS = 25
FLAT = 1e-9
SURE = 1e-12


def equal_mass_bins(confidence: np.ndarray, count: int = BINS) -> np.ndarray:
    """(N,) the bin of each of N confidences; bins hold about as many cases each, equal confidences share one, and one
    that fills bins has it for itself, or those beside it would cancel what is wrong with it."""
    return np.searchsorted(equal_mass_edges(confidence, count), confidence, side="left")


def expected_error(confidence: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """ECE over 15 bins of equal mass: mean gap between confidence and accuracy, 0 to 1. The bins are those of the cases
    as they are, whatever the weights."""
    gap = weights @ (_within(confidence) * (confidence - correct)[:, None])
    return ratio(np.abs(gap).sum(1), weights.sum(1))


def error_by_chance(confidence: np.ndarray, patients: np.ndarray, seed: int = 0) -> float:
    """The ECE that 95 of 100 models stay below whose cases are as often right as they say; it is above 0, and the
    further the fewer the cases. Cases of one patient (N,) are right together, as far as their confidences let them."""
    random, within = np.random.RandomState(seed), _within(confidence)
    _, whose = np.unique(patients, return_inverse=True)
    errors = []
    for _ in range(COUNT):
        right = random.random_sample(whose.max() + 1)[whose] < confidence
        errors.append(np.abs((confidence - right) @ within).sum() / len(confidence))
    return float(np.percentile(errors, 95))


def _within(confidence: np.ndarray) -> np.ndarray:
    """(N, B) float64: 1 where a case is in a bin."""
    places = equal_mass_bins(confidence)
    return (places[:, None] == np.arange(places.max() + 1)).astype(np.float64)


def bins_of(confidence: np.ndarray, correct: np.ndarray, least: int) -> list[dict[str, float]]:
    """Bins of equal mass for a reliability drawing: lower, upper, count, confidence, accuracy of each, at most 15 and
    fewer where one would hold less than `least` cases. The ends are confidences of single cases, and so are rounded
    outwards to two decimals."""
    several, counts = [], min(BINS, max(1, len(confidence) // least))
    places = equal_mass_bins(confidence, counts)
    while counts > 1 and np.bincount(places)[np.unique(places)].min() < least:  # ties can leave a bin nearly empty
        counts -= 1
        places = equal_mass_bins(confidence, counts)
    for place in np.unique(places):
        inside = places == place
        several.append({
            "lower": math.floor(100 * confidence[inside].min()) / 100,
            "upper": math.ceil(100 * confidence[inside].max()) / 100,
            "count": int(inside.sum()), "confidence": float(confidence[inside].mean()),
            "accuracy": float(correct[inside].mean()),
        })  # fmt: skip
    return several


def brier(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean squared distance of the probabilities (N, K) to the one-hot label, summed over classes: 0 to 2."""
    error = probabilities.copy()
    error[np.arange(len(labels)), labels] -= 1
    return ratio(weights @ (error**2).sum(1), weights.sum(1))


def slope_and_intercept(
    probability: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of the logistic line that leads from the stated log-odds to what happened: slope 1 and intercept 0 are
    calibrated, a slope below 1 is too sure of itself. By Newton's method on two numbers; nan where the line is not
    determined, such as without a positive case or with classes that the odds tell apart completely.

    Own code, because the library's fits one weighting at a time, and a bootstrap asks for a thousand.
    """
    p = np.clip(probability, SURE, 1 - SURE)
    odds = np.log(p) - np.log1p(-p)
    design = np.stack([np.ones_like(odds), odds])
    line = np.zeros((len(weights), 2))
    y = positive.astype(np.float64)
    last = np.full(len(weights), np.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(STEPS):
            fitted = 1 / (1 + np.exp(-line @ design))
            slope = (weights * (y - fitted)) @ design.T
            curve = weights * fitted * (1 - fitted)
            a, b, c = curve @ np.ones_like(odds), curve @ odds, curve @ odds**2
            determinant = a * c - b * b
            sound = determinant > FLAT
            step = np.stack([c * slope[:, 0] - b * slope[:, 1], a * slope[:, 1] - b * slope[:, 0]], 1)
            step = np.where(sound[:, None], step / np.where(sound, determinant, 1)[:, None], np.nan)
            line = line + np.clip(step, -5, 5)
            last = np.abs(step).max(1)
    settled = last < 1e-6
    return np.where(settled, line[:, 1], np.nan), np.where(settled, line[:, 0], np.nan)
