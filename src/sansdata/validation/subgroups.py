"""The same figures for groups of patients, and where one group is served worse than the others.

Points are those of fairlearn's MetricFrame, intervals those of the bootstrap over patients. A cell in which few
patients stand is suppressed: its figures would be about persons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from ..errors import MissingLibraryError
from . import calibration, performance
from .answers import RANKED, Answers, Key, Who
from .cases import Cases

LEAST_CASES, LEAST_OF_CLASS = 10, 5
"""Patients of a cell, and of one class in a cell, below which it is suppressed."""
RATES = ("accuracy", "selection_rate", "true_positive_rate", "false_positive_rate")
AREA = "auroc"
COMPARED = (*RATES, AREA, "ece")
"""Of each level, what is set against the rest: what depends on how frequent the cases are in it is not."""


@dataclass(frozen=True)
class Suppressed:
    """A cell that is not shown, and why; how many stand in it is not said."""

    column: str
    level: str
    reason: str

    def to_dict(self) -> dict[str, str]:
        """Plain data for JSON."""
        return {"column": self.column, "level": self.level, "reason": self.reason}


@dataclass(frozen=True, eq=False)
class Column:
    """A group column. levels: those that are shown, with the cases (N,) bool that stand in each."""

    name: str
    levels: dict[str, np.ndarray]
    suppressed: tuple[Suppressed, ...]

    @property
    def shown(self) -> np.ndarray:
        """(N,) bool: cases in a level that is shown."""
        return np.any(list(self.levels.values()), axis=0)


def columns_of(cases: Cases, classes: int) -> list[Column]:
    """The group columns of `cases`, small cells set apart."""
    several = []
    for name, values in cases.groups.items():
        levels, hidden = {}, []
        for level in sorted(set(values.tolist())):
            inside = values == level
            why = too_small(cases.patients[inside], cases.labels[inside], classes)
            if why:
                hidden.append(Suppressed(name, level, why))
            else:
                levels[level] = inside
        several.append(Column(name, levels, tuple(hidden)))
    return several


def too_small(patients: np.ndarray, labels: np.ndarray, classes: int) -> str:
    """Why a cell is not shown, or ''."""
    if len(np.unique(patients)) < LEAST_CASES:
        return f"fewer than {LEAST_CASES} patients"
    if classes == 2 and min(len(np.unique(patients[labels == c])) for c in (0, 1)) < LEAST_OF_CLASS:
        return f"fewer than {LEAST_OF_CLASS} patients of one class"
    return ""


# -- for many weightings at once


def rates(answers: Answers, labels: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """accuracy and ece, auroc (of several classes their mean) and, of two classes, selection_rate, true_positive_rate,
    false_positive_rate, ppv, npv and auprc: each (R,)."""
    sure, right = answers.confidence, (answers.likeliest == labels).astype(np.float64)
    figures = {
        "accuracy": performance.accuracy(labels, answers.decided, weights),
        "ece": calibration.expected_error(sure, right, weights),
    }
    classes = answers.probabilities.shape[1]
    if 2 < classes <= RANKED:
        each = [performance.auroc(labels == c, answers.odds[:, c], weights) for c in range(classes)]
        figures[AREA] = np.mean(each, axis=0)
    if classes == 2:
        positive, chosen = labels == 1, answers.decided == 1
        figures["selection_rate"] = performance.ratio(weights @ chosen.astype(np.float64), weights.sum(1))
        decided = performance.decisions(positive, chosen, weights)
        figures["true_positive_rate"] = decided["sensitivity"]
        figures["false_positive_rate"] = 1 - decided["specificity"]
        figures |= {name: decided[name] for name in ("ppv", "npv")}
        figures[AREA] = performance.auroc(positive, answers.odds[:, 1], weights)
        figures["auprc"] = performance.auprc(positive, answers.odds[:, 1], weights)
    return figures


def group_figures(both: Mapping[Who, Answers], labels: np.ndarray, column: Column, weights: np.ndarray) -> dict:
    """Key -> (R,): each rate of each level that is shown; the level less all others that are shown (`... against the
    rest`), which has a sign and can be 0; the largest difference of two levels (`... gap`), and of two classes
    demographic_parity_difference and equalized_odds_difference. Of student, teacher, and student less teacher."""
    figures: dict[Key, np.ndarray] = {}
    for who, answers in both.items():
        each: dict[str, list[np.ndarray]] = {}
        for level, inside in column.levels.items():
            place = f"{column.name}: {level}"
            rest = column.shown & ~inside
            own = rates(answers.at(inside), labels[inside], weights[:, inside])
            others = rates(answers.at(rest), labels[rest], weights[:, rest]) if rest.any() else {}
            for name, value in own.items():
                figures[Key(name, who, group=place)] = value
                each.setdefault(name, []).append(value)
                if name in others and name in COMPARED:
                    figures[Key(f"{name} against the rest", who, group=place)] = value - others[name]
        if len(column.levels) > 1:
            for name, value in _gaps(each).items():
                figures[Key(name, who, group=column.name)] = value
    if "teacher" in both:
        for key in [key for key in figures if key.who == "student"]:
            figures[key._replace(who="difference")] = figures[key] - figures[key._replace(who="teacher")]
    return figures


def _gaps(each: Mapping[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    apart = {name: np.max(values, axis=0) - np.min(values, axis=0) for name, values in each.items()}
    gaps = {f"{name} gap": apart[name] for name in ("accuracy", AREA) if name in apart}
    if "selection_rate" in apart:
        gaps["demographic_parity_difference"] = apart["selection_rate"]
        gaps["equalized_odds_difference"] = np.maximum(apart["true_positive_rate"], apart["false_positive_rate"])
    return gaps


# -- as fairlearn has them


def fairlearn_figures(
    answers: Answers, labels: np.ndarray, values: np.ndarray, column: Column
) -> dict[tuple[str, str], float]:
    """(name, 'column: level' or column) -> its value by fairlearn, of the levels that are shown among `values` (N,):
    points of the rates, of the accuracy gap and of both differences. Raises MissingLibraryError without fairlearn."""
    fair = fairness_library()
    shown = column.shown
    truth, decided, groups = labels[shown], answers.decided[shown], values[shown]
    metrics = {"accuracy": _accuracy}
    if answers.probabilities.shape[1] == 2:
        metrics |= {name: getattr(fair, name) for name in RATES if name != "accuracy"}
    frame = fair.MetricFrame(metrics=metrics, y_true=truth, y_pred=decided, sensitive_features=groups)
    points = {
        (name, f"{column.name}: {level}"): float(frame.by_group[name][level])
        for name in metrics for level in column.levels
    }  # fmt: skip
    if len(column.levels) > 1:
        points["accuracy gap", column.name] = float(frame.difference()["accuracy"])
        if len(metrics) > 1:
            for name in ("demographic_parity_difference", "equalized_odds_difference"):
                points[name, column.name] = float(getattr(fair, name)(truth, decided, sensitive_features=groups))
    return points


def _accuracy(truth: Any, decided: Any) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(truth, decided))


def fairness_library() -> Any:
    """fairlearn.metrics. Raises MissingLibraryError."""
    try:
        return import_module("fairlearn.metrics")
    except ImportError:
        raise MissingLibraryError(
            "figures of groups need the library fairlearn, which is not installed: pip install fairlearn (the extra "
            "'fair')"
        ) from None
