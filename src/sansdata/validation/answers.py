"""Answers of a student and of its teacher to the same cases, and every figure of both at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from ..kinds.outputs.class_metrics import log_odds, log_softmax
from . import calibration, performance

Who = Literal["student", "teacher", "difference"]
RECALIBRATED = "recalibrated"
RANKED = 50
"""Classes up to which each is ranked against the rest: a bootstrap of more takes longer than the models."""


class Key(NamedTuple):
    """One figure. label: the class that stands against the rest, '' for all. group: '' for all cases, 'column: level',
    or RECALIBRATED for all cases after recalibration."""

    name: str
    who: Who
    label: str = ""
    group: str = ""

    @property
    def base(self) -> str:
        """The figure that is set against the rest, or whose gap it is."""
        return self.name.removesuffix(" against the rest").removesuffix(" gap")


OUTSIDE = Key("unlike the synthetic inputs", "student")


@dataclass(frozen=True, eq=False)
class Answers:
    """probabilities (N, K) float64; odds (N, K) of each class in logarithms, by which cases are ranked also where every
    probability is 1; decided (N,) int64, the class that is named."""

    probabilities: np.ndarray
    odds: np.ndarray
    decided: np.ndarray

    @classmethod
    def of(cls, logits: np.ndarray, threshold: float | None = None) -> Answers:
        """logits (N, K). threshold: of two classes, class 1 is named from this probability on; None names the class
        with the highest."""
        probabilities = np.exp(log_softmax(logits))
        decided = logits.argmax(1) if threshold is None else (probabilities[:, 1] >= threshold).astype(np.int64)
        return cls(probabilities, log_odds(logits), decided)

    @property
    def likeliest(self) -> np.ndarray:
        """(N,) int64: the class of the highest probability, whatever the threshold."""
        return self.probabilities.argmax(1)

    @property
    def confidence(self) -> np.ndarray:
        """(N,) the highest probability."""
        return self.probabilities.max(1)

    def at(self, index: np.ndarray) -> Answers:
        """Those at `index`, numbers or bool."""
        return Answers(self.probabilities[index], self.odds[index], self.decided[index])


def figures_of(answers: Answers, labels: np.ndarray, weights: np.ndarray, names: tuple[str, ...]) -> dict:
    """(name, label of a class or '') -> (R,), of answers to N cases for R weightings of them.

    Of two classes the figures of a class are those of class 1, and stand without its name; of more each class has its
    own, and auroc, auprc and sensitivity are also given as the mean over the classes.
    """
    classes, right = answers.probabilities.shape[1], answers.likeliest == labels
    figures: dict[tuple[str, str], np.ndarray] = {
        ("accuracy", ""): performance.accuracy(labels, answers.decided, weights),
        ("balanced_accuracy", ""): performance.balanced_accuracy(labels, answers.decided, weights, classes),
    }
    ranked = [1] if classes == 2 else range(classes) if classes <= RANKED else ()
    for place in ranked:
        label = "" if classes == 2 else names[place]
        positive, scores = labels == place, answers.odds[:, place]
        figures["auroc", label] = performance.auroc(positive, scores, weights)
        figures["auprc", label] = performance.auprc(positive, scores, weights)
        for name, value in performance.decisions(positive, answers.decided == place, weights).items():
            figures[name, label] = value
    if classes > 2 and ranked:
        for name in ("auroc", "auprc"):
            figures[name, ""] = np.mean([figures[name, names[place]] for place in ranked], axis=0)
    figures["ece", ""] = calibration.expected_error(answers.confidence, right.astype(np.float64), weights)
    figures["brier", ""] = calibration.brier(answers.probabilities, labels, weights)
    if classes == 2:
        line = calibration.slope_and_intercept(answers.probabilities[:, 1], labels == 1, weights)
        figures["calibration_slope", ""], figures["calibration_intercept", ""] = line
    return figures


def beside(both: Mapping[Who, Answers], labels: np.ndarray, weights: np.ndarray, names: tuple[str, ...]) -> dict:
    """Key -> (R,): of student and teacher and, for each pair, student less teacher; and how far they agree."""
    figures: dict[Key, np.ndarray] = {}
    for who, answers in both.items():
        for (name, label), value in figures_of(answers, labels, weights, names).items():
            figures[Key(name, who, label)] = value
    for key in [key for key in figures if key.who == "student"]:
        other = key._replace(who="teacher")
        if other in figures:
            figures[key._replace(who="difference")] = figures[key] - figures[other]
    if "teacher" in both:
        ours, theirs = both["student"].decided, both["teacher"].decided
        figures[Key("agreement", "student")] = performance.accuracy(theirs, ours, weights)
        figures[Key("kappa", "student")] = performance.agreement_beyond_chance(ours, theirs, weights, len(names))
    return figures
