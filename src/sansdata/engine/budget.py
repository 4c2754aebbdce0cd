"""From a budget to a number of student steps: moves are measured on a throw-away copy, then planned."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ..method import Method
from ..settings import Budget

if TYPE_CHECKING:
    from .session import Session

SHARE = 0.85
"""Of a time budget; the rest is for start, scoring and saving."""
REHEARSAL = 0.05
"""Of a time budget: what measuring the moves may take, unless the moves are longer than that."""
REPLAN_AT = (0.1, 0.25, 0.5, 0.75)
"""Progress at which the plan is compared with what the moves really cost."""
TOLERANCE = 0.05
MAX_STEPS = 10**9


@dataclass
class Plan:
    """What a run means to do."""

    budget: str
    steps: int
    moves: dict[str, int]
    cost_per_move: dict[str, dict[str, float]] = field(default_factory=dict)
    """kind -> {'seconds', 'samples', 'queries'}."""
    replans: list[dict[str, Any]] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        """What Plan(**state) needs to be the same again."""
        return dict(self.__dict__)

    def to_dict(self) -> dict[str, Any]:
        seconds = {kind: cost["seconds"] for kind, cost in self.cost_per_move.items()}
        return asdict(self) | {"seconds_per_move": seconds}


class MoveCosts:
    """Mean cost of each kind of move so far."""

    def __init__(self) -> None:
        self.count: dict[str, int] = {}
        self.total: dict[str, dict[str, float]] = {}

    def add(self, kind: str, cost: Mapping[str, float]) -> None:
        self.count[kind] = self.count.get(kind, 0) + 1
        total = self.total.setdefault(kind, {})
        for unit, amount in cost.items():
            total[unit] = total.get(unit, 0) + amount

    def mean(self) -> dict[str, dict[str, float]]:
        return {
            kind: {unit: amount / self.count[kind] for unit, amount in total.items()}
            for kind, total in self.total.items()
        }

    def state_dict(self) -> dict[str, Any]:
        return {"count": dict(self.count), "total": {kind: dict(t) for kind, t in self.total.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count, self.total = dict(state["count"]), {k: dict(t) for k, t in state["total"].items()}


def timed_move(session: Session) -> tuple[str, Any, dict[str, float]]:
    """One move: its kind, its losses, and what it cost."""
    counters, start = session.context.counters, time.perf_counter()
    before = counters["samples"], counters["teacher_forwards"]
    kind, losses = session.move()
    cost = {
        "seconds": time.perf_counter() - start,
        "samples": counters["samples"] - before[0],
        "queries": counters["teacher_forwards"] - before[1],
    }
    return kind, losses, cost


def measure(
    make_rehearsal: Callable[[], Session], seconds: float = math.inf, repeats: int = 3
) -> dict[str, dict[str, float]]:
    """Cost of each kind of move, without its first time (which compiles kernels). The copy is thrown away.

    seconds: beyond them, one move of each kind after its first must do.
    """
    session, end = make_rehearsal(), time.perf_counter() + seconds
    kinds = set(session.method.plan(session.method.config, 1))
    seen: dict[str, int] = dict.fromkeys(kinds, 0)
    costs = MoveCosts()
    while sum(seen.values()) < 50 * len(kinds):
        enough = repeats if time.perf_counter() < end else 1
        if all(count > enough for count in seen.values()):
            break
        kind, _, cost = timed_move(session)
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] > 1:
            costs.add(kind, cost)
    return costs.mean()


def make_plan(
    budget: Budget | None, method: type[Method], config: Any, measure_costs: Callable[[], dict[str, dict[str, float]]]
) -> Plan:
    """The largest number of student steps within the budget; the method's own size without one."""
    if budget is None or budget.unit == "steps":
        steps = config.steps if budget is None else max(1, math.floor(budget.amount))
        return Plan(str(budget or "the method's own size"), steps, method.plan(config, steps))
    start = time.perf_counter()
    costs = measure_costs()
    spent = time.perf_counter() - start if budget.unit == "seconds" else 0.0
    amount = SHARE * budget.amount - spent if budget.unit == "seconds" else budget.amount
    steps = steps_within(amount, budget.unit, method, config, costs)
    return Plan(str(budget), steps, method.plan(config, steps), costs)


def steps_within(
    amount: float, unit: str, method: type[Method], config: Any, costs: Mapping[str, Mapping[str, float]]
) -> int:
    """The most student steps whose moves cost at most `amount`; at least 1."""

    def affordable(steps: int) -> bool:
        moves = method.plan(config, steps)
        return sum(count * costs.get(kind, {}).get(unit, 0.0) for kind, count in moves.items()) <= amount

    low, high = 1, 2
    while high < MAX_STEPS and affordable(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if affordable(middle) else (low, middle)
    return low


def replan(
    plan: Plan, budget: Budget, method: type[Method], config: Any, done: int, spent: float, costs: MoveCosts
) -> bool:
    """Corrects `plan.steps` where the moves cost more or less than measured. True where it changed; it is recorded.

    done: student steps taken. spent: of the budget, so far. costs: of the moves so far.
    """
    amount = (SHARE if budget.unit == "seconds" else 1.0) * budget.amount
    mean = costs.mean()
    used = sum(count * mean[kind].get(budget.unit, 0.0) for kind, count in costs.count.items())
    steps = max(done, steps_within(amount - (spent - used), budget.unit, method, config, mean))
    if abs(steps - plan.steps) <= TOLERANCE * plan.steps:
        return False
    plan.replans.append({"at_step": done, "from": plan.steps, "to": steps, "spent": spent})
    plan.steps, plan.moves, plan.cost_per_move = steps, method.plan(config, steps), mean
    return True
