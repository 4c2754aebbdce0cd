"""From a budget to steps: the plan fits, is the largest that fits, and is corrected as the moves turn out."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansdata.contracts import Counters, Losses
from sansdata.engine.budget import (
    MAX_STEPS,
    SHARE,
    MoveCosts,
    Plan,
    left,
    make_plan,
    measure,
    outlook,
    replan,
    steps_within,
    timed_move,
    too_little,
)
from sansdata.errors import ConfigError
from sansdata.methods.index import METHODS, find_method, method_config
from sansdata.runtime import Runtime
from sansdata.settings import Budget, parse_budget

quick = settings(max_examples=50, deadline=None)
prices = st.floats(0, 1e4)


class Method:
    """`warmup` acquiring moves, then one for every `each` student steps."""

    @classmethod
    def plan(cls, config: Any, steps: int) -> dict[str, int]:
        return {"acquire": config.warmup + -(-steps // config.each), "transfer": steps}


METHOD = cast(Any, Method)


def config(warmup: int = 0, each: int = 1, steps: int = 77) -> Any:
    return SimpleNamespace(warmup=warmup, each=each, steps=steps)


def costs(acquire: float, transfer: float, unit: str = "seconds") -> dict[str, dict[str, float]]:
    zero = {"seconds": 0.0, "samples": 0.0, "queries": 0.0}
    return {"acquire": zero | {unit: acquire}, "transfer": zero | {unit: transfer}}


def price(steps: int, config: Any, found: dict[str, dict[str, float]], unit: str = "seconds") -> float:
    return sum(count * found[kind][unit] for kind, count in Method.plan(config, steps).items())


@quick
@given(st.floats(0, 1e7), prices, prices, st.integers(0, 50), st.integers(1, 400))
def test_steps_within_never_overspends_and_wastes_no_step(amount, acquire, transfer, warmup, each):
    how, found = config(warmup, each), costs(acquire, transfer)
    steps = steps_within(amount, "seconds", METHOD, how, found)
    assert 1 <= steps <= 2 * MAX_STEPS
    if price(1, how, found) <= amount:
        assert price(steps, how, found) <= amount
    else:
        assert steps == 1  # a run makes at least one step; the engine's cap stops what is too dear
    if steps < MAX_STEPS:
        assert price(steps + 1, how, found) > amount


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=25, deadline=None)
@given(amount=st.floats(10, 1e6), acquire=st.floats(0.01, 5), transfer=st.floats(0.001, 1))
def test_steps_within_holds_for_every_method(name, amount, acquire, transfer):
    method, how, known = find_method(name), method_config(name, "default", {}), costs(acquire, transfer)
    found = {kind: known.get(kind, known["acquire"]) for kind in method.plan(how, 1)}  # a pool is scanned, not acquired
    steps = steps_within(amount, "seconds", method, how, found)

    def total(steps: int) -> float:
        return sum(count * found[kind]["seconds"] for kind, count in method.plan(how, steps).items())

    assert total(steps) <= amount or steps == 1
    assert total(steps + 1) > amount
    assert method.plan(how, steps)["transfer"] == steps


def test_what_costs_nothing_is_planned_without_end_but_finitely():
    assert steps_within(1, "queries", METHOD, config(), costs(1, 1)) == MAX_STEPS
    assert make_plan(parse_budget("2e9steps"), METHOD, config(), lambda: costs(1, 1)).steps == MAX_STEPS


def test_a_plan_in_steps_asks_for_no_measurement():
    def never() -> Any:
        raise AssertionError("measured")

    plan = make_plan(parse_budget("2000steps"), METHOD, config(each=400), never)
    assert (plan.steps, plan.moves) == (2000, {"acquire": 5, "transfer": 2000})
    own = make_plan(None, METHOD, config(), never)
    assert (own.steps, own.budget) == (77, "the method's own size")


@pytest.mark.parametrize("text", ["60s", "5000samples", "5000queries"])
def test_a_plan_fits_the_budget_and_time_keeps_a_reserve(text):
    budget = parse_budget(text)
    plan = make_plan(budget, METHOD, config(), lambda: costs(0.05, 0.05, budget.unit))
    limit = (SHARE if budget.unit == "seconds" else 1.0) * budget.amount
    assert 0.95 * limit <= 0.1 * plan.steps <= limit + 1e-9
    assert plan.to_dict()["seconds_per_move"].keys() == {"acquire", "transfer"}


@pytest.mark.parametrize(
    ("budget", "each", "enough"),
    [("120s", costs(1.6, 0.5), "--budget 4m"), ("5s", costs(0.05, 0.5), "--budget 8s"),
     ("1000queries", costs(16, 8, "queries"), "--budget 1608queries"),
     ("99samples", costs(1, 0, "samples"), "--budget 100samples")],
)  # fmt: skip
def test_a_budget_that_ends_before_the_first_student_step_is_refused_with_one_that_does_not(budget, each, enough):
    how = config(warmup=99)
    with pytest.raises(ConfigError, match="before the first student step") as refusal:
        make_plan(parse_budget(budget), METHOD, how, lambda: each)
    assert enough in str(refusal.value)
    assert "100 x 'acquire'" in str(refusal.value)
    assert make_plan(parse_budget(enough.split()[1]), METHOD, how, lambda: each).steps >= 1


def test_steps_are_timed_where_somebody_asks():
    """`--dry-run` says seconds for every budget."""
    plan = make_plan(parse_budget("20steps"), METHOD, config(each=10), lambda: costs(3, 0.5), timed=True)
    assert plan.to_dict()["seconds"] == 2 * 3 + 20 * 0.5
    assert outlook(plan, MoveCosts()) == "20 student steps in 22 moves: about 0:16"


def test_what_is_left_is_said_as_far_as_it_is_known():
    plan, made = Plan("20 steps", 20, {"acquire": 10, "transfer": 20}), MoveCosts()
    assert "how long" in outlook(plan, made)
    made.add("acquire", {"seconds": 60.0})
    assert outlook(plan, made).endswith("about 9:00 until 20 moves 'transfer', which are not timed yet")
    made.add("transfer", {"seconds": 1.0})
    assert outlook(plan, made) == "19 student steps in 28 moves: about 9:19"
    assert left(plan, made) == 9 * 60 + 19
    assert "About 13m would do" in too_little(plan, made, 61.0, "seconds")


def test_measuring_ends_with_the_budget_although_no_step_was_reached(clock):
    """The getting-started command with two minutes: 177 s of work, and then nothing."""
    session = cast(Any, Session(["acquire"] * 9 + ["transfer"], {"acquire": [30.0], "transfer": [5.0]}, clock))
    with pytest.raises(ConfigError, match="no 'transfer' came") as refusal:
        make_plan(parse_budget("2m"), METHOD, config(), lambda: measure(lambda: session, 6, 120))
    assert session.made == 5
    assert "--budget" in str(refusal.value)


def test_the_time_spent_measuring_counts(monkeypatch):
    clock = iter([100.0, 130.0])
    monkeypatch.setattr("sansdata.engine.budget.time.perf_counter", lambda: next(clock))
    plan = make_plan(parse_budget("60s"), METHOD, config(), lambda: costs(0, 1))
    assert plan.steps == math.floor(SHARE * 60 - 30)
    assert plan.measured == 30


# -- what moves cost


@quick
@given(st.lists(st.tuples(st.sampled_from(["acquire", "transfer"]), st.floats(0, 100)), min_size=1, max_size=20))
def test_mean_costs_survive_a_save(moves):
    held = MoveCosts()
    for kind, seconds in moves:
        held.add(kind, {"seconds": seconds})
    for kind in {kind for kind, _ in moves}:
        own = [seconds for other, seconds in moves if other == kind]
        assert held.mean()[kind]["seconds"] == pytest.approx(sum(own) / len(own))
    other = MoveCosts()
    other.load_state_dict(held.state_dict())
    held.add("acquire", {"seconds": 1e6})  # what was saved does not follow
    assert other.mean() != held.mean()
    other.add("acquire", {"seconds": 1e6})
    assert other.mean() == held.mean()


class Session:
    """Makes moves in a given order, each with its price on a clock of our own."""

    def __init__(self, kinds: list[str], seconds: dict[str, list[float]], clock: list[float]) -> None:
        self.context = SimpleNamespace(counters=Counters())
        self.runtime = Runtime()
        self.method = SimpleNamespace(plan=Method.plan, config=config())
        self.kinds, self.seconds, self.clock, self.made = kinds, {k: list(v) for k, v in seconds.items()}, clock, 0

    def move(self) -> tuple[str, Losses]:
        kind = self.kinds[self.made % len(self.kinds)]
        self.made += 1
        prices = self.seconds[kind]
        self.clock[0] += prices.pop(0) if len(prices) > 1 else prices[0]
        self.context.counters.add("samples", 256 if kind == "acquire" else 0)
        self.context.counters.add("teacher_forwards", 512 if kind == "acquire" else 64)
        return kind, Losses()


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("sansdata.engine.budget.time.perf_counter", lambda: now[0])
    return now


def test_a_move_is_timed_and_its_images_counted(clock):
    session = cast(Any, Session(["acquire", "transfer"], {"acquire": [3.0], "transfer": [0.5]}, clock))
    kind, _, cost = timed_move(session)
    assert (kind, cost) == ("acquire", {"seconds": 3.0, "samples": 256, "queries": 512})
    assert timed_move(session)[2] == {"seconds": 0.5, "samples": 0, "queries": 64}


def test_the_first_move_of_a_kind_is_not_measured(clock):
    """It compiles kernels: ten times the others."""
    session = cast(Any, Session(["acquire", "transfer"], {"acquire": [30.0, 3.0], "transfer": [5.0, 0.5]}, clock))
    assert {kind: cost["seconds"] for kind, cost in measure(lambda: session).items()} == {
        "acquire": 3.0, "transfer": 0.5,
    }  # fmt: skip


def test_measuring_ends_although_one_kind_never_comes(clock):
    session = Session(["acquire"], {"acquire": [1.0]}, clock)
    measure(lambda: cast(Any, session))
    assert session.made <= 100


# -- re-planning


def made(acquire: int, transfer: int, prices: dict[str, dict[str, float]]) -> MoveCosts:
    held = MoveCosts()
    for kind, count in (("acquire", acquire), ("transfer", transfer)):
        for _ in range(count):
            held.add(kind, prices[kind])
    return held


def test_moves_twice_as_dear_halve_the_plan_and_it_is_recorded():
    budget = parse_budget("100s")
    plan = make_plan(budget, METHOD, config(), lambda: costs(0.05, 0.05))
    before = plan.steps
    real = costs(0.1, 0.1)
    assert replan(plan, budget, METHOD, config(), 100, 20.0, made(100, 100, real))
    assert plan.steps == pytest.approx(before / 2, rel=0.02)
    assert plan.moves["transfer"] == plan.steps
    assert plan.replans == [{"at_step": 100, "from": before, "to": plan.steps, "spent": 20.0}]


def test_a_small_difference_changes_nothing():
    budget = parse_budget("100s")
    plan = make_plan(budget, METHOD, config(), lambda: costs(0.05, 0.05))
    before = plan.steps
    assert not replan(plan, budget, METHOD, config(), 100, 10.2, made(100, 100, costs(0.051, 0.051)))
    assert (plan.steps, plan.replans) == (before, [])


def test_a_kind_of_move_that_has_not_come_yet_costs_what_was_measured():
    """Rounds of 50 steps; at a tenth of the plan no acquisition was made."""
    budget, how = parse_budget("100s"), config(each=50)
    plan = Plan("100 seconds", 400, METHOD.plan(how, 400), costs(5.0, 0.1))
    assert not replan(plan, budget, METHOD, how, 40, 4.0, made(0, 40, costs(5.0, 0.1)))
    assert plan.cost_per_move == costs(5.0, 0.1)


@quick
@given(st.floats(0.01, 2), st.floats(0.01, 2), st.integers(1, 60), st.floats(0, 40), st.integers(1, 400))
def test_a_new_plan_never_undoes_steps_and_fits_what_is_left(acquire, transfer, done, elsewhere, each):
    """elsewhere: seconds that went into something that is no move, such as snapshots."""
    budget, how, real = Budget(unit="seconds", amount=300.0), config(each=each), costs(acquire, transfer)
    plan = Plan("300 seconds", 10**6, {})
    moves = Method.plan(how, done)
    spent = price(done, how, real) + elsewhere
    assert replan(plan, budget, METHOD, how, done, spent, made(moves["acquire"], done, real))
    assert plan.steps >= done
    if plan.steps > done:
        assert price(plan.steps, how, real) + elsewhere <= SHARE * 300 * (1 + 1e-9)


def test_measuring_long_moves_stops_after_one_of_each_kind_that_counts(clock):
    session = Session(["acquire", "transfer"], {"acquire": [30.0], "transfer": [5.0]}, clock)
    measure(lambda: cast(Any, session), seconds=1.0)
    assert session.made == 4
