"""The lines of metrics.jsonl as series over the student's steps."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .tree import Tree

MAX_SERIES = 400
MAX_REWINDS = 1_000
"""How often a run may have been resumed; MAX_DROPPED: names of losses that are counted and not drawn."""
MAX_DROPPED = 100_000
MAX_VALUE = 1e30
"""Beyond it a plot's own arithmetic overflows."""


@dataclass
class Series:
    """One logged figure over the run. `lost` counts values that were NaN or infinite and are not drawn."""

    steps: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))
    lost: int = 0

    def add(self, step: float, value: Any) -> None:
        number = Tree(value).number()
        if number is None or abs(number) > MAX_VALUE:
            self.lost += 1
            return
        self.steps.append(step)
        self.values.append(number)

    def rewind(self, step: float) -> None:
        """Forgets what was logged at `step` and after."""
        while self.steps and self.steps[-1] >= step:
            self.steps.pop()
            self.values.pop()


@dataclass
class Metrics:
    losses: dict[str, Series] = field(default_factory=dict)
    rates: dict[str, Series] = field(default_factory=dict)
    agreement: Series = field(default_factory=Series)
    queries: Series = field(default_factory=Series)
    """Teacher forwards so far, by step."""
    clock: Series = field(default_factory=Series)
    """Seconds since the start, by step."""
    lines: int = 0
    unreadable: int = 0
    dropped: set[str] = field(default_factory=set)
    reached: float = -math.inf
    rewinds: int = 0

    def add(self, line: Mapping[str, Any]) -> None:
        step = Tree(line.get("step")).number()
        if step is None or (step < self.reached and self.rewinds == MAX_REWINDS):
            self.unreadable += 1
            return
        if step < self.reached:
            self.rewinds += 1
            # A resumed run logs again what came after its checkpoint: the later lines are the true ones.
            for series in (*self.losses.values(), *self.rates.values(), self.agreement, self.queries, self.clock):
                series.rewind(step)
        self.reached = step
        losses, rate = line.get("losses"), line.get("lr")
        for name, value in losses.items() if isinstance(losses, Mapping) else ():
            self._put(self.losses, str(name), step, value)
        if isinstance(rate, Mapping):
            for name, value in rate.items():
                self._put(self.rates, str(name), step, value)
        elif rate is not None:
            self._put(self.rates, "student", step, rate)
        for name, series in (("agreement", self.agreement), ("queries", self.queries), ("seconds", self.clock)):
            if line.get(name) is not None:
                series.add(step, line[name])

    def _put(self, family: dict[str, Series], name: str, step: float, value: Any) -> None:
        if name not in family and len(family) >= MAX_SERIES:
            if len(self.dropped) < MAX_DROPPED:
                self.dropped.add(name)
            return
        family.setdefault(name, Series()).add(step, value)
