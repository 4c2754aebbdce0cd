"""E: who is served worse, by labels and groups; and, without either, where agreement is poor."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..figures import Drawing, Warned
from ..kinds.outputs.class_metrics import wilson_interval
from ..validation.answers import Answers, Key, Who, beside
from ..validation.changes import changed_classes
from ..validation.rare import rare_classes
from ..validation.resampling import Estimate, Share, estimates
from ..validation.shares import share_of
from ..validation.subgroups import LEAST_CASES, Column, columns_of, fairlearn_figures, group_figures
from ..validation.summary import NUMBERS
from .evidence import Evidence
from .levels import Entry, Level, Unmeasured, entry

SURELY = 0.05
MOST_CLUSTERS = 8
MOST_JUDGED = 1000
"""Inputs by which a number of clusters is judged."""
LEAST_INPUTS = 50
"""Natural inputs below which no clusters are looked for."""
GAPS = ("gap", "difference")
Found = Entry | Unmeasured | Drawing | Warned


def unequal_service(evidence: Evidence) -> Iterator[Found]:
    """E14 to E16, as far as the evidence carries them."""
    yield from group_fairness(evidence)
    yield from class_change(evidence)
    yield from hidden_groups(evidence)


def both_of(evidence: Evidence) -> dict[Who, Answers]:
    """Teacher and student on the labelled cases."""
    assert evidence.of_cases is not None
    return {"student": Answers.of(evidence.of_cases.student), "teacher": Answers.of(evidence.of_cases.teacher)}


def group_fairness(evidence: Evidence) -> Iterator[Found]:
    """E14: rates of each group, and whether the student widens what lies between them (amplification)."""
    cases = evidence.cases
    if cases is None or not cases.groups:
        why = "labelled cases (--data) with a group of each (--groups)"
        for name in evidence.asked_groups or ("group fairness",):
            yield Unmeasured("E14", f"fairness by {name}" if evidence.asked_groups else name, why)
        return
    both, labels, points = both_of(evidence), cases.labels, {}
    names = cases.data.class_names
    shown: list[Column] = []
    for column in columns_of(cases, evidence.task.classes):
        for one in column.suppressed:
            yield Unmeasured("E14", f"{one.column}: {one.level}", f"more cases: {one.reason}")
        if not column.levels:
            continue
        shown.append(column)
        for who, answers in both.items():
            for (name, group), value in fairlearn_figures(answers, labels, cases.groups[column.name], column).items():
                points[Key(name, who, group=group)] = value
    if not shown:
        return

    def statistics(weights: np.ndarray) -> dict[Key, np.ndarray]:
        figures: dict[Key, np.ndarray] = {}
        for column in shown:
            figures |= group_figures(both, labels, column, weights)
        return figures

    def share(key: Key) -> Share | None:
        return share_of(key, both, labels, cases.patients, names, shown)

    for key, estimate in estimates(statistics, cases.patients, share=share).items():
        estimate = Estimate(points.get(key, estimate.value), estimate.interval)
        amplified = key.who == "difference" and key.name.endswith(GAPS)
        name = f"amplification of {key.name}" if amplified else f"{key.who} {key.name}"
        caveat = "student less teacher on the same cases" if key.who == "difference" else "of these cases alone"
        if key.name.endswith(GAPS) and not amplified:
            caveat = "largest difference of two levels; its interval never reaches below 0"
        better = "lower" if key.name.endswith(GAPS) else ""
        plain = key.name in NUMBERS or key.who == "difference" or "against" in key.name or bool(better)
        unit = "number" if plain else "share"
        yield entry("E14", f"{name}, {key.group}", estimate, len(cases), Level.L3, caveat, unit, better)
        if amplified and estimate.interval is not None and estimate.interval[0] > 0:
            yield Warned(
                f"amplified {key.name}, {key.group}", estimate.value,
                "the student treats the groups more unlike than its teacher does: the value is by how much, and its "
                "95 % interval lies above 0.",
            )  # fmt: skip


def class_change(evidence: Evidence) -> Iterator[Found]:
    """E15: accuracy and calibration beside the teacher's, and which classes changed, by an exact test over the patients
    of each, after Holm."""
    cases = evidence.cases
    if cases is None:
        yield Unmeasured("E15", "accuracy, and change of each class", "labelled cases (--data)")
        return
    both, labels, names = both_of(evidence), cases.labels, cases.data.class_names
    measured = estimates(
        lambda weights: beside(both, labels, weights, names), cases.patients,
        share=lambda key: share_of(key, both, labels, cases.patients, names),
    )  # fmt: skip
    rare = rare_classes(cases)
    for one in rare.suppressed:
        yield Unmeasured("E15", f"{one.column}: {one.level}", f"more cases: {one.reason}")
    for key, estimate in measured.items():
        shown = key.name in ("accuracy", "balanced_accuracy", "ece", "auroc") and not key.label
        if shown and not rare.hides(key):
            caveat = "student less teacher" if key.who == "difference" else "on these labelled cases"
            unit = "number" if key.who == "difference" or key.name in ("ece", "auroc") else "share"
            better = "lower" if key.name == "ece" else "higher"
            yield entry("E15", f"{key.who} {key.name}", estimate, len(cases), Level.L2, caveat, unit, better)
    rights = {who: answers.decided == labels for who, answers in both.items()}
    chances, moves = changed_classes(rights["teacher"], rights["student"], labels, len(names), cases.patients)
    if not chances:
        yield Unmeasured("E15", "change of each class", "a class of at least 5 patients")
        return
    sure = [place for place, chance in chances.items() if chance < SURELY]
    estimate = Estimate(len(sure) / len(chances), None)
    caveat = f"of {len(chances)} classes, by a sign-flip test over patients after Holm; few cases find few changes"
    yield entry("E15", "classes that changed", estimate, len(cases), Level.L2, caveat, "share")
    drawn = [moves.get(place) for place in range(len(names))]
    yield Drawing("change of each class", "bars", drawn, "accuracy of the student less the teacher's", names, "share")
    worse = [place for place in sure if moves[place] < 0]
    if worse:
        yield Warned(
            "classes that got worse", moves[worse[0]],
            f"the student is worse than its teacher on {', '.join(names[place] for place in worse[:5])}, more than "
            "chance explains; the value is the change in accuracy of the first.",
        )  # fmt: skip


def hidden_groups(evidence: Evidence) -> Iterator[Found]:
    """E16: natural inputs in clusters of the teacher's features, and the cluster in which both agree least: where to
    look, and no measure of fairness."""
    data = evidence.natural
    inside = None if data is None or len(data) < LEAST_INPUTS else evidence.features(data.packed)
    if data is None or inside is None:
        why = f"{LEAST_INPUTS} natural inputs (--inputs) and a teacher that may be looked into"
        yield Unmeasured("E16", "agreement by cluster", why)
        return
    clusters = clustered(inside)
    same = data.student.argmax(1) == data.teacher.argmax(1)
    large = np.flatnonzero(np.bincount(clusters) >= LEAST_CASES)
    if not len(large):
        yield Unmeasured("E16", "agreement by cluster", f"a cluster of at least {LEAST_CASES} natural inputs")
        return
    shares = [float(same[clusters == place].mean()) for place in large]
    worst = int(np.argmin(shares))
    where = clusters == large[worst]
    estimate = Estimate(shares[worst], wilson_interval(int(same[where].sum()), int(where.sum())))
    text = f"lowest of {len(shares)} clusters, chosen for being the lowest: a place to look, no figure of fairness"
    yield entry("E16", "agreement in the worst cluster", estimate, int(where.sum()), Level.L1, text, "share", "higher")
    yield Drawing("agreement by cluster", "bars", shares, "of natural inputs in the teacher's features")


def clustered(inside: np.ndarray) -> np.ndarray:
    """(N,) the cluster of each row of features (N, D); as many clusters as the silhouette prefers, 2 to 8, or one where
    it has no value."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    best: tuple[float, np.ndarray] | None = None
    judged = np.random.RandomState(0).permutation(len(inside))[:MOST_JUDGED]
    for count in range(2, MOST_CLUSTERS + 1):
        places = KMeans(count, n_init=4, random_state=0).fit_predict(inside)  # type: ignore[arg-type]
        if len(np.unique(places[judged])) < 2:  # one far input can be a cluster, and is seldom among the judged
            continue
        score = float(silhouette_score(inside[judged], places[judged]))
        best = (score, places) if best is None or score > best[0] else best
    return np.zeros(len(inside), np.int64) if best is None else best[1]
