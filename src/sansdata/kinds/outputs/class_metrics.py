"""Figures from logits and labels: pure functions of NumPy arrays, computed in float64.

Shapes: N samples, K classes. logits (N, K) any real numbers; labels and predictions (N,) in 0..K-1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Z_95 = 1.959963984540054
"""The normal quantile of a two-sided 95 % interval."""
GAP = 0.02
"""Between confidence and accuracy before it is worth a word."""


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """(N, K) log-probabilities, natural logarithm."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def log_odds(logits: np.ndarray) -> np.ndarray:
    """(N, K) log p - log(1 - p) of each class: what ranks by a class's probability also where that is 1 to the last
    digit, as it is 37 nats above the others."""
    log_probs, rows = log_softmax(logits), np.arange(len(logits))
    first = log_probs.argmax(axis=1)
    others = logits.astype(np.float64)
    highest = others[rows, first]
    others[rows, first] = -np.inf
    next_best = others.max(axis=1)
    rest = next_best + np.log(np.exp(others - next_best[:, None]).sum(axis=1))
    with np.errstate(divide="ignore"):  # the class named first is 1 here, and gets its own value below
        odds = log_probs - np.log1p(-np.exp(log_probs))
    odds[rows, first] = highest - rest
    return odds


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share, within 0..1. `trials` must be above 0."""
    share, z2 = successes / trials, Z_95**2
    centre = share + z2 / (2 * trials)
    spread = Z_95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    scale = 1 + z2 / trials
    low, high = (centre - spread) / scale, (centre + spread) / scale
    return (0.0 if successes == 0 else low), (1.0 if successes == trials else high)


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """int64 (K, K): rows the true class, columns the predicted one."""
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)


def per_class_accuracy(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """(K,) share of each class's samples that were right; nan for a class without samples."""
    count = np.bincount(labels, minlength=classes)
    right = np.bincount(labels[labels == predictions], minlength=classes)
    return np.divide(right, count, out=np.full(classes, np.nan), where=count > 0)


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions whose confidence lies in (lower, upper]. confidence, accuracy: their means, None where empty."""

    lower: float
    upper: float
    count: int
    confidence: float | None
    accuracy: float | None


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> tuple[ReliabilityBin, ...]:
    """Equal-width bins over 0..1. confidence (N,) of the predicted class; correct (N,) bool."""
    edges = np.linspace(0, 1, bins + 1)
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    sums = [np.bincount(index, weights=v.astype(np.float64), minlength=bins) for v in (confidence, correct)]
    return tuple(
        ReliabilityBin(
            float(edges[i]),
            float(edges[i + 1]),
            int(n),
            float(sums[0][i] / n) if n else None,
            float(sums[1][i] / n) if n else None,
        )
        for i, n in enumerate(count)
    )


def expected_calibration_error(bins: tuple[ReliabilityBin, ...]) -> float:
    """Mean gap of confidence and accuracy over bins, weighted by count: 0 (calibrated) to 1."""
    total = sum(one.count for one in bins)
    gaps = (
        one.count * abs(one.confidence - one.accuracy)
        for one in bins
        if one.confidence is not None and one.accuracy is not None
    )
    return sum(gaps) / total


def sureness(confidence: float, accuracy: float) -> str:
    """What the mean confidence in the named class says beside the accuracy: the sign decides, from GAP on."""
    if confidence > accuracy + GAP:
        return "above the accuracy: too sure of itself"
    if confidence < accuracy - GAP:
        return "below the accuracy: less sure than it could be"
    return "in the class that it names, close to the accuracy"


def negative_log_likelihood(log_probs: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log p(true class), nats, at least 0 (and never the negative zero)."""
    return _not_below_0(-log_probs[np.arange(len(labels)), labels].mean())


def brier_score(log_probs: np.ndarray, labels: np.ndarray) -> float:
    """Mean squared distance of the probabilities to the one-hot label, summed over classes: 0 to 2."""
    probs = np.exp(log_probs)
    true = probs[np.arange(len(labels)), labels]
    return _not_below_0(((probs**2).sum(axis=1) - 2 * true + 1).mean())


def mean_kl(teacher_log_probs: np.ndarray, student_log_probs: np.ndarray) -> float:
    """Mean KL(teacher || student) over samples, nats, at temperature 1."""
    difference = teacher_log_probs - student_log_probs
    return _not_below_0((np.exp(teacher_log_probs) * difference).sum(axis=1).mean())


def _not_below_0(value: float) -> float:
    """0 for what rounding left below it; nan stays, which is no perfect figure."""
    return 0.0 if value <= 0 else float(value)
