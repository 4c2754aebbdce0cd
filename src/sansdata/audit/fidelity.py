"""B: how alike student and teacher answer, on each set of inputs that is there. No word on who is right."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..figures import Drawing, Warned
from ..kinds.outputs.class_metrics import confusion_matrix, log_softmax, reliability
from ..kinds.outputs.class_metrics import expected_calibration_error as equal_width_error
from ..validation import calibration, performance
from ..validation.resampling import Estimate, Share, estimates
from .evidence import Answered, Evidence
from .levels import Entry, Level, Unmeasured, entry

TOP = 5
LEAST_OF_CLASS = 5
MAX_MATRIX_CLASSES = 200
"""Beyond it the matrices of a few audits would be all that audit.json has room for."""
SURELY = 1e-3
INHERITED = "a student that copies a biased teacher perfectly agrees perfectly: fidelity is no fairness"
NO_CALIBRATION = "with the teacher's class for the truth: copied over-confidence counts as calibrated"
Found = Entry | Unmeasured | Drawing | Warned


def fidelity(evidence: Evidence) -> Iterator[Found]:
    """B5 to B7 on each set."""
    for where, (data, level) in evidence.sets().items():
        yield from _alike(data, where, level)
        yield from _concentration(data, where, level, evidence.task.class_names)
        yield from _relative_calibration(data, where, level)
    yield Unmeasured(
        "B6", "inputs that compression forgets", "several students of other seeds, which agree with each other and not "
        "with the teacher",
    )  # fmt: skip


def alike(data: Answered) -> dict[str, Estimate]:
    """agreement, KL, total variation, kappa, top-5 overlap (of more than 5 classes), with intervals."""
    ours, theirs = log_softmax(data.student), log_softmax(data.teacher)
    classes = ours.shape[1]
    one, other = data.student.argmax(1), data.teacher.argmax(1)
    divergence = (np.exp(theirs) * (theirs - ours)).sum(1)
    variation = np.abs(np.exp(theirs) - np.exp(ours)).sum(1)
    overlap = _top_overlap(data) if classes > TOP else None

    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        total = weights.sum(1)
        figures = {
            "agreement": performance.accuracy(other, one, weights), "KL": weights @ divergence / total,
            "total variation": weights @ variation / total,
            "kappa": performance.agreement_beyond_chance(one, other, weights, classes),
        }  # fmt: skip
        return figures if overlap is None else figures | {"top-5 overlap": weights @ overlap / total}

    def share(name: str) -> Share | None:
        return Share(len(data)) if name in ("agreement", "top-5 overlap") else None

    return estimates(statistics, np.arange(len(data)), share=share)


def _alike(data: Answered, where: str, level: Level) -> Iterator[Found]:
    caveats = {
        "agreement": INHERITED, "KL": "of the student from the teacher", "kappa": "agreement beyond chance",
        "total variation": "sum of the distances of the probabilities, 0..2",
        "top-5 overlap": "share of the five likeliest classes that both name",
    }  # fmt: skip
    over_fitted = "; on what it learned from, any student agrees" if where == "training synthetic" else ""
    for name, estimate in alike(data).items():
        unit = {"agreement": "share", "KL": "nats", "top-5 overlap": "share"}.get(name, "number")
        better = "lower" if name in ("KL", "total variation") else "higher"
        yield entry("B5", f"{name} on {where}", estimate, len(data), level, caveats[name] + over_fitted, unit, better)  # type: ignore[arg-type]


def _top_overlap(data: Answered) -> np.ndarray:
    """(N,) share of the five likeliest classes that are the same."""
    ours, theirs = (np.argpartition(-logits, TOP - 1, 1)[:, :TOP] for logits in (data.student, data.teacher))
    return (ours[:, :, None] == theirs[:, None, :]).any(2).mean(1)


def _concentration(data: Answered, where: str, level: Level, names: tuple[str, ...]) -> Iterator[Found]:
    """B6: whether disagreement falls on some of the teacher's classes."""
    labels, wrong = data.teacher.argmax(1), data.student.argmax(1) != data.teacher.argmax(1)
    classes = data.teacher.shape[1]
    counts = np.bincount(labels, minlength=classes)
    known = np.flatnonzero(counts >= LEAST_OF_CLASS)
    rates = np.array([wrong[labels == place].mean() for place in known])
    drawn: list[float | None] = [None] * classes
    for place, rate in zip(known.tolist(), rates.tolist()):
        drawn[place] = rate
    if len(known) < 2 or not 0 < rates.mean() < 1:  # chi-square has no value where all rates are 0, or all are 1
        needs = f"two classes of at least {LEAST_OF_CLASS} inputs, on which both agree here and disagree there"
        yield Unmeasured("B6", f"concentration of disagreement on {where}", needs)
        return
    yield Drawing(f"disagreement on {where}", "bars", drawn, "share of each class of the teacher", names)
    if classes <= MAX_MATRIX_CLASSES:
        matrix = confusion_matrix(labels, data.student.argmax(1), classes).tolist()
        meaning = "rows teacher, columns student"
        yield Drawing(f"student against teacher on {where}", "heat", matrix, meaning, names)
    caveat = "highest over mean rate of a class; 1: disagreement falls on all alike"

    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        each = np.stack([performance.ratio(weights @ (wrong & (labels == p)), weights @ (labels == p)) for p in known])
        return {
            "highest over mean disagreement": performance.ratio(each.max(0), each.mean(0)),
            "Gini of disagreement": _gini(each),
        }

    count = int(counts[known].sum())
    for name, estimate in estimates(statistics, np.arange(len(data))).items():
        text = caveat if name.startswith("highest") else "0: all classes alike, towards 1: one class has it all"
        yield entry("B6", f"{name} on {where}", estimate, count, level, text, "number", "lower")
    from scipy.stats import chi2_contingency

    table = np.stack([[wrong[labels == p].sum(), (~wrong)[labels == p].sum()] for p in known])
    chance = float(chi2_contingency(table)[1])  # type: ignore[arg-type]
    text = "chi-square: how likely so uneven rates are if all classes were alike; small: they are not"
    p = Estimate(chance, None)
    yield entry("B6", f"p of equal disagreement on {where}", p, count, level, text, "number", "higher")
    if chance < SURELY:
        worst = int(known[rates.argmax()])
        yield Warned(
            f"disagreement falls on some classes, on {where}", float(rates.max()),
            f"the student departs from the teacher most often on {names[worst] if names else worst}; the value is the "
            "share there. Where that class is rare, overall agreement hides it.",
        )  # fmt: skip


