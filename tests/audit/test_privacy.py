"""F: generators that copy, and that do not; members that are told, and that are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score, roc_curve

from sansdata.audit.privacy import attack, nearest_neighbours, numbered, odds_of_truth

COUNT = 400
ALONE = np.arange(COUNT)
"""Each row a patient of its own."""


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(training, held out, of the same kind but nobody's)."""
    random = np.random.default_rng(0)
    return tuple(random.normal(size=(COUNT, 12)) for _ in range(3))  # type: ignore[return-value]


def near(values: np.ndarray) -> np.ndarray:
    return values + np.random.default_rng(1).normal(0, 0.02, values.shape)


def test_near_copies_of_training_rows_are_found(rows) -> None:
    training, held_out, _ = rows
    figures = nearest_neighbours(near(training), training, held_out, ALONE)
    assert figures["nearer"].value > 0.95
    assert figures["copies"].value > 0.95
    assert figures["ratio"].value < 0.1


def test_near_copies_of_held_out_rows_and_an_honest_generator_are_not(rows) -> None:
    training, held_out, honest = rows
    assert nearest_neighbours(near(held_out), training, held_out, ALONE)["nearer"].value < 0.05
    figures = nearest_neighbours(honest, training, held_out, ALONE)
    assert figures["nearer"].interval is not None
    assert figures["nearer"].interval[0] < 0.5 < figures["nearer"].interval[1]
    assert figures["copies"].value < 0.05


def test_copies_are_seen_also_where_training_rows_stand_twice(rows) -> None:
    """The specimen: from 1 % on, the 1 % quantile of the distances of all rows to each other is 0."""
    training, held_out, honest = rows
    twice = np.r_[training[:-8], training[:8]]
    figures = nearest_neighbours(training[50:250], twice, held_out, ALONE)
    assert figures["copies"].value == 1
    assert figures["ratio"].value == 0
    assert figures["copies of held-out"].value < 0.05
    assert nearest_neighbours(honest, twice, held_out, ALONE)["copies"].value < 0.05


def test_in_a_table_of_few_values_copies_stand_beside_what_is_equal_by_chance() -> None:
    random = np.random.default_rng(0)
    kinds = random.integers(0, 3, (120, 6)).astype(float)
    training = kinds[random.integers(0, 120, COUNT)]
    held_out, honest = (random.integers(0, 3, (COUNT, 6)).astype(float) for _ in range(2))
    figures = nearest_neighbours(training[:200], training, held_out, ALONE)
    assert figures["copies"].value == 1
    assert figures["ratio"].value == 0
    by_chance = np.mean([(row == training).all(1).any() for row in held_out])
    assert figures["copies of held-out"].value == pytest.approx(by_chance)
    assert figures["copies of held-out"].interval is not None
    figures = nearest_neighbours(honest, training, held_out, ALONE)
    assert figures["copies"].value == pytest.approx(figures["copies of held-out"].value, abs=0.05)
    assert figures["nearer"].value < 0.5


def test_the_same_record_is_no_distance_away_where_its_features_differ_by_a_rounding(rows) -> None:
    training, held_out, _ = rows
    training = np.r_[training[:-8], training[:8]]
    same = numbered(training, training, held_out)
    rounded = training + np.random.default_rng(1).normal(0, 1e-7, training.shape)
    assert nearest_neighbours(near(training), rounded, held_out, ALONE, same)["copies"].value == 1
    assert nearest_neighbours(near(training), rounded, held_out, ALONE)["copies"].value < 0.05


def test_of_training_rows_that_are_all_one_record_nothing_is_said_of_copies() -> None:
    figures = nearest_neighbours(np.ones((20, 3)), np.zeros((20, 3)), np.ones((20, 3)), np.arange(20))
    assert figures["nearer"].value == 0
    for name in ("copies", "copies of held-out", "ratio"):
        assert np.isnan(figures[name].value)


def test_sets_of_unlike_size_are_made_alike(rows) -> None:
    training, held_out, honest = rows
    figures = nearest_neighbours(honest, np.r_[training, near(training)], held_out[:300], ALONE[:300])
    assert figures["nearer"].value == pytest.approx(0.5, abs=0.1)


def test_rows_far_from_all_data_have_a_wide_interval_since_few_records_decide_for_them(rows) -> None:
    training, held_out, honest = rows
    far = nearest_neighbours(40 + honest, training, held_out, ALONE)["nearer"]
    near_by = nearest_neighbours(honest, training, held_out, ALONE)["nearer"]
    assert far.interval is not None
    assert near_by.interval is not None
    assert far.interval[1] - far.interval[0] > 3 * (near_by.interval[1] - near_by.interval[0])
    assert far.interval[0] < 0.5 < far.interval[1]


def test_membership_is_that_of_the_roc_curve() -> None:
    random = np.random.default_rng(0)
    inside, outside = random.normal(0.5, 1, 900), random.normal(0, 1, 1100)
    figures = attack(inside, outside, np.arange(1100), 60)
    truth, scores = np.r_[np.ones(900), np.zeros(1100)], np.r_[inside, outside]
    assert figures["AUC"][0] == pytest.approx(roc_auc_score(truth, scores))
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    for rate, name in ((0.01, "TPR at 1.0% FPR"), (0.001, "TPR at 0.1% FPR")):
        assert figures[name][0] == pytest.approx(true[false <= rate].max())
    assert figures["AUC"].shape == (61,)
    assert figures["AUC"][1:].std() == pytest.approx(0.0126, rel=0.3)


def test_members_are_told_also_where_every_loss_is_0() -> None:
    """From 37 nats on the loss is 0 to the last digit, and the logits say who is a member all the same."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 600)
    inside, outside = (
        np.eye(3, dtype=np.float32)[labels[:300]] * random.uniform(*ends, (300, 1)) for ends in ((60, 90), (40, 60))
    )
    scores = odds_of_truth(inside, labels[:300]), odds_of_truth(outside, labels[:300])
    assert attack(*scores, np.arange(300), 10)["AUC"][0] == 1
    logits = random.normal(0, 3, (600, 3))
    losses = -log_softmax(logits, 1)[np.arange(600), labels]
    assert (np.argsort(-odds_of_truth(logits, labels)) == np.argsort(losses)).all()


def test_scores_that_tell_nothing_are_a_half_also_where_all_are_equal() -> None:
    assert attack(np.zeros(50), np.zeros(50), np.arange(50), 10)["AUC"][0] == 0.5
    assert attack(np.zeros(50), np.zeros(50), np.arange(50), 10)["TPR at 1.0% FPR"][0] == 0


def test_cases_of_one_patient_are_drawn_together() -> None:
    """The specimen: as many cases, and far fewer persons. Nothing but the intervals changes."""
    random = np.random.default_rng(0)
    outside = np.repeat(random.normal(0, 1, 20), 20)
    alone, together = (attack(random.normal(0.5, 1, 400), outside, ids, 100)["AUC"] for ids in (ALONE, ALONE // 20))
    assert together[1:].std() > 2 * alone[1:].std()


def test_one_patient_who_is_near_to_many_rows_is_one_record(rows) -> None:
    training, held_out, honest = rows
    alone, together = (nearest_neighbours(honest, training, held_out, ids) for ids in (ALONE, ALONE // 100))
    assert alone["nearer"].value == together["nearer"].value
    widths = [one["nearer"].interval[1] - one["nearer"].interval[0] for one in (alone, together)]
    assert widths[1] > 1.2 * widths[0]
