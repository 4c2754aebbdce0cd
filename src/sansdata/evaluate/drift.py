"""How far a deployed model's inputs and scores have moved from a reference, by the population stability index.

PSI = sum over bins of (p - q) ln(p / q), for shares p now and q in the reference. By the usual rule of scorecards,
below 0.1 nothing moved, above 0.2 something did. Two samples of one population do not give 0: with B bins and m and n
inputs, PSI / (1 / m + 1 / n) is distributed as chi squared with B - 1 degrees of freedom (Yurdakul & Naranjo 2020,
Journal of Risk Model Validation 14(4)), by which small samples are told from moved ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2

from .aggregates import Aggregates, Histogram

FLAGGED = 0.2
EMPTY = 0.5
"""Count that an empty bin is taken for: the logarithm of none is not finite."""
CHANCE = 0.99
"""Of pairs of samples of one population that have an index below `by_chance`."""


@dataclass(frozen=True)
class Drift:
    """what: 'inputs: age', 'scores: cat', 'named classes' or 'alerts: cat'. by_chance: the index that two samples of
    these sizes from one population stay below, but for one in a hundred. flagged: above that, and above 0.2."""

    what: str
    psi: float
    by_chance: float
    flagged: bool
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def psi(reference: Sequence[float], now: Sequence[float]) -> float:
    """The index of two rows of counts in the same bins, each with a sum above 0. A bin that is empty in both says
    nothing, whatever an empty one is taken for."""
    pairs = np.asarray([pair for pair in zip(reference, now) if any(pair)], np.float64)
    q, p = (np.maximum(counts, EMPTY) / counts.sum() for counts in pairs.T)
    return float(np.sum((p - q) * np.log(p / q)))


def drifts(reference: Aggregates, now: Aggregates) -> list[Drift]:
    """An entry for everything that both know, in the bins of the reference. Histograms of other bins, but for finer
    ones of these, cannot be compared, nor any where all of the reference lies in its first bin or in its last, which
    reach without end: the entry says so."""
    drifts = []
    for section, before, after in (
        ("inputs", reference.inputs, now.inputs), ("scores", reference.scores, now.scores),
    ):  # fmt: skip
        for name in before:
            if name in after:
                drifts.append(_of_histograms(f"{section}: {name}", before[name], after[name]))
            else:
                drifts.append(Drift(f"{section}: {name}", float("nan"), 0.0, True, "is no longer there"))
    if reference.named and now.named:
        names = list(reference.named | now.named)
        rows = [[one.named.get(name, 0) for name in names] for one in (reference, now)]
        drifts.append(_judged("named classes", rows[0], rows[1]))
    for name, before in reference.alerts.items():
        after = now.alerts.get(name)
        if after is not None and after.threshold == before.threshold:
            rows = [[one.count, many - one.count] for one, many in ((before, reference.count), (after, now.count))]
            drifts.append(_judged(f"alerts: {name}", *rows))
    return drifts


def _of_histograms(what: str, before: Histogram, counted: Histogram) -> Drift:
    after = counted.between(before.edges)
    if after is None:
        return Drift(what, float("nan"), 0.0, True, "was counted in other bins; count it with this reference")
    bins = np.flatnonzero(before.counts[: len(before.edges) + 1])
    if len(bins) == 1 and bins[0] in (0, len(before.edges)):
        return Drift(what, float("nan"), 0.0, True, "cannot be compared: all of the reference is in a bin without end")
    bins = len(before.edges) + 2
    rows = [[*one.counts, *[0] * (bins - len(one.counts))] for one in (before, after)]
    if not rows[0][-1] and not rows[1][-1]:  # nothing is missing
        rows = [row[:-1] for row in rows]
    return _judged(what, rows[0], rows[1])


def _judged(what: str, before: Sequence[float], after: Sequence[float]) -> Drift:
    if sum(before) <= 0 or sum(after) <= 0:
        return Drift(what, float("nan"), 0.0, True, "holds no counts")
    index, bins = psi(before, after), sum(1 for pair in zip(before, after) if any(pair))
    spread = float(chi2.ppf(CHANCE, bins - 1)) if bins > 1 else 0.0
    by_chance = spread * (1 / sum(before) + 1 / sum(after))
    few = FLAGGED < index <= by_chance
    note = "too few samples to tell this from chance" if few else ""
    return Drift(what, index, by_chance, index > FLAGGED and not few, note)
