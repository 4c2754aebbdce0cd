"""Edges of bins of equal mass, beside NumPy's quantiles, and around values that fill bins."""

from __future__ import annotations

import numpy as np
import pytest

from sansdata.evaluate.equal_mass import equal_mass_edges


def test_edges_are_the_quantiles_where_no_value_fills_a_bin() -> None:
    values = np.random.default_rng(0).normal(size=200)
    assert equal_mass_edges(values, 10) == pytest.approx(np.quantile(values, np.arange(1, 10) / 10))


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        ([0] * 19 + [4], [0, 2]),
        ([-4] + [0] * 19, [-2, np.nextafter(0, 1)]),
        ([3] * 20, [3, np.nextafter(3, 4)]),
        ([0] * 10 + [1] * 10, [0, 0.5, np.nextafter(1, 2)]),
        ([0, 1] + [2] * 28 + [3, 4], [1.5, 2.5]),
    ],
)
def test_a_value_that_fills_bins_has_one_of_its_own(values: list[float], edges: list[float]) -> None:
    assert equal_mass_edges(np.array(values), 10).tolist() == edges
    assert equal_mass_edges(np.array(values), 1).tolist() == []


def test_edges_rise_and_part_whatever_fills_a_bin_from_the_rest() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        values = random.integers(0, random.integers(1, 30), random.integers(1, 80)).astype(np.float64)
        edges = equal_mass_edges(values, 10)
        assert (np.diff(edges) > 0).all()
        for side in ("left", "right"):
            places = np.searchsorted(edges, values, side=side)
            for value in np.unique(values):
                if (values == value).mean() > 0.3:
                    assert set(places[values == value]).isdisjoint(places[values != value])
