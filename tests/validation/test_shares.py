"""Intervals of shares: beside SciPy's exact ones where every patient agrees, and over whom each share is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from sansdata.validation.answers import OUTSIDE, RECALIBRATED, Answers, Key, Who
from sansdata.validation.resampling import Share, estimates
from sansdata.validation.shares import share_of
from sansdata.validation.subgroups import Column

NAMES = ("well", "ill")
LABELS = np.repeat([0, 1], [40, 12])
PATIENTS = np.arange(52) // 2
SCANNER = Column("scanner", {"one": np.arange(52) % 13 > 3, "two": np.arange(52) % 13 <= 3}, ())


def both_of(student: np.ndarray, teacher: np.ndarray) -> dict[Who, Answers]:
    """Answers that name these classes."""
    return {"student": Answers.of(np.eye(2)[student]), "teacher": Answers.of(np.eye(2)[teacher])}


@pytest.mark.parametrize("count", [1, 6, 12, 500])
def test_a_share_without_exception_has_its_exact_interval(count: int) -> None:
    for hits in (0, count):
        exact = binomtest(hits, count).proportion_ci(method="exact")
        assert Share(count).interval(hits / count) == pytest.approx((exact.low, exact.high))


def test_a_difference_of_equals_reaches_to_both_sides_and_stays_in_its_range() -> None:
    low, high = Share(20, -1.0).interval(0.0)
    assert -low == high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert Share(1, -1.0).interval(1.0) == pytest.approx((-0.95, 1.0))


def test_resamples_that_are_all_alike_are_no_certainty() -> None:
    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"share": np.ones(len(weights)), "area": np.ones(len(weights)), "varied": weights[:, 0]}

    intervals = estimates(statistics, PATIENTS, share={"share": Share(26), "varied": Share(26)}.get)
    assert intervals["share"].interval == Share(26).interval(1.0)
    assert intervals["area"].interval is None
    assert intervals["varied"].interval == estimates(statistics, PATIENTS)["varied"].interval


@pytest.mark.parametrize(
    ("key", "patients"),
    [
        (Key("accuracy", "student"), 26),
        (Key("accuracy", "difference", group=RECALIBRATED), 26),
        (Key("agreement", "student"), 26),
        (OUTSIDE, 26),
        (Key("sensitivity", "student"), 6),
        (Key("specificity", "difference"), 20),
        (Key("balanced_accuracy", "difference"), 12),
        (Key("auroc", "difference"), 6),
        (Key("ppv", "student"), 6),
        (Key("ppv", "teacher"), 2),
        (Key("ppv", "difference"), 2),
        (Key("npv", "teacher"), 24),
        (Key("accuracy", "student", group="scanner: two"), 10),
        (Key("accuracy against the rest", "student", group="scanner: one"), 10),
        (Key("accuracy gap", "student", group="scanner"), 10),
        (Key("equalized_odds_difference", "difference", group="scanner"), 2),
        (Key("auprc", "student"), None),
        (Key("ece", "difference"), None),
        (Key("kappa", "student"), None),
        (Key("ece gap", "student", group="scanner"), None),
    ],
)
def test_a_share_is_of_the_patients_below_its_line(key: Key, patients: int | None) -> None:
    both = both_of(LABELS, np.repeat([0, 1], [48, 4]))
    share = share_of(key, both, LABELS, PATIENTS, NAMES, [SCANNER])
    signed = key.who == "difference" or "against" in key.name
    paired = key.who == "difference" and "scanner" not in key.group
    assert share == (None if patients is None else Share(patients, -1.0 if signed else 0.0, paired=paired))


def interval_of_pairs(changes: np.ndarray) -> tuple[float, float]:
    """Of the mean of what each patient won (1) or lost (-1)."""
    found = estimates(
        lambda weights: {"": weights @ changes / weights.sum(1)}, np.arange(len(changes)),
        share=lambda _: Share(len(changes), -1.0, paired=True),
    )[""].interval  # fmt: skip
    assert found is not None
    return found


def test_a_patient_that_was_won_is_no_evidence_that_none_is_lost() -> None:
    alike = interval_of_pairs(np.zeros(12))
    won = interval_of_pairs(np.r_[np.zeros(11), 1.0])
    lost = interval_of_pairs(np.r_[np.zeros(11), -1.0])
    assert alike == Share(12, -1.0).interval(0.0)
    assert alike[0] - 0.02 < won[0] < -0.2
    assert won[1] > alike[1]
    assert lost == pytest.approx((-won[1], -won[0]), abs=0.03)
    assert interval_of_pairs(np.zeros(121))[0] < -0.03 < interval_of_pairs(np.zeros(122))[0]


@pytest.mark.parametrize(
    ("count", "lost", "won", "margin"),
    [(20, 0.05, 0.02, 0.03), (40, 0.05, 0.02, 0.03), (122, 0.03, 0.0, 0.03), (200, 0.03, 0.0, 0.03), (20, 0.2, 0, 0.2)],
)
def test_a_student_at_the_margin_seldom_passes(count: int, lost: float, won: float, margin: float) -> None:
    """One in forty may: by resamples alone it was up to one in eight."""
    random = np.random.default_rng(0)
    kinds = random.multinomial(count, [lost, 1 - lost - won, won], 400)
    known = {tuple(one): interval_of_pairs(np.repeat([-1.0, 0.0, 1.0], one)) for one in np.unique(kinds, axis=0)}
    passed = [known[tuple(one)][0] > -margin for one in kinds]
    assert np.mean(passed) < 0.025 + 2 * np.sqrt(0.025 * 0.975 / 400)


def test_of_several_classes_each_has_its_own() -> None:
    labels = np.repeat([0, 1, 2], [40, 7, 5])
    answers = Answers.of(np.eye(3)[labels])
    for name, label, count in (
        ("sensitivity", "b", 7), ("auroc", "a", 12), ("auroc", "", 5), ("specificity", "c", 47),
        ("balanced_accuracy", "", 15),
    ):  # fmt: skip
        share = share_of(Key(name, "student", label), {"student": answers}, labels, np.arange(52), ("a", "b", "c"))
        assert share == Share(count)
