"""Which cases lie outside what a student was taught on."""

from __future__ import annotations

import numpy as np
import pytest

from sansdata.validation.coverage import FEWEST, outside


def test_like_inputs_lie_outside_as_seldom_as_synthetic_ones_and_distant_ones_always() -> None:
    random = np.random.default_rng(0)
    made, alike = random.normal(size=(4000, 4)), random.normal(size=(2000, 4))
    inside = outside(made, alike)
    assert inside is not None
    assert inside.mean() == pytest.approx(0.05, abs=0.02)
    far = outside(made, alike + 6)
    assert far is not None
    assert far.all()
    assert outside(made[: FEWEST - 1], alike) is None


def test_the_neighbours_are_those_of_a_plain_search() -> None:
    random = np.random.default_rng(1)
    made, local = random.normal(size=(200, 3)), random.normal(size=(50, 3)) * 2
    order = np.random.RandomState(0).permutation(200)
    known, other = made[order[:100]], made[order[100:]]

    def fifth(row: np.ndarray) -> float:
        return sorted(float(((row - one) ** 2).sum() ** 0.5) for one in known)[4]

    limit = np.quantile([fifth(row) for row in other], 0.95)
    np.testing.assert_array_equal(outside(made, local), [fifth(row) > limit for row in local])
