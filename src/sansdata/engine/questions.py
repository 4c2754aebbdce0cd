"""What a run asks its teacher, worked out before the first question: by the method's own formula, which the counter of
the run then meets exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..arithmetic import ceil_div, most
from ..contracts import Questions
from ..errors import ConfigError
from ..method import Method
from ..settings import Budget, GradientSettings, RunSettings
from ..teachers.base import Teacher
from ..teachers.lending import calls_of_a_gradient
from ..teachers.probing import PROBES
from . import probes, selection
from .budget import MAX_STEPS
from .monitor import announce

CHECKS = 2 + 2 * PROBES + PROBES // 2
"""Samples that are asked before a run: how the teacher can be run, and whether it answers twice alike."""
WATCHED = 256
"""Samples of the reservoir on which agreement is followed during the run."""


@dataclass(frozen=True)
class Formula:
    """Student steps -> what is asked meanwhile, of one method with its settings."""

    method: type[Method]
    config: Any
    gradients: GradientSettings

    def calls(self, steps: int) -> Questions | None:
        """None where the method gives no formula."""
        lent = self.gradients.source == "estimate"
        gradient = calls_of_a_gradient(self.gradients) if lent else lambda rows: Questions({rows: 1})
        return self.method.questions(self.config, steps, gradient)

    @property
    def known(self) -> bool:
        return self.calls(1) is not None

    def queries(self, steps: int) -> int:
        calls = self.calls(steps)
        assert calls is not None
        return sum(rows * times for rows, times in calls.items())

    def requests(self, steps: int, batch: int) -> int:
        """Of at most `batch` samples each."""
        calls = self.calls(steps)
        assert calls is not None
        return sum(ceil_div(rows, batch) * times for rows, times in calls.items())

    def steps_within(self, queries: float) -> int:
        """The most student steps that ask at most so much. Raises ConfigError where the first already asks more."""
        if self.queries(1) > queries:
            raise ConfigError(
                f"a budget of {queries:g} queries ends before the first student step, which asks for "
                f"{self.queries(1):,}. Give --budget {self.queries(1)}queries or more, or a smaller transfer.batch"
            )
        return most(lambda steps: self.queries(steps) <= queries, MAX_STEPS)


def steps_of(formula: Formula, budget: Budget | None) -> int:
    """Student steps of a run whose teacher costs something. Raises ConfigError for a budget that only asking would
    measure."""
    if budget is None:
        return formula.config.steps
    if budget.unit == "steps":
        return max(1, int(budget.amount))
    if budget.unit == "queries" and formula.known:
        return formula.steps_within(budget.amount)
    raise ConfigError(
        f"a budget of {budget} would be measured by asking the teacher, and each question to it costs something. Give "
        "it in steps" + (", or in queries" if formula.known else "")
    )


def say_costs(teacher: Teacher, formula: Formula, settings: RunSettings, budget: Budget | None) -> None:
    """Prints what the run will ask of a teacher that costs something, before it is asked at all. Raises ConfigError as
    above, also where the limits of the service do not allow the run."""
    meter = teacher.meter
    if meter is None:
        return
    meter.warn = announce
    steps, watching = steps_of(formula, budget), most_watched(settings)
    if not formula.known:
        announce(
            f"queries   unknown: '{settings.method}' gives no formula of what it asks; the limits of the service hold"
        )
        return
    asked, requests = formula.queries(steps), formula.requests(steps, meter.offer.batch)
    money = meter.offer.costs(asked, requests)
    price = f", {money} in money" if money else ""
    announce(f"queries   {asked:,} in {requests:,} requests for {steps:,} student steps{price}")
    announce(f"          at most {watching:,} more to check the teacher and to score the student")
    beyond = meter.beyond(asked)
    if beyond is not None and not meter.samples:
        raise ConfigError(beyond)
    if beyond is not None:  # what was answered before is not asked again: a run that is continued needs less
        announce(f"warning   {beyond}, unless the journal has enough of the answers")


def most_watched(settings: RunSettings) -> int:
    """Samples that are asked at most to check the teacher, to follow the student, and to score it at the end."""
    engine = settings.engine
    during = engine.snapshots * WATCHED
    return CHECKS + during + 2 * selection.RESERVOIR + probes.COUNT + min(engine.images, selection.RESERVOIR)
