"""Intervals of anything that is measured on cases: whole patients are drawn again, and every figure with them.

Cases of one patient are alike, so that drawing cases alone would make intervals too narrow. All figures see the same
draws, so that the difference of two models is one of pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

COUNT = 1000
"""Resamples."""
AT_ONCE = 2**22
"""Weights held at a time."""
LEAST_DEFINED = 0.9
"""Share of the resamples in which a figure must exist for it to have an interval."""
Key = TypeVar("Key")
Statistics = Callable[[np.ndarray], Mapping[Key, np.ndarray]]
"""weights (R, N), how often each case counts -> a value for each R, nan where there is none."""


@dataclass(frozen=True)
class Estimate:
    """value: on the cases as they are; nan where it does not exist. interval: 95 %, the percentiles of the resamples,
    None where too few of them have a value."""

    value: float
    interval: tuple[float, float] | None


def estimates(
    statistics: Statistics[Key], patients: np.ndarray, count: int = COUNT, seed: int = 0
) -> dict[Key, Estimate]:
    """Every figure of `statistics` with its interval. patients (N,) int64: whose each case is, 0..P-1."""
    ones = statistics(np.ones((1, len(patients))))
    parts = [statistics(weights) for weights in resamples(patients, count, seed)]
    drawn = {key: np.concatenate([part[key] for part in parts]) for key in ones}
    return {key: Estimate(float(ones[key][0]), interval_of(drawn[key])) for key in ones}


def resamples(patients: np.ndarray, count: int = COUNT, seed: int = 0) -> Iterator[np.ndarray]:
    """Weights (R, N) float64, R rows at a time: as many patients as there are, drawn with replacement."""
    _, patients = np.unique(patients, return_inverse=True)
    random, many = np.random.RandomState(seed), int(patients.max()) + 1
    rows = max(1, AT_ONCE // len(patients))
    for start in range(0, count, rows):
        drawn = [np.bincount(random.randint(0, many, many), minlength=many) for _ in range(min(rows, count - start))]
        yield np.stack(drawn)[:, patients].astype(np.float64)


def interval_of(drawn: np.ndarray) -> tuple[float, float] | None:
    """The middle 95 % of values (R,), those that exist."""
    there = drawn[np.isfinite(drawn)]
    if len(there) < LEAST_DEFINED * len(drawn) or not len(there):
        return None
    low, high = np.percentile(there, [2.5, 97.5])
    return float(low), float(high)
