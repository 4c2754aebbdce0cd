"""Bins that hold about as many values each, also where many values are the same."""

from __future__ import annotations

import numpy as np


def equal_mass_edges(values: np.ndarray, count: int) -> np.ndarray:
    """Rising inner edges (E,) float64 of bins of about 1 / `count` of `values` (N,) each, N above 0; whose the edges
    themselves are is for the caller to say.

    A value that fills bins, which is the lowest, the highest, or on several of the quantiles, has one of its own, from
    halfway to the next value below to halfway to the next above; that of the lowest begins at it, and that of the
    highest ends there. Only so is it told from what lies beside it.
    """
    values = values.astype(np.float64)
    quantiles, times = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)[1:-1]), return_counts=True)
    distinct = np.unique(values)
    ends = distinct[[0, -1]]
    crowded = (times > 1) | np.isin(quantiles, ends)
    places = np.searchsorted(distinct, quantiles[crowded])
    halfway = (distinct[:-1] + distinct[1:]) / 2
    around = np.r_[ends[0], halfway, np.nextafter(ends[1], np.inf)]
    return np.unique(np.r_[quantiles[~crowded], around[places], around[places + 1]])
