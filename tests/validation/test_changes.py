"""An exact test by patient, and Holm's correction."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest

from sansdata.validation.changes import changed_classes, holm, sign_flip


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (6, 0), (5, 9), (30, 12), (700, 580)])
def test_where_each_patient_has_one_case_it_is_mcnemars(lost: int, won: int) -> None:
    before, after = np.ones(2000, bool), np.ones(2000, bool)
    after[:lost], before[lost : lost + won] = False, False
    expected = 1.0 if lost + won == 0 else binomtest(lost, lost + won).pvalue
    assert sign_flip(before, after, np.arange(2000)) == pytest.approx(expected)
    assert sign_flip(after, before, np.arange(2000)) == pytest.approx(expected)


def test_sixty_cases_of_one_patient_are_one_patient() -> None:
    """The specimen: by cases the chance was 1.7e-18."""
    patients = np.repeat(np.arange(10), 60)
    before, after = np.ones(600, bool), patients != 0
    assert sign_flip(before, after, patients) == 1
    chances, moves = changed_classes(before, after, np.zeros(600, np.int64), 1, patients)
    assert (chances, moves) == ({0: 1.0}, {0: pytest.approx(-0.1)})
    assert sign_flip(before, patients > 5, patients) == pytest.approx(2 * 0.5**6)


def test_it_is_the_share_of_all_signs_that_are_as_uneven() -> None:
    random = np.random.default_rng(0)
    for _ in range(5):
        patients = random.integers(0, 8, 60)
        before, after = random.random(60) < 0.6, random.random(60) < 0.8
        sums = [int(after[patients == one].sum()) - int(before[patients == one].sum()) for one in range(8)]
        flipped = [abs(np.dot(signs, sums)) for signs in product((-1, 1), repeat=8)]
        expected = np.mean([one >= abs(sum(sums)) for one in flipped])
        assert sign_flip(before, after, 3 * patients + 5) == pytest.approx(expected)


def test_changed_classes_are_tested_each_and_corrected_after_holm() -> None:
    labels = np.repeat([0, 1, 2], 100)
    before, after = np.ones(300, bool), np.ones(300, bool)
    after[:12] = False
    before[100:103], after[110:112] = False, False
    chances, moves = changed_classes(before, after, labels, 3, np.arange(300))
    assert chances[0] == pytest.approx(3 * 2 * 0.5**12)
    assert chances[1] == pytest.approx(1)
    assert moves == pytest.approx({0: -0.12, 1: 0.01, 2: 0.0})


def test_holm_is_the_step_down_rule() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.5}) == pytest.approx(
        {"a": 0.04, "c": 0.09, "b": 0.09, "d": 0.5}
    )
    assert holm({}) == {}


def test_a_class_of_few_patients_is_not_tested_nor_the_one_that_would_tell() -> None:
    labels = np.repeat([0, 1, 2, 3], [100, 60, 80, 4])
    right = np.ones(244, bool)
    assert list(changed_classes(right, right, labels, 4, np.arange(244))[0]) == [0, 2]
