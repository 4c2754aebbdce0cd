"""What a classifier is worth, for many weightings of the same cases at once.

Shapes: N cases, R weightings. weights (R, N) >= 0 say how often a case counts; each function gives (R,) float64, nan
where its figure does not exist, such as an area under a curve without a positive case. A class stands against the rest.
"""

from __future__ import annotations

import numpy as np


def ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """over / under, nan where nothing is below the line."""
    return np.divide(over, under, out=np.full(np.shape(over), np.nan), where=under > 0)


def auroc(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve: how often a positive case is scored above a negative one, ties for a half."""
    up, down = _by_score(positive, scores, weights)
    below = down.cumsum(1) - down
    return ratio((up * (below + down / 2)).sum(1), up.sum(1) * down.sum(1))


def auprc(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision: the precision at each score, weighted by the recall that it adds."""
    up, down = (part[:, ::-1] for part in _by_score(positive, scores, weights))
    hits = up.cumsum(1)
    precision = np.nan_to_num(ratio(hits, hits + down.cumsum(1)))
    return ratio((up * precision).sum(1), up.sum(1))


def decisions(positive: np.ndarray, decided: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """sensitivity, specificity, ppv, npv of a decision (N,) bool for the positive class."""
    hit, false = weights @ (positive & decided), weights @ (~positive & decided)
    missed, spared = weights @ (positive & ~decided), weights @ (~positive & ~decided)
    return {
        "sensitivity": ratio(hit, hit + missed), "specificity": ratio(spared, spared + false),
        "ppv": ratio(hit, hit + false), "npv": ratio(spared, spared + missed),
    }  # fmt: skip


def accuracy(labels: np.ndarray, decided: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share of right answers."""
    return ratio(weights @ (labels == decided).astype(np.float64), weights.sum(1))


def balanced_accuracy(labels: np.ndarray, decided: np.ndarray, weights: np.ndarray, classes: int) -> np.ndarray:
    """Mean over the classes that occur of the share of their cases that are answered right."""
    each = [
        ratio(weights @ ((labels == c) & (decided == c)), weights @ (labels == c))
        for c in range(classes) if (labels == c).any()
    ]  # fmt: skip
    several = np.stack(each)
    there = np.isfinite(several)
    return ratio(np.where(there, several, 0).sum(0), there.sum(0).astype(np.float64))


def agreement_beyond_chance(one: np.ndarray, other: np.ndarray, weights: np.ndarray, classes: int) -> np.ndarray:
    """Cohen's kappa of two decisions (N,): 1 agree everywhere, 0 as often as their frequencies alone would."""
    total = weights.sum(1)
    agreement = ratio(weights @ (one == other).astype(np.float64), total)
    shares = [
        ratio(weights @ (one == c), total) * ratio(weights @ (other == c), total) for c in range(classes)
    ]  # fmt: skip
    by_chance = np.sum(shares, axis=0)
    return ratio(agreement - by_chance, 1 - by_chance)


def _by_score(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the positive and of the negative cases at each score that occurs, ascending: two arrays (R, S)."""
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    weighed, mark = weights[:, order], positive[order]
    up, down = (np.add.reduceat(weighed * side, starts, axis=1) for side in (mark, ~mark))
    return up, down
