"""McNemar's exact test, and Holm's correction."""

from __future__ import annotations

import numpy as np
import pytest

from sansdata.validation.changes import changed_classes, holm, mcnemar


def test_the_exact_test_is_of_the_cases_that_changed() -> None:
    before, after = np.ones(50, bool), np.ones(50, bool)
    assert mcnemar(before, after) == 1
    after[:6] = False
    assert mcnemar(before, after) == pytest.approx(2 * 0.5**6)
    assert mcnemar(after, before) == pytest.approx(2 * 0.5**6)


def test_changed_classes_are_those_of_mcnemar_after_holm() -> None:
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
