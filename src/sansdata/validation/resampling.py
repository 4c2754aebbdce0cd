"""Intervals of anything that is measured on cases: whole patients are drawn again, and every figure with them.

Cases of one patient are alike, so that drawing cases alone would make intervals too narrow. All figures see the same
draws, so that the difference of two models is one of pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

COUNT = 1000
"""Resamples."""
SEED = 0
AT_ONCE = 2**22
"""Weights held at a time."""
LEAST_DEFINED = 0.9
"""Share of the resamples in which a figure must exist for it to have an interval."""
FLAT = 1e-12
"""Width of an interval that is none, but for rounding."""
Key = TypeVar("Key")
Statistics = Callable[[np.ndarray], Mapping[Key, np.ndarray]]
"""weights (R, N), how often each case counts -> a value for each R, nan where there is none."""


@dataclass(frozen=True)
class Estimate:
    """value: on the cases as they are; nan where it does not exist. interval: 95 %, see `interval_of`; None where there
    is none."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Share:
    """A share of the cases of `patients` patients, above 0, or a difference of such shares, from `low` to `high`.
    paired: one of two models on the same cases, whose interval counts patients that were not met."""

    patients: int
    low: float = 0.0
    high: float = 1.0
    paired: bool = False

    def interval(self, value: float) -> tuple[float, float]:
        """95 %, exact, of a share that is `value` in every patient alike: were more than `most` of all patients
        otherwise, none of these would be by a chance below 2.5 % (Clopper & Pearson 1934)."""
        most = 1 - 0.025 ** (1 / self.patients)
        return value + most * (self.low - value), value + most * (self.high - value)

    def with_one_more(self, drawn: np.ndarray) -> tuple[float, float]:
        """95 %, of resamples (R,): at either end one more patient is drawn among them, who is as far on that side as
        can be (Gaffke 2005). Patients who were not met are seen in no resample, so that without him one patient whom
        the student won would leave an interval without any whom it lost; where all are alike this is `interval`."""
        weights = np.random.RandomState(SEED).beta(1, self.patients, len(drawn))
        low, high = (drawn + weights * (end - drawn) for end in (self.low, self.high))
        return float(np.percentile(low, 2.5)), float(np.percentile(high, 97.5))


def estimates(
    statistics: Statistics[Key],
    patients: np.ndarray,
    count: int = COUNT,
    seed: int = SEED,
    share: Callable[[Key], Share | None] = lambda key: None,
) -> dict[Key, Estimate]:
    """Every figure of `statistics` with its interval. patients (N,) int64: whose each case is, 0..P-1. share: what is
    known of a figure beside its resamples; None where it is no share."""
    ones = statistics(np.ones((1, len(patients))))
    parts = [statistics(weights) for weights in resamples(patients, count, seed)]
    estimated = {}
    for key, (value,) in ones.items():
        drawn, point = np.concatenate([part[key] for part in parts]), float(value)
        estimated[key] = Estimate(point, interval_of(drawn, point, lambda key=key: share(key)))
    return estimated


def resamples(patients: np.ndarray, count: int = COUNT, seed: int = SEED) -> Iterator[np.ndarray]:
    """Weights (R, N) float64, R rows at a time: as many patients as there are, drawn with replacement."""
    _, patients = np.unique(patients, return_inverse=True)
    random, many = np.random.RandomState(seed), int(patients.max()) + 1
    rows = max(1, AT_ONCE // len(patients))
    for start in range(0, count, rows):
        drawn = [np.bincount(random.randint(0, many, many), minlength=many) for _ in range(min(rows, count - start))]
        yield np.stack(drawn)[:, patients].astype(np.float64)


def interval_of(
    drawn: np.ndarray, point: float = math.nan, share: Callable[[], Share | None] = lambda: None
) -> tuple[float, float] | None:
    """The middle 95 % of values (R,), those that exist, and on to the `point`, which lies beside them where resamples
    are biased, as those of an ECE or an entropy are; that of the `share` where it is paired. A few cases that are all
    alike give values without width, which is no certainty: then that of their share, or None."""
    there = drawn[np.isfinite(drawn)]
    if len(there) < LEAST_DEFINED * len(drawn) or not len(there):
        return None
    low, high = np.percentile(there, [2.5, 97.5])
    known = share()
    if high - low <= FLAT:
        return None if known is None or math.isnan(point) else known.interval(point)
    if known is not None and known.paired:
        low, high = known.with_one_more(there)
    return float(np.fmin(low, point)), float(np.fmax(high, point))
