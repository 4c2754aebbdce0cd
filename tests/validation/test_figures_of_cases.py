"""Figures for many weightings at once, each beside scikit-learn's for one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    confusion_matrix,
    roc_auc_score,
)

from sansdata.validation import calibration, performance
from sansdata.validation.resampling import estimates, resamples


@pytest.fixture
def cases() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """labels (N,), scores with ties (N,) in 0..1, weights (R, N): whole numbers, zeros among them."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 90)
    scores = np.clip(np.round(0.25 * labels + random.normal(0.4, 0.2, 90), 1), 0.02, 0.98)
    patients = np.arange(90) // 2
    weights = np.concatenate([np.ones((1, 90)), *resamples(patients, 6, seed=1)])
    return labels, scores, weights


def test_areas_are_those_of_scikit_learn(cases) -> None:
    labels, scores, weights = cases
    for name, reference in ((performance.auroc, roc_auc_score), (performance.auprc, average_precision_score)):
        expected = [reference(labels, scores, sample_weight=one) for one in weights]
        assert name(labels == 1, scores, weights) == pytest.approx(expected, abs=1e-12)


def test_decisions_are_those_of_the_confusion_matrix(cases) -> None:
    labels, scores, weights = cases
    decided = (scores > 0.5).astype(int)
    found = performance.decisions(labels == 1, decided == 1, weights)
    for place, one in enumerate(weights):
        (tn, fp), (fn, tp) = confusion_matrix(labels, decided, sample_weight=one)
        expected = {"sensitivity": tp / (tp + fn), "specificity": tn / (tn + fp)}
        expected |= {"ppv": tp / (tp + fp), "npv": tn / (tn + fn)}
        assert {name: value[place] for name, value in found.items()} == pytest.approx(expected, abs=1e-12)
    balanced = [balanced_accuracy_score(labels, decided, sample_weight=one) for one in weights]
    assert performance.balanced_accuracy(labels, decided, weights, 2) == pytest.approx(balanced, abs=1e-12)
    other = (scores > 0.6).astype(int)
    kappas = [cohen_kappa_score(decided, other, sample_weight=one) for one in weights]
    assert performance.agreement_beyond_chance(decided, other, weights, 2) == pytest.approx(kappas, abs=1e-12)


def test_what_does_not_exist_is_nan() -> None:
    labels, scores = np.zeros(8, int), np.linspace(0.1, 0.9, 8)
    ones = np.ones((1, 8))
    assert np.isnan(performance.auroc(labels == 1, scores, ones)).all()
    assert np.isnan(performance.auprc(labels == 1, scores, ones)).all()
    assert np.isnan(performance.decisions(labels == 1, scores > 2, ones)["ppv"]).all()
    assert np.isnan(calibration.slope_and_intercept(scores, labels == 1, ones)).all()
    apart = np.arange(8) > 3
    assert np.isnan(calibration.slope_and_intercept(np.where(apart, 0.9, 0.1), apart, ones)).all()


def test_the_calibration_line_is_that_of_an_unpenalised_regression(cases) -> None:
    labels, scores, weights = cases
    slopes, intercepts = calibration.slope_and_intercept(scores, labels == 1, weights)
    odds = np.log(scores / (1 - scores))[:, None]
    for place, one in enumerate(weights):
        line = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(odds, labels, sample_weight=one)
        assert slopes[place] == pytest.approx(line.coef_[0, 0], abs=1e-5)
        assert intercepts[place] == pytest.approx(line.intercept_[0], abs=1e-5)


@pytest.mark.parametrize("tied", [1.0, 0.9])
def test_what_is_wrong_at_a_crowded_confidence_is_not_cancelled_by_the_others(tied: float) -> None:
    """1,900 cases at one confidence that are right less often, and 100 at 0.5 that are right more often."""
    confidence = np.r_[np.full(1900, tied), np.full(100, 0.5)]
    right = np.r_[np.arange(1900) % 5 != 0, np.ones(100)].astype(np.float64)
    error = calibration.expected_error(confidence, right, np.ones((1, 2000)))
    assert error == pytest.approx([0.95 * (tied - 0.8) + 0.05 * 0.5])
    assert [one["count"] for one in calibration.bins_of(confidence, right, 10)] == [100, 1900]


