"""What a run asks its teacher, worked out before the first question: by the method's own formula, which the counter of
the run then meets exactly."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ..arithmetic import ceil_div, most
from ..contracts import Questions
from ..errors import ConfigError
from ..method import Method
from ..settings import Budget, GradientSettings, RunSettings
from ..tasks import Task
from ..teachers.base import Teacher
from ..teachers.lending import calls_of_a_gradient
from ..teachers.probing import PROBES
from ..teachers.service.meter import Meter
from ..teachers.service.offer import Offer
from . import probes, selection
from .budget import MAX_STEPS
from .monitor import announce

CHECKS = Questions({2: 1, PROBES: 2, PROBES // 2: 1})
"""What is asked before a run: how the teacher can be run, and whether it answers twice alike."""
ASKING = frozenset({"features", "retain", "retrospect"})
"""Parts around a step that ask the teacher themselves: about what is remembered, what was perturbed, or anew about what
it has answered, for its features."""
WATCHED = 256
"""Samples of the reservoir on which agreement is followed during the run."""


@dataclass(frozen=True)
class Formula:
    """Student steps -> what is asked meanwhile, of one method with its settings. parts: the names of what is at work
    around its steps, of `training.parts`."""

    method: type[Method]
    config: Any
    gradients: GradientSettings
    task: Task
    parts: Collection[str] = ()

    def calls(self, steps: int) -> Questions | None:
        """None where the method gives no formula, or a part asks besides."""
        if ASKING & set(self.parts):
            return None
        lent = self.gradients.source == "estimate"
        gradient = calls_of_a_gradient(self.gradients) if lent else lambda rows: Questions({rows: 1})
        return self.method.questions_on(self.task, self.config, steps, gradient)

    @property
    def known(self) -> bool:
        return self.calls(1) is not None

    def queries(self, steps: int) -> int:
        calls = self.calls(steps)
        assert calls is not None
        return _samples(calls)

    def steps_within(self, queries: float) -> int:
        """The most student steps that ask at most so much. Raises ConfigError where the first already asks more."""
        if self.queries(1) > queries:
            raise ConfigError(
                f"a budget of {queries:g} queries ends before the first student step, which asks for "
                f"{self.queries(1):,}. Give --budget {self.queries(1)}queries or more, or a smaller transfer.batch"
            )
        return min(MAX_STEPS, most(lambda steps: self.queries(steps) <= queries, MAX_STEPS))


def steps_of(formula: Formula, budget: Budget | None) -> int:
    """Student steps of a run whose teacher costs something. Raises ConfigError for a budget that only asking would
    measure."""
    if budget is None:
        return formula.config.steps
    if budget.unit == "steps":
        return min(MAX_STEPS, max(1, int(budget.amount)))
    if budget.unit == "queries" and formula.known:
        return formula.steps_within(budget.amount)
    raise ConfigError(
        f"a budget of {budget} would be measured by asking the teacher, and each question to it costs something. Give "
        "it in steps" + (", or in queries" if formula.known else "")
    )


def say_costs(teacher: Teacher, formula: Formula, settings: RunSettings, budget: Budget | None) -> None:
    """Prints what the run will ask of a teacher that costs something, before it is asked at all. Raises ConfigError as
    above, also where the limits of the service do not allow the run."""
    meters = teacher.meters
    if not meters:
        return
    for meter in meters:
        meter.warn = announce
    steps, watching = steps_of(formula, budget), most_watched(settings)
    calls = formula.calls(steps)
    if calls is None:
        asking = sorted(ASKING & set(settings.parts))
        why = f"'{asking[0]}' asks too" if asking else f"'{settings.method}' gives no formula of what it asks"
        announce(f"queries   unknown: {why}; the limits of the service hold")
    else:
        _say_price(calls, steps, watching, [meter.offer for meter in meters])
    watched = watching - _samples(CHECKS)
    if len(meters) == 1:
        _require_room(meters[0], formula, steps, watched)
        return
    for meter in meters:  # nobody knows before how often each of them will be asked
        _require_room(meter, None, steps, watched)
        share = ceil_div(_samples(calls or Questions()), len(meters))
        if passed := meter.beyond(share, ceil_div(share, meter.offer.batch)):
            announce(f"warning   {_passes(meter, *passed)}, if all of its services are asked equally often")


def _say_price(calls: Questions, steps: int, watching: int, offers: list[Offer]) -> None:
    """Of several services the dearest answers everything, at most."""
    requests = max(_requests(calls, offer.batch) for offer in offers)
    dearest = {rows: max(offer.costs(rows, ceil_div(rows, offer.batch)) for offer in offers) for rows in calls}
    money = sum((dearest[rows] * times for rows, times in calls.items()), Decimal(0))
    several = len(offers) > 1
    bound, each = ("at most ", f" for each of {len(offers)} services") if several else ("", "")
    price = f", {bound}{money} in money" if money else ""
    announce(f"queries   {_samples(calls):,} in {bound}{requests:,} requests for {steps:,} student steps{price}")
    more = watching + (_samples(CHECKS) if several else 0)  # a part of a teacher is checked by itself, too
    announce(f"          at most {more:,} more to check the teacher and to score the student{each}")


def _require_room(meter: Meter, formula: Formula | None, steps: int, watched: int) -> None:
    """Raises ConfigError where a limit of the service ends the run for sure: by its questions, as far as they are known
    before, and by the checks. Says where following and scoring, of at most so many samples, may still meet one. What a
    journal has is not asked again."""

    def sent(steps: int, more: int = 0) -> tuple[int, int]:
        """(samples, requests) of so many steps, and of so many samples more."""
        calls = CHECKS + ((formula.calls(steps) if formula is not None else None) or Questions())
        samples = _samples(calls)
        if not more and not meter.kept:
            return samples, _requests(calls, meter.offer.batch)
        samples += more - min(samples, meter.kept)
        return samples, ceil_div(samples, meter.offer.batch)

    if passed := meter.beyond(*sent(steps)):
        name, after, _ = passed
        scored = meter.ahead(*sent(steps, watched))[name][0]
        less = 0 if formula is None else most(lambda fewer: meter.beyond(*sent(fewer)) is None, MAX_STEPS)
        raise ConfigError(
            f"{_passes(meter, *passed)}. Raise limits.{name} in the file of the service to {after} or more ({scored} "
            "leaves room to follow and to score the student)"
            + (f", or take --budget {formula.queries(less)}queries or less" if formula is not None and less else "")
        )
    if passed := meter.beyond(*sent(steps, watched)):
        announce(f"warning   {_passes(meter, *passed)}, if the student is followed and scored on as much as may be")


def _passes(meter: Meter, name: str, after: Any, most: Any) -> str:
    return f"{meter.offer.source}: the run would bring {name} to {after:,}, and the limit is {most:,}"


def _samples(calls: Questions) -> int:
    return sum(rows * times for rows, times in calls.items())


def _requests(calls: Questions, batch: int) -> int:
    """Of at most `batch` samples each."""
    return sum(ceil_div(rows, batch) * times for rows, times in calls.items())


def most_watched(settings: RunSettings) -> int:
    """Samples that are asked at most to check the teacher, to follow the student, and to score it at the end."""
    engine = settings.engine
    during = engine.snapshots * WATCHED
    return _samples(CHECKS) + during + 2 * selection.RESERVOIR + probes.COUNT + min(engine.images, selection.RESERVOIR)
