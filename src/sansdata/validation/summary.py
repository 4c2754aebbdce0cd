"""Everything that a validation says, put together: figures with intervals, a verdict, warnings, what is not shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..figures import Drawing, Figure, Finding, Unit, Warned
from . import calibration, performance
from .answers import OUTSIDE, RECALIBRATED, Answers, Key, Who, beside
from .cases import Cases
from .noninferiority import Declaration, Verdict, judge
from .rare import RareClasses, rare_classes
from .recalibration import Recalibration
from .resampling import Estimate, Share, estimates
from .shares import share_of
from .subgroups import LEAST_CASES, LEAST_OF_CLASS, Suppressed, columns_of, fairlearn_figures, group_figures

SEED = 0
MISCALIBRATED = 0.05
"""How far the ECE may lie above the teacher's: the methods card's."""
MEANINGS = {
    "accuracy": "share of right answers", "balanced_accuracy": "mean over the classes of the share answered right",
    "auroc": "how well it ranks; guessing has 0.5", "auprc": "precision over recall; guessing has the prevalence",
    "sensitivity": "share of its cases that are found", "specificity": "share of the other cases that are left alone",
    "ppv": "share of those it names that are it", "npv": "share of those it does not name that are not it",
    "ece": "mean gap of confidence and accuracy, 15 bins of equal mass",
    "brier": "squared error of the probabilities, 0..2",
    "calibration_slope": "1 is calibrated, below 1 too sure of itself",
    "calibration_intercept": "of the logistic line; 0 is calibrated", "agreement": "names the teacher's class",
    "kappa": "agreement beyond chance",
    "selection_rate": "share that is named class 1", "true_positive_rate": "share of class 1 that is found",
    "false_positive_rate": "share of class 0 that is named class 1",
    OUTSIDE.name: "of synthetic inputs 5 % lie as far from the others, in the teacher's features",
    "demographic_parity_difference": "largest difference of two levels in selection_rate",
    "equalized_odds_difference": "larger of the differences in true and false positive rate",
}  # fmt: skip
MOSTLY = 0.5
"""Share of the cases outside, from which it is worth a warning where its interval lies above."""
LOWER = (OUTSIDE.name, "ece", "brier", "demographic_parity_difference", "equalized_odds_difference")
NEITHER = ("calibration_slope", "calibration_intercept", "selection_rate")
NUMBERS = ("auroc", "auprc", "ece", "brier", "kappa", *NEITHER[:2])


@dataclass(frozen=True)
class Validation:
    """Figures on `cases` local cases of `patients` patients. Of no figure can a case be told."""

    cases: int
    patients: int
    prevalence: tuple[float | None, ...]
    """Share of each class, None where so few patients have it that it is not said, or where it would tell of such."""
    class_names: tuple[str, ...]
    declaration: Declaration
    verdict: Verdict
    figures: tuple[Finding, ...]
    warnings: tuple[Warned, ...]
    suppressed: tuple[Suppressed, ...]
    notes: tuple[str, ...]
    recalibrations: Mapping[Who, Recalibration] = field(default_factory=dict)
    """What was fitted on the cases that were set apart, of student and teacher; empty where none were."""

    def figure(self, name: str) -> Figure:
        """The figure of that name, such as 'student auroc' or 'difference accuracy, sex: F'. Raises KeyError."""
        for one in self.figures:
            if one.name == name and isinstance(one, Figure):
                return one
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: what `validation.json` holds of one validation."""
        return {
            "declaration": self.declaration.to_dict(), "verdict": self.verdict.to_dict(), "cases": self.cases,
            "patients": self.patients, "class_names": list(self.class_names), "prevalence": list(self.prevalence),
            "figures": [one.to_dict() for one in self.figures], "warnings": [one.to_dict() for one in self.warnings],
            "suppressed": [one.to_dict() for one in self.suppressed], "notes": list(self.notes),
            "recalibrations": {who: one.to_dict() for who, one in self.recalibrations.items()},
        }  # fmt: skip


def summarise(
    logits: Mapping[Who, np.ndarray],
    cases: Cases,
    declared: Declaration,
    recalibrations: Mapping[Who, Recalibration] | None = None,
    outside: np.ndarray | None = None,
) -> Validation:
    """What the answers (N, K) of student and teacher to `cases` say.

    recalibrations: of both, fitted on other cases; figures are then given as the answers came and recalibrated, and the
    verdict is of the latter. outside (N,) bool: cases unlike anything that the student was taught on. Raises
    MissingLibraryError where there are groups and no fairlearn.
    """
    both: dict[Who, Answers] = {who: Answers.of(of, declared.threshold) for who, of in logits.items()}
    recalibrated: dict[Who, Answers] = {who: one.answers(logits[who]) for who, one in (recalibrations or {}).items()}
    labels, names = cases.labels, cases.data.class_names
    columns = columns_of(cases, len(names))
    shown = [column for column in columns if column.levels]
    points: dict[Key, float] = {}
    for column in shown:
        for who, answers in both.items():
            for (name, group), value in fairlearn_figures(answers, labels, cases.groups[column.name], column).items():
                points[Key(name, who, group=group)] = value

    def statistics(weights: np.ndarray) -> dict[Key, np.ndarray]:
        figures = beside(both, labels, weights, names)
        if recalibrated:
            again = beside(recalibrated, labels, weights, names)
            figures |= {key._replace(group=RECALIBRATED): value for key, value in again.items()}
        if outside is not None:
            figures[OUTSIDE] = performance.ratio(weights @ outside.astype(np.float64), weights.sum(1))
        for column in shown:
            figures |= group_figures(both, labels, column, weights)
        return figures

    def share(key: Key) -> Share | None:
        whose = recalibrated if key.group == RECALIBRATED else both
        return share_of(key, whose, labels, cases.patients, names, shown)

    measured = estimates(statistics, cases.patients, declared.resamples, SEED, share)
    measured = {key: Estimate(points.get(key, one.value), one.interval) for key, one in measured.items()}
    by_chance = calibration.error_by_chance(both["student"].confidence, cases.patients, SEED)
    rare = rare_classes(cases)
    suppressed = [*(one for column in columns for one in column.suppressed), *rare.suppressed]
    decisive = Key(declared.measure, "difference", group=RECALIBRATED if recalibrated else "")
    verdict = judge(declared, Estimate(math.nan, None) if rare.hides(decisive) else measured[decisive])
    shares = np.bincount(labels, minlength=len(names)) / len(cases)
    return Validation(
        len(cases), cases.patient_count,
        tuple(None if name in rare.hidden else float(one) for name, one in zip(names, shares)), names, declared,
        verdict, (*_figures(measured, rare), *_drawings(both, labels)),
        (*_of_verdict(verdict), *_warnings(measured, by_chance)), tuple(suppressed), cases.notes,
        dict(recalibrations or {}),
    )  # fmt: skip