@pytest.mark.parametrize("count", [50, 400])
def test_the_error_by_chance_is_that_of_calibrated_cases(count: int) -> None:
    random = np.random.default_rng(0)
    sure = random.uniform(0.5, 1, count)
    drawn = [(random.random(count) < sure).astype(np.float64) for _ in range(400)]
    errors = [calibration.expected_error(sure, right, np.ones((1, count)))[0] for right in drawn]
    by_chance = calibration.error_by_chance(sure, np.arange(count))
    assert by_chance == calibration.error_by_chance(sure, np.arange(count) + 7)
    assert 0.01 < np.mean(np.array(errors) > by_chance) < 0.1
    assert calibration.error_by_chance(sure, np.arange(count) // 5) > by_chance


@pytest.mark.parametrize("count", [50, 100, 400])
def test_an_interval_holds_its_own_point(count: int) -> None:
    random = np.random.default_rng(count)
    sure = random.uniform(0.5, 1, count)
    right, even = (random.random(count) < sure).astype(np.float64), np.eye(10)[np.arange(count) % 10]

    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        shares = weights @ even / weights.sum(1)[:, None]
        return {
            "ece": calibration.expected_error(sure, right, weights),
            "entropy": -(shares * np.log(np.maximum(shares, 1e-300))).sum(1),
        }

    for one in estimates(statistics, np.arange(count)).values():
        assert one.interval is not None
        assert one.interval[0] <= one.value <= one.interval[1]


def test_brier_is_that_of_scikit_learn_for_both_classes_together(cases) -> None:
    labels, scores, weights = cases
    probabilities = np.stack([1 - scores, scores], 1)
    expected = [2 * brier_score_loss(labels, scores, sample_weight=one) for one in weights]
    assert calibration.brier(probabilities, labels, weights) == pytest.approx(expected, abs=1e-12)


def test_ece_of_equal_mass_is_the_gap_of_each_bin() -> None:
    confidence = np.linspace(0.5, 1, 150)
    correct = (np.arange(150) % 3 > 0).astype(float)
    bins = [slice(start, start + 10) for start in range(0, 150, 10)]
    expected = np.mean([abs(confidence[one].mean() - correct[one].mean()) for one in bins])
    ones = np.ones((1, 150))
    assert calibration.expected_error(confidence, correct, ones) == pytest.approx([expected], abs=1e-12)
    drawn = calibration.bins_of(confidence, correct, least=10)
    assert [one["count"] for one in drawn] == [10] * 15
    assert min(one["count"] for one in calibration.bins_of(confidence[:40], correct[:40], least=10)) >= 10
    assert [one["count"] for one in calibration.bins_of(np.ones(30), correct[:30], least=10)] == [30]


def test_patients_are_drawn_whole() -> None:
    patients = np.repeat([5, 9, 70], [1, 4, 2])
    drawn = np.concatenate(list(resamples(patients, 50)))
    assert drawn.shape == (50, 7)
    assert (drawn[:, 1:5] == drawn[:, 1:2]).all()
    assert (drawn[:, [0, 1, 5]].sum(1) == 3).all()


def test_an_interval_covers_what_theory_says_and_widens_with_patients_of_many_cases() -> None:
    random = np.random.default_rng(0)
    right = random.random(400) < 0.8
    found = estimates(lambda weights: {"accuracy": weights @ right / weights.sum(1)}, np.arange(400))["accuracy"]
    assert found.value == right.mean()
    assert found.interval is not None
    half = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 400)
    assert found.interval[1] - found.interval[0] == pytest.approx(2 * half, rel=0.1)
    alike = np.repeat(right[:40], 10)
    wide = estimates(lambda weights: {"a": weights @ alike / weights.sum(1)}, np.arange(400) // 10)["a"]
    assert wide.interval is not None
    assert wide.interval[1] - wide.interval[0] > 2 * (found.interval[1] - found.interval[0])


def test_a_figure_that_hardly_ever_exists_has_no_interval() -> None:
    found = estimates(lambda weights: {"a": np.where(weights[:, 0] > 1, 1.0, np.nan)}, np.arange(20))["a"]
    assert found.interval is None
