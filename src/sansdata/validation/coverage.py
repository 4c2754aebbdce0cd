"""How much of what a place sees lies outside what the student was taught on: it is only as good as that coverage."""

from __future__ import annotations

import numpy as np

NEIGHBOURS = 5
QUANTILE = 0.95
"""Of the distances of synthetic inputs to each other: a twentieth of them lie outside by construction."""
FEWEST = 100
"""Synthetic inputs, below which half of them say little of where the others lie."""
SEED = 0


def outside(synthetic: np.ndarray, local: np.ndarray) -> np.ndarray | None:
    """(N,) bool: which of `local` (N, D) lie further from half of `synthetic` (M, D) than nineteen of twenty of the
    other half do, by the distance to the fifth neighbour; None where the synthetic ones are too few."""
    from sklearn.neighbors import NearestNeighbors

    if len(synthetic) < FEWEST:
        return None
    order = np.random.RandomState(SEED).permutation(len(synthetic))
    known, other = np.array_split(synthetic[order], 2)
    index = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(known)

    def distance(rows: np.ndarray) -> np.ndarray:
        return index.kneighbors(rows)[0][:, -1]

    return distance(local) > np.quantile(distance(other), QUANTILE)