def _figures(measured: Mapping[Key, Estimate], rare: RareClasses) -> Iterator[Figure]:
    for key, one in measured.items():
        base = key.base
        if not math.isfinite(one.value) or rare.hides(key):
            continue
        what = f"{key.name} of {key.label}" if key.label else key.name
        group = f", {key.group}" if key.group else ""
        unit: Unit = "number" if base in NUMBERS or key.who == "difference" else "share"
        better = "" if base in NEITHER else "lower" if base in LOWER or key.name.endswith("gap") else "higher"
        if key.name.endswith("against the rest"):
            better, unit = "", "number"
        yield Figure(f"{key.who} {what}{group}", one.value, unit, _meaning(key, base), better, one.interval)


def _meaning(key: Key, base: str) -> str:
    meaning = MEANINGS[base]
    if key.name.endswith("against the rest"):
        meaning += "; this level less the others"
    if key.name.endswith("gap"):
        meaning = f"largest difference of two levels in {base}; its interval never reaches below 0"
    return f"student less teacher: {meaning}" if key.who == "difference" else meaning


def _drawings(both: Mapping[Who, Answers], labels: np.ndarray) -> Iterator[Drawing]:
    for who, answers in both.items():
        right = (answers.likeliest == labels).astype(np.float64)
        bins = calibration.bins_of(answers.confidence, right, LEAST_CASES)
        yield Drawing(f"{who} reliability", "reliability", bins, "confidence against accuracy, bins of equal mass")


def _of_verdict(verdict: Verdict) -> Iterator[Warned]:
    if not math.isfinite(verdict.difference):
        yield Warned(
            "no verdict", None,
            f"{verdict.measure} does not exist on these cases, or is not said, such as where fewer than "
            f"{LEAST_OF_CLASS} patients have some class: declare another measure, or bring cases of every class.",
        )  # fmt: skip


def _of_calibration(measured: Mapping[Key, Estimate], by_chance: float) -> Iterator[Warned]:
    gap = measured.get(Key("ece", "difference"))
    own = measured[Key("ece", "student")]
    if own.value <= by_chance:
        return
    if gap is not None and gap.value > MISCALIBRATED and gap.interval is not None and gap.interval[0] > 0:
        yield Warned(
            "miscalibration", gap.value,
            "the student's probabilities are further from what happens than the teacher's: the value is how much its "
            "calibration error (ECE) lies above. Do not show them as risks before they are calibrated on local cases.",
        )  # fmt: skip
    elif own.interval is not None and own.interval[0] > MISCALIBRATED:
        yield Warned(
            "miscalibration", own.value,
            "the student's probabilities are far from what happens here (the value is its calibration error), as may "
            "be the teacher's: prevalence and cases of this place differ from where it was trained.",
        )  # fmt: skip


def _warnings(measured: Mapping[Key, Estimate], by_chance: float) -> Iterator[Warned]:
    """What a reader must not miss. by_chance: the ECE that a calibrated student may have."""
    yield from _of_calibration(measured, by_chance)
    far = measured.get(OUTSIDE)
    if far is not None and far.interval is not None and far.interval[0] > MOSTLY:
        yield Warned(
            "few cases are like what it was taught on", far.value,
            "most cases lie further from the synthetic inputs, in the teacher's features, than these lie from each "
            "other: what the student learned there need not hold here, however well it agrees with its teacher there.",
        )  # fmt: skip
    for key, one in measured.items():
        if key.who == "teacher" or not key.name.endswith("against the rest") or one.interval is None:
            continue
        low, high = one.interval
        if key.name.startswith(("accuracy", "auroc")) and high < 0:
            whose = "the student serves" if key.who == "student" else "next to its teacher, the student serves"
            yield Warned(
                f"group gap, {key.group}", one.value,
                f"{whose} this group worse than the others, in {key.name.removesuffix(' against the rest')}: the 95 % "
                f"interval of the difference is {low:.3f} to {high:.3f}. One of many intervals may do so by chance.",
            )  # fmt: skip
