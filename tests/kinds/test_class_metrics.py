"""Against scikit-learn where it has the figure, else against loops written from the definition in float64."""

import math

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, log_loss

from sansdata.kinds.outputs import class_metrics as metrics


def sample(seed, n=200, classes=7, scale=3.0):
    random = np.random.default_rng(seed)
    return random.normal(0, scale, (n, classes)), random.integers(0, classes, n)


def softmax(logits):
    return np.array([[math.exp(v - max(row)) for v in row] for row in logits]) / np.array(
        [[sum(math.exp(v - max(row)) for v in row)] for row in logits]
    )


@pytest.mark.parametrize("seed", range(5))
def test_nll_is_scikit_learns_log_loss(seed):
    logits, labels = sample(seed)
    ours = metrics.negative_log_likelihood(metrics.log_softmax(logits), labels)
    assert ours == pytest.approx(log_loss(labels, softmax(logits), labels=range(7)), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_brier_from_its_definition(seed):
    logits, labels = sample(seed)
    expected = np.mean(np.sum((softmax(logits) - np.eye(7)[labels]) ** 2, axis=1))
    assert metrics.brier_score(metrics.log_softmax(logits), labels) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_kl_from_its_definition(seed):
    teacher, student = softmax(sample(seed)[0]), softmax(sample(seed + 100)[0])
    expected = np.mean([sum(t * math.log(t / s) for t, s in zip(*rows)) for rows in zip(teacher, student)])
    ours = metrics.mean_kl(np.log(teacher), np.log(student))
    assert ours == pytest.approx(expected, rel=1e-10)
    assert metrics.mean_kl(np.log(teacher), np.log(teacher)) == 0


def test_what_is_no_number_is_no_perfect_figure():
    broken, even, labels = np.full((3, 2), np.nan), np.log(np.full((3, 2), 0.5)), np.array([0, 1, 1])
    assert math.isnan(metrics.negative_log_likelihood(broken, labels))
    assert math.isnan(metrics.brier_score(broken, labels))
    assert math.isnan(metrics.mean_kl(broken, even))
    sure = metrics.log_softmax(900 * np.eye(2)[labels])
    assert str(metrics.negative_log_likelihood(sure, labels)) == "0.0"


@pytest.mark.parametrize("seed", range(5))
def test_confusion_is_scikit_learns(seed):
    logits, labels = sample(seed, n=40)
    predictions = logits.argmax(1)
    ours = metrics.confusion_matrix(labels, predictions, 9)
    assert np.array_equal(ours, confusion_matrix(labels, predictions, labels=range(9)))
    per_class = metrics.per_class_accuracy(labels, predictions, 9)
    for label in range(9):
        mine = labels == label
        expected = (predictions[mine] == label).mean() if mine.any() else math.nan
        assert per_class[label] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bins", [1, 10, 15])
def test_ece_from_its_definition(seed, bins):
    logits, labels = sample(seed, scale=1.0)
    probs = softmax(logits)
    confidence, correct = probs.max(1), probs.argmax(1) == labels
    expected = 0.0
    for i in range(bins):
        inside = [j for j, c in enumerate(confidence) if i / bins < c <= (i + 1) / bins]
        if inside:
            expected += abs(confidence[inside].mean() - correct[inside].mean()) * len(inside) / len(labels)
    found = metrics.reliability(confidence, correct, bins)
    assert sum(one.count for one in found) == len(labels)
    assert metrics.expected_calibration_error(found) == pytest.approx(expected, rel=1e-12)


def test_bins_at_their_edges():
    found = metrics.reliability(np.array([0.0, 0.5, 0.75, 1.0]), np.array([True, False, True, True]), bins=4)
    assert [one.count for one in found] == [1, 1, 1, 1]  # (lower, upper], and 0 in the first
    assert found[1].accuracy == 0
    assert metrics.reliability(np.array([1.0]), np.array([True]))[0].confidence is None


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # from the closed form, solved as the roots of (share - p)^2 = z^2 p (1 - p) / n
    [(5, 10, 0.236593, 0.763407), (0, 10, 0.0, 0.277533), (10, 10, 0.722467, 1.0), (1, 1, 0.206549, 1.0)],
)
def test_wilson_interval(successes, trials, low, high):
    assert metrics.wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize("share", [0.03, 0.5, 0.93])
def test_wilson_interval_covers(share):
    """The true share lies inside in about 95 % of repeated samples."""
    draws = np.random.default_rng(0).binomial(200, share, 4000)
    inside = sum(low <= share <= high for low, high in (metrics.wilson_interval(int(k), 200) for k in draws))
    assert 0.93 < inside / 4000 < 0.97


def test_large_logits_do_not_overflow():
    log_probs = metrics.log_softmax(np.array([[3e38, -3e38], [-1e30, -1e30]], np.float32))
    assert log_probs[0, 0] == 0
    assert log_probs[1] == pytest.approx(np.log([0.5, 0.5]))


def test_log_odds_are_those_of_the_softmax_and_stay_apart_where_it_is_one():
    logits = np.random.default_rng(0).normal(size=(50, 4)) * 3
    shares = np.exp(metrics.log_softmax(logits))
    assert metrics.log_odds(logits) == pytest.approx(np.log(shares / (1 - shares)))
    assert metrics.log_odds(np.array([[0.0, 45.0], [0.0, 60.0], [0.0, 2000.0]]))[:, 1].tolist() == [45, 60, 2000]
