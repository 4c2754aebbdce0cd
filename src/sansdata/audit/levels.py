"""What may be said from what there is: five levels of evidence, and findings that carry theirs.

Without labels nobody knows an accuracy, without groups no fairness, without training data no privacy. A measure that
the evidence cannot carry is listed as not measurable, with what it would need; it has no number.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from ..figures import Better, Figure, Unit
from ..validation.resampling import Estimate

FEW = 1000
"""Inputs below which an entry says that they are few."""


class Level(IntEnum):
    """Each includes those before it."""

    L0 = 0
    L1 = 1
    L2 = 2
    L3 = 3
    L4 = 4

    @property
    def says(self) -> str:
        """What there is at this level, and what may be claimed."""
        return SAYS[self.value]


SAYS = (
    "teacher, student and synthetic inputs: how alike they answer, and what the inputs are like. No accuracy, no "
    "fairness, no privacy",
    "and natural inputs without labels: the same away from the synthetic ones",
    "and labels: accuracy, calibration, what changed from teacher to student",
    "and groups: fairness, and whether the student makes it worse",
    "and some of the training data: what of it can be told",
)


@dataclass(frozen=True)
class Entry:
    """One finding. measure: its place in the list of measures, such as 'B5'. interval: 95 %, None where there is none.
    count: of how many inputs. caveat: what it does not say, in plain words."""

    measure: str
    name: str
    value: float
    interval: tuple[float, float] | None
    count: int
    level: Level
    caveat: str
    unit: Unit = "share"
    better: Better = ""

    @property
    def figure(self) -> Figure:
        """As a report shows it."""
        few = f"; of {self.count:,} inputs, which are few" if self.count < FEW else f"; of {self.count:,} inputs"
        meaning = f"[{self.measure}, {self.level.name}] {self.caveat}{few}"
        return Figure(self.name, self.value, self.unit, meaning, self.better, self.interval)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "measure": self.measure, "name": self.name, "value": self.value, "unit": self.unit,
            "interval": None if self.interval is None else list(self.interval), "n": self.count,
            "level": self.level.name, "caveat": self.caveat,
        }  # fmt: skip


@dataclass(frozen=True)
class Unmeasured:
    """A measure without a number, and what it would need."""

    measure: str
    name: str
    needs: str

    def to_dict(self) -> dict[str, str]:
        """Plain data for JSON."""
        return {"measure": self.measure, "name": self.name, "needs": self.needs}


def entry(
    measure: str, name: str, estimate: Estimate, count: int, level: Level, caveat: str, unit: Unit = "share",
    better: Better = "",
) -> Entry | Unmeasured:  # fmt: skip
    """An entry of an estimate; not measurable where it has no value."""
    if estimate.value != estimate.value:
        return Unmeasured(measure, name, "it does not exist on these inputs")
    return Entry(measure, name, estimate.value, estimate.interval, count, level, caveat, unit, better)
