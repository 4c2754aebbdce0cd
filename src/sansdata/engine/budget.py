"""From a budget to a number of student steps: moves are measured on a throw-away copy, then planned."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ..arithmetic import most
from ..errors import ConfigError
from ..method import Method
from ..settings import Budget
from .monitor import announce, clock

if TYPE_CHECKING:
    from .questions import Formula
    from .session import Session

SHARE = 0.85
"""Of a time budget; the rest is for start, scoring and saving."""
REHEARSAL = 0.05
"""Of a time budget: what measuring the moves may take, unless the moves are longer than that."""
REPLAN_AT = (0.1, 0.25, 0.5, 0.75)
"""Progress at which the plan is compared with what the moves really cost."""
TOLERANCE = 0.05
LONG = 5.0
"""Seconds of a move from which on measuring says what it is at."""
MAX_STEPS = 10**9
"""Of any plan; nobody will see the end of one."""


@dataclass
class Plan:
    """What a run means to do."""

    budget: str
    steps: int
    moves: dict[str, int]
    cost_per_move: dict[str, dict[str, float]] = field(default_factory=dict)
    """kind -> {'seconds', 'samples', 'queries'}."""
    replans: list[dict[str, Any]] = field(default_factory=list)
    queries: int | None = None
    """What the run asks its teacher, exactly, where its budget is one of queries and the method has a formula."""
    measured: float = 0.0
    """Seconds of a time budget that went into measuring the moves."""

    def state(self) -> dict[str, Any]:
        """What Plan(**state) needs to be the same again."""
        return dict(self.__dict__)

    @property
    def seconds(self) -> float | None:
        """How long its moves take; None where nobody measured them."""
        if not all(kind in self.cost_per_move for kind, count in self.moves.items() if count):
            return None
        return sum(count * self.cost_per_move[kind]["seconds"] for kind, count in self.moves.items() if count)

    def to_dict(self) -> dict[str, Any]:
        each = {kind: cost["seconds"] for kind, cost in self.cost_per_move.items()}
        return asdict(self) | {"seconds": self.seconds, "seconds_per_move": each}


class MoveCosts:
    """Mean and highest cost of each kind of move so far."""

    def __init__(self) -> None:
        self.count: dict[str, int] = {}
        self.total: dict[str, dict[str, float]] = {}
        self.most: dict[str, dict[str, float]] = {}

    def add(self, kind: str, cost: Mapping[str, float]) -> None:
        self.count[kind] = self.count.get(kind, 0) + 1
        total, most = self.total.setdefault(kind, {}), self.most.setdefault(kind, {})
        for unit, amount in cost.items():
            total[unit] = total.get(unit, 0) + amount
            most[unit] = max(most.get(unit, 0), amount)

    def mean(self) -> dict[str, dict[str, float]]:
        return {
            kind: {unit: amount / self.count[kind] for unit, amount in total.items()}
            for kind, total in self.total.items()
        }

    def state_dict(self) -> dict[str, Any]:
        costs = {name: {kind: dict(of) for kind, of in getattr(self, name).items()} for name in ("total", "most")}
        return {"count": dict(self.count), **costs}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = dict(state["count"])
        for name in ("total", "most"):  # older checkpoints have no highest
            setattr(self, name, {kind: dict(of) for kind, of in state.get(name, {}).items()})


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
    make_rehearsal: Callable[[], Session], seconds: float = math.inf, most: float = math.inf, repeats: int = 3
) -> dict[str, dict[str, float]]:
    """Cost of each kind of move, without its first time (which compiles kernels). The copy is thrown away.

    seconds: beyond them, one move of each kind after its first must do. most: beyond them, the first must do.
    """
    session, start = make_rehearsal(), time.perf_counter()
    kinds = set(session.method.plan(session.method.config, 1))
    moves: dict[str, int] = dict.fromkeys(kinds, 0)
    first, later = MoveCosts(), MoveCosts()

    def beyond(limit: float) -> bool:
        return session.runtime.agree(time.perf_counter() - start > limit)  # all ranks make the same moves

    while sum(moves.values()) < 50 * len(kinds):
        enough = 1 if beyond(seconds) else repeats
        if all(count > enough for count in moves.values()) or beyond(most):
            break
        kind, _, cost = timed_move(session)
        moves[kind] = moves.get(kind, 0) + 1
        (later if moves[kind] > 1 else first).add(kind, cost)
        if cost["seconds"] > LONG:
            announce(f"measured  a move '{kind}' took {clock(cost['seconds'])}")
    return first.mean() | later.mean()


def budget_name(budget: Budget | None) -> str:
    """As a plan calls it."""
    return str(budget or "the method's own size")


def make_plan(
    budget: Budget | None,
    method: type[Method],
    config: Any,
    measure_costs: Callable[[], dict[str, dict[str, float]]],
    timed: bool = False,
    formula: Formula | None = None,
) -> Plan:
    """The largest number of student steps within the budget; the method's own size without one.

    formula: of what is asked, where the method has one. timed: measure the moves also where the steps are known
    without. Raises ConfigError for a budget that ends before the first student step, with the amount that would do.
    """
    if budget is None or budget.unit == "steps":
        steps = min(MAX_STEPS, config.steps if budget is None else max(1, math.floor(budget.amount)))
        costs = measure_costs() if timed else {}
        return Plan(budget_name(budget), steps, method.plan(config, steps), costs)
    if budget.unit == "queries" and formula is not None:
        steps = formula.steps_within(budget.amount)
        costs = measure_costs() if timed else {}
        return Plan(str(budget), steps, method.plan(config, steps), costs, queries=formula.queries(steps))
    start = time.perf_counter()
    costs = measure_costs()
    spent = time.perf_counter() - start if budget.unit == "seconds" else 0.0
    _require_enough(budget, method.plan(config, 1), costs, spent)
    amount = SHARE * budget.amount - spent if budget.unit == "seconds" else budget.amount
    steps = steps_within(amount, budget.unit, method, config, costs)
    return Plan(str(budget), steps, method.plan(config, steps), costs, measured=spent)


def _require_enough(
    budget: Budget, moves: Mapping[str, int], costs: Mapping[str, Mapping[str, float]], spent: float
) -> None:
    """moves: of a run of one student step. spent: seconds that went into measuring."""
    timed = {kind: costs[kind].get(budget.unit, 0.0) for kind, count in moves.items() if count and kind in costs}
    missed = [f"no '{kind}' came before measuring was given up" for kind in moves if moves[kind] and kind not in costs]
    need = sum(moves[kind] * cost for kind, cost in timed.items())
    if need <= budget.amount and not missed:
        return
    if budget.unit == "seconds":
        parts = [f"{moves[kind]} x '{kind}' of {cost:.3g} s" for kind, cost in timed.items()]
        total, enough = clock(need), budget_text(1.2 * (need + spent) / SHARE)
        missed.append(f"and measuring took {clock(spent)}")
    else:
        parts = [f"{moves[kind]} x '{kind}' of {cost:,.0f}" for kind, cost in timed.items() if cost]
        total, enough = f"{need:,.0f}", f"{math.ceil(need)}{budget.unit}"
    raise ConfigError(
        f"a budget of {budget} ends before the first student step: that takes {total} ({', '.join(parts + missed)}). "
        f"Give --budget {enough} or more, or make the method's moves fewer or smaller (a preset such as 'small')."
    )


def budget_text(seconds: float) -> str:
    """A budget of at least so many seconds, as one writes it: '90s', '12m'."""
    return f"{math.ceil(seconds)}s" if seconds <= 120 else f"{math.ceil(seconds / 60)}m"


def left(plan: Plan, costs: MoveCosts, unit: str = "seconds") -> float | None:
    """What the moves that are still to be made cost, by those that were made; None where a kind never was."""
    mean = {**plan.cost_per_move, **costs.mean()}
    moves = {kind: count - costs.count.get(kind, 0) for kind, count in plan.moves.items()}
    if not all(kind in mean for kind, count in moves.items() if count > 0):
        return None
    return sum(count * mean[kind][unit] for kind, count in moves.items() if count > 0)


def steps_within(
    amount: float, unit: str, method: type[Method], config: Any, costs: Mapping[str, Mapping[str, float]]
) -> int:
    """The most student steps whose moves cost at most `amount`; at least 1."""

    def affordable(steps: int) -> bool:
        moves = method.plan(config, steps)
        return sum(count * costs.get(kind, {}).get(unit, 0.0) for kind, count in moves.items()) <= amount

    return min(MAX_STEPS, max(1, most(affordable, MAX_STEPS)))


def replan(
    plan: Plan, budget: Budget, method: type[Method], config: Any, done: int, spent: float, costs: MoveCosts
) -> bool:
    """Corrects `plan.steps` where the moves cost more or less than measured. True where it changed; it is recorded.

    done: student steps taken. spent: of the budget, so far. costs: of the moves so far; of a kind that has not come yet
    what was measured stands.
    """
    amount = (SHARE if budget.unit == "seconds" else 1.0) * budget.amount
    mean = {**plan.cost_per_move, **costs.mean()}
    used = sum(count * mean[kind].get(budget.unit, 0.0) for kind, count in costs.count.items())
    steps = max(done, steps_within(amount - (spent - used), budget.unit, method, config, mean))
    if abs(steps - plan.steps) <= TOLERANCE * plan.steps:
        return False
    plan.replans.append({"at_step": done, "from": plan.steps, "to": steps, "spent": spent})
    plan.steps, plan.moves, plan.cost_per_move = steps, method.plan(config, steps), mean
    return True


# -- in words


def outlook(plan: Plan, costs: MoveCosts) -> str:
    """How long the rest of a run takes, as far as its moves were measured or made."""
    mean = {**plan.cost_per_move, **costs.mean()}
    ahead = {kind: count - costs.count.get(kind, 0) for kind, count in plan.moves.items()}
    ahead = {kind: count for kind, count in ahead.items() if count > 0}
    steps, moves = ahead.get("transfer", 0), sum(ahead.values())
    work = f"{steps:,} student steps" + (f" in {moves:,} moves" if moves > steps else "")
    timed = {kind: count for kind, count in ahead.items() if kind in mean}
    seconds = clock(sum(count * mean[kind]["seconds"] for kind, count in timed.items()))
    if len(timed) == len(ahead):
        return f"{work}: about {seconds}"
    if not timed:
        return f"{work}: how long they take is said after the first of each kind"
    others = " and ".join(f"{ahead[kind]:,} moves '{kind}'" for kind in ahead if kind not in timed)
    return f"{work}: about {seconds} until {others}, which are not timed yet"


def too_little(plan: Plan, costs: MoveCosts, spent: float, unit: str) -> str:
    """What to say where a budget was spent without a student step."""
    more, made = left(plan, costs, unit), sum(costs.count.values())
    enough = None if more is None else 1.2 * (spent + more)
    amount = "" if enough is None else budget_text(enough) if unit == "seconds" else f"{math.ceil(enough)}{unit}"
    text = f"the budget of {plan.budget} is spent after {made} move(s), before the first student step."
    return f"{text} About {amount} would do for the {plan.steps:,} step(s) of the plan." if amount else text
