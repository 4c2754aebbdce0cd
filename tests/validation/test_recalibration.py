"""What is fitted on cases set apart: against an independent search, and that it mends what was planted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from sansdata.datasets.imageset import ImageSet
from sansdata.errors import ConfigError, DataError
from sansdata.validation.answers import Who
from sansdata.validation.cases import Cases
from sansdata.validation.manifest import Salted
from sansdata.validation.noninferiority import Declaration
from sansdata.validation.recalibration import Recalibration, set_apart
from sansdata.validation.summary import summarise

COUNT = 800


def cases_of(labels: np.ndarray, classes: int = 2, per_patient: int = 2) -> Cases:
    images = np.zeros((len(labels), 2, 2, 1), np.uint8)
    names = tuple("abcdef"[:classes])
    return Cases(ImageSet(images, labels, names, "local"), np.arange(len(labels)) // per_patient, {}, Salted())


def shifted(labels: np.ndarray, classes: int, seed: int = 0) -> np.ndarray:
    """Good logits that are three times too large and lie six too high for the last class."""
    noise = np.random.default_rng(seed).normal(size=(len(labels), classes))
    logits = 1.5 * np.eye(classes)[labels] + noise
    logits = 3 * logits
    logits[:, -1] += 6
    return logits


@pytest.mark.parametrize("classes", [2, 4])
def test_it_is_the_most_likely_one_under_platts_targets(classes: int) -> None:
    labels = np.random.default_rng(1).integers(0, classes, COUNT)
    logits = shifted(labels, classes)
    counts = np.bincount(labels)

    def loss(free: np.ndarray) -> float:
        chances = log_softmax(logits / np.exp(free[0]) + np.r_[free[1:], 0], axis=1)
        total = 0.0
        for row, label in zip(chances, labels):
            own = (counts[label] + 1) / (counts[label] + classes)
            other = (1 - own) / (classes - 1)
            total -= sum((own if place == label else other) * value for place, value in enumerate(row))
        return total / len(labels)

    best = minimize(loss, np.zeros(classes), method="BFGS", options={"gtol": 1e-9})
    offsets = np.r_[best.x[1:], 0]
    found = Recalibration.of(logits, labels)
    assert found.temperature == pytest.approx(float(np.exp(best.x[0])), rel=1e-3)
    np.testing.assert_allclose(found.offsets, offsets - offsets.mean(), atol=1e-3)
    assert (found.threshold is None) == (classes > 2)


def test_classes_that_are_told_apart_completely_stay_finite() -> None:
    labels = np.repeat([0, 1], 20)
    logits = np.stack([1.0 - labels, labels], 1) * 50
    found = Recalibration.of(logits, labels)
    probability = found.answers(logits).probabilities[:, 1]
    assert np.isfinite(found.temperature)
    assert probability.max() == pytest.approx(21 / 22, abs=1e-3)
    assert found.threshold is not None
    assert probability[labels == 0].max() < found.threshold < probability[labels == 1].min()


def test_a_student_at_a_wrong_threshold_is_mended_on_patients_it_was_not_fitted_on() -> None:
    labels = np.random.default_rng(2).integers(0, 2, COUNT)
    cases, student, teacher = cases_of(labels), shifted(labels, 2), shifted(labels, 2)
    teacher[:, -1] -= 6
    fitted_on, rest = set_apart(cases)
    assert not set(cases.patients[fitted_on]) & set(cases.patients[rest])
    assert 0.2 < len(fitted_on) / COUNT < 0.3
    both: dict[Who, np.ndarray] = {"student": student, "teacher": teacher}
    recalibrations: dict[Who, Recalibration] = {
        who: Recalibration.of(of[fitted_on], labels[fitted_on]) for who, of in both.items()
    }
    logits: dict[Who, np.ndarray] = {who: of[rest] for who, of in both.items()}
    found = summarise(
        logits, cases.at(rest),
        Declaration.now("balanced_accuracy", 0.05, 200, None, True, 2), recalibrations,
    )  # fmt: skip
    assert found.figure("difference balanced_accuracy").value < -0.1
    assert abs(found.figure("difference balanced_accuracy, recalibrated").value) < 0.02
    assert found.verdict.outcome == "pass"
    assert found.figure("student ece").value > 0.15
    assert found.figure("student ece, recalibrated").value < 0.08
    assert found.figure("student auroc, recalibrated").value == pytest.approx(found.figure("student auroc").value)
    assert found.to_dict()["recalibrations"]["student"]["temperature"] > 1


def test_too_few_cases_or_two_thresholds_are_refused() -> None:
    with pytest.raises(DataError, match="at least 40"):
        set_apart(cases_of(np.tile([0, 1], 10)))
    rare = np.zeros(100, np.int64)
    rare[:8] = 1
    with pytest.raises(DataError, match="fewer than 5 cases"):
        set_apart(cases_of(rare))
    with pytest.raises(ConfigError, match="leave one of them out"):
        Declaration.now("accuracy", 0.03, 200, 0.4, True, 2)