def _gini(each: np.ndarray) -> np.ndarray:
    """(R,) of rates (C, R): 0 all alike."""
    ranked = np.sort(each, 0)
    count, total = len(ranked), ranked.sum(0)
    places = np.arange(1, count + 1)[:, None]
    return performance.ratio(2 * (places * ranked).sum(0), count * total) - np.where(total > 0, (count + 1) / count, 0)


def _relative_calibration(data: Answered, where: str, level: Level) -> Iterator[Found]:
    """B7: calibration beside the teacher's class, which is no calibration."""
    ours, theirs = log_softmax(data.student), log_softmax(data.teacher)
    sure, same = np.exp(ours.max(1)), (data.student.argmax(1) == data.teacher.argmax(1)).astype(np.float64)
    entropies = [-(np.exp(one) * one).sum(1) for one in (ours, theirs)]

    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "agreement-ECE": calibration.expected_error(sure, same, weights),
            "entropy difference": weights @ (entropies[0] - entropies[1]) / weights.sum(1),
        }

    for name, estimate in estimates(statistics, np.arange(len(data))).items():
        plain = name == "agreement-ECE"
        text = NO_CALIBRATION if plain else "student less teacher; below 0: surer than its teacher"
        unit, better = ("number", "lower") if plain else ("nats", "")
        yield entry("B7", f"{name} on {where}", estimate, len(data), level, text, unit, better)
    wide = Estimate(equal_width_error(reliability(sure, same > 0)), None)
    text = f"{NO_CALIBRATION}; bins of equal width, without an interval"
    yield entry("B7", f"agreement-ECE in equal widths on {where}", wide, len(data), level, text, "number", "lower")
    text = "by which the student's logits are best divided to match the teacher; 1: as they are"
    fitted = Estimate(matching_temperature(data), None)
    yield entry("B7", f"matching temperature on {where}", fitted, len(data), level, text, "number")


def matching_temperature(data: Answered) -> float:
    """T in 0.05..20 that makes KL(teacher || softmax(student / T)) least."""
    from scipy.optimize import minimize_scalar

    theirs = np.exp(log_softmax(data.teacher))

    def cross_entropy(log_temperature: float) -> float:
        return -float((theirs * log_softmax(data.student / np.exp(log_temperature))).sum(1).mean())

    best = minimize_scalar(cross_entropy, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(best.x))  # type: ignore[union-attr]
