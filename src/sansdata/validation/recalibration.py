"""Probabilities and a threshold for the place where a model is used, fitted on patients of their own.

A student that was distilled without data ranks cases about as its teacher does and may still be sure of the wrong
things: neither knew how frequent a class is here. A temperature, an offset for each class (bias-corrected temperature
scaling, Alexandari et al. 2020; Platt's line for two classes) and, of two classes, a threshold mend that from a few
cases. They change no weight and, of two classes, no ranking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from ..errors import DataError
from . import performance
from .answers import Answers
from .cases import Cases

PARTS = 4
"""A quarter of the patients is fitted on."""
FEWEST = 40
LEAST_OF_CLASS = 5
"""Cases of a class to fit on, below which its offset would be a guess."""
SEED = 0
ITERATIONS = 200


@dataclass(frozen=True)
class Recalibration:
    """temperature: above 0, logits are divided by it. offsets (K,): added afterwards; their mean is 0. threshold: of
    two classes, the recalibrated probability from which on class 1 is named; None names the likeliest class."""

    temperature: float
    offsets: tuple[float, ...]
    threshold: float | None

    @classmethod
    def of(cls, logits: np.ndarray, labels: np.ndarray) -> Recalibration:
        """The most likely one for logits (N, K) of cases with labels (N,), under Platt's targets: a label counts for
        (n + 1) / (n + K) of n cases of its class, so that classes that are told apart completely stay finite. The
        threshold is the one of the best balanced accuracy on these cases."""
        classes = logits.shape[1]
        scores = torch.from_numpy(logits.astype(np.float64))
        targets = torch.from_numpy(_targets(labels, classes))
        free = torch.zeros(classes + 1, dtype=torch.float64, requires_grad=True)
        search = torch.optim.LBFGS([free], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            search.zero_grad()
            value = F.cross_entropy(scores / free[0].exp() + free[1:], targets)
            value.backward()
            return value

        search.step(loss)
        best = free.detach()
        plain = cls(float(best[0].exp()), tuple((best[1:] - best[1:].mean()).tolist()), None)
        if classes != 2:
            return plain
        return cls(plain.temperature, plain.offsets, _best_threshold(plain.answers(logits).probabilities[:, 1], labels))

    def answers(self, logits: np.ndarray) -> Answers:
        """Of logits (N, K), recalibrated."""
        return Answers.of(logits / self.temperature + np.array(self.offsets), self.threshold)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"temperature": self.temperature, "offsets": list(self.offsets), "threshold": self.threshold}


def set_apart(cases: Cases) -> tuple[np.ndarray, np.ndarray]:
    """Places of the cases to fit on, a quarter, and of all others; no patient in both, and classes as even as that
    allows. Raises DataError where they are too few."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels = cases.labels
    if len(cases) < FEWEST or cases.patient_count < 2 * PARTS:
        raise DataError(
            f"{len(cases)} cases of {cases.patient_count} patients: to recalibrate, at least {FEWEST} of {2 * PARTS} "
            "are needed, a quarter of which is fitted on and not measured"
        )
    split = StratifiedGroupKFold(PARTS, shuffle=True, random_state=SEED).split(labels, labels, cases.patients)
    others, chosen = next(split)
    counts = np.bincount(labels[chosen], minlength=len(cases.data.class_names))
    if counts[np.unique(labels)].min() < LEAST_OF_CLASS or len(np.unique(labels)) < len(counts):
        raise DataError(
            f"a class has fewer than {LEAST_OF_CLASS} cases in the quarter to recalibrate on: give more cases, or "
            "leave --recalibrate out"
        )
    return chosen, others


def _targets(labels: np.ndarray, classes: int) -> np.ndarray:
    """(N, K): Platt's targets of each label."""
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    own = (counts + 1) / (counts + classes)
    targets = np.repeat(((1 - own) / (classes - 1))[labels][:, None], classes, axis=1)
    targets[np.arange(len(labels)), labels] = own[labels]
    return targets


def _best_threshold(probability: np.ndarray, labels: np.ndarray) -> float:
    """Halfway between two cases, where balanced accuracy is highest; of several such, what is nearest to a half."""
    values = np.unique(probability)
    between = (values[1:] + values[:-1]) / 2 if len(values) > 1 else np.array([0.5])
    positive, ones = labels == 1, np.ones((1, len(labels)))
    worth = []
    for threshold in between:
        rates = performance.decisions(positive, probability >= threshold, ones)
        worth.append(float(rates["sensitivity"][0] + rates["specificity"][0]))
    best = between[np.isclose(worth, np.max(worth))]
    return float(best[np.abs(best - 0.5).argmin()])
