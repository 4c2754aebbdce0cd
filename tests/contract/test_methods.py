"""What every method keeps, asked of every name in the table of methods."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import CASES, IMAGE_ROWS, STEPS, Case, rows, shapes
from processes import distil
from tiny import (
    Plain,
    Tiny,
    differing,
    make_module,
    make_pool,
    make_student,
    make_task,
    make_teacher,
    method_of,
    needs_pool,
    same_bits,
    student_of,
    world_of,
)
from torch import nn

from sansdata.config import merged
from sansdata.engine.run import run
from sansdata.engine.session import Session
from sansdata.errors import ConfigError, MethodError
from sansdata.methods.index import METHODS, find_method, method_config, method_names
from sansdata.runtime import Runtime
from sansdata.settings import FeatureTerms
from sansdata.teachers.base import Teacher, fingerprint
from sansdata.teachers.preflight import unmet
from sansdata.testing.contract import Moves, assert_same_state, frozen_state, generators, lines, restore

every_method = pytest.mark.parametrize("name", rows(sorted(CASES)))
of_each_shape = pytest.mark.parametrize("name", shapes(sorted(CASES)))
every_image_method = pytest.mark.parametrize("name", rows(IMAGE_ROWS))


def test_every_method_has_a_row() -> None:
    assert set(METHODS) == {method_of(row) for row in CASES}
    assert all(method_of(row) in method_names() for row in CASES)


# -- the public suite on every row, as a package would run it on its method


def suite_of(row: str, case: Case) -> type[Moves]:
    name = "Test" + "".join(part.title() for part in row.replace("/", "-").split("-"))
    fields = {
        "method": method_of(row), "world": row.partition("/")[2] or "image", "options": case.options,
        "moves_apart": case.moves_apart, "learns": case.learns, "__module__": __name__,
        "pytestmark": [pytest.mark.long] if case.like else [],
    }  # fmt: skip
    return type(name, (Moves,), fields)


globals().update({suite.__name__: suite for suite in (suite_of(row, case) for row, case in CASES.items())})


def config_of(name: str, **more: Any) -> Any:
    return method_config(method_of(name), "default", merged(CASES[name].options, more))


def make_session(
    name: str,
    shape: tuple[int, int, int] | None = None,
    runtime: Runtime | None = None,
    features: FeatureTerms | None = None,
    config: Any = None,
    steps: int = 40,
) -> Session:
    config, world = config_of(name) if config is None else config, world_of(name)
    teacher, student, task = world.teacher(), world.student(), world.task
    if shape is not None:
        teacher, student, task = make_teacher(shape), make_student(shape[0]), make_task(shape)
    return Session(
        find_method(method_of(name)), config, teacher, student, task, runtime or Runtime(), 7, steps,
        {"features": features} if features else {}, make_pool(task.shape) if needs_pool(name) else None,
    )  # fmt: skip


# -- one whole run of each method, in this process, read by several tests


class Reference:
    """A strict run from its settings, and what it did to the process around it."""

    def __init__(self, name: str, tiny: Tiny, folder: Path) -> None:
        self.settings = tiny.settings(name, CASES[name].options, budget=f"{STEPS}steps")
        self.config = tiny.config(self.settings, f"{name}.yaml", folder)
        self.out = folder / name.replace("/", "-")
        before = generators()
        run(self.settings, self.out)
        self.consumed = [what for what, value in generators().items() if value != before[what]]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return lines(self.out)


@pytest.fixture(scope="session")
def reference(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Reference]:
    made: dict[str, Reference] = {}
    folder = tmp_path_factory.mktemp("references")

    def get(name: str) -> Reference:
        if name not in made:
            made[name] = Reference(name, tiny, folder)
        return made[name]

    return get


@every_method
def test_a_whole_run_leaves_global_generators_alone(name: str, reference: Callable[[str], Reference]) -> None:
    assert reference(name).consumed == []


FILES = ("texts", "contexts", "writer")
"""Options that name a file, which is declared by that role."""


@every_method
def test_a_strict_run_opens_no_data(name: str, reference: Callable[[str], Reference]) -> None:
    ledger = json.loads((reference(name).out / "ledger.json").read_text())
    assert ledger["mode"] == "strict"
    assert ledger["violations"] == []
    declared = {"pool"} if needs_pool(name) else set()
    declared |= {"tokenizer"} if name.partition("/")[2].startswith(("writer", "asker", "worded")) else set()
    declared |= {role for role in FILES if isinstance(CASES[name].options.get(role), str)}
    assert {f["role"] for f in ledger["files"]} <= {"teacher", "task", "system", "directory"} | declared
    assert any(f["role"] == "teacher" and f["sha256"] for f in ledger["files"])


@every_method
def test_moves_are_those_of_the_plan(name: str, reference: Callable[[str], Reference]) -> None:
    """The budget reckons with plan(); a method that makes other moves would overspend or stop early."""
    done = reference(name)
    plan = json.loads((done.out / "plan.json").read_text())
    assert plan["moves"]["transfer"] == STEPS
    assert done.lines[-1]["step"] == STEPS
    assert done.lines[-1]["move"] == sum(plan["moves"].values())


@every_method
def test_counted_cost_is_that_of_the_plan(name: str, reference: Callable[[str], Reference]) -> None:
    cost = json.loads((reference(name).out / "summary.json").read_text())["cost"]
    batch = CASES[name].options["transfer"]["batch"]
    assert cost["student_backwards"] >= batch * STEPS
    assert cost["teacher_forwards"] > 0
    assert cost["samples"] > 0


# -- exact resume


def assert_resumes_exactly(name: str, stop: int, whole: Reference, folder: Path) -> None:
    """Stopped after `stop` moves in one process, continued in another: bitwise the uninterrupted run."""
    out = folder / "run"
    stopped = distil(whole.config, out, before=[("stop_after_move", stop), ("no_report",)])
    assert stopped.code == 75, stopped.output
    position = json.loads(next((out / "checkpoints").glob("step-*/rank-0.json")).read_text())["state"]["position"]
    assert position["moves"] == stop
    resumed = distil(whole.config, out, "--resume", before=[("no_report",)])
    assert resumed.code == 0, resumed.output
    assert differing(student_of(whole.out), student_of(out)) == []
    assert lines(out) == whole.lines
    for snapshot in (whole.out / "snapshots").iterdir():
        assert (out / "snapshots" / snapshot.name).read_bytes() == snapshot.read_bytes()
    assert stopped.stray_writes + resumed.stray_writes == []


@every_method
def test_resume_in_a_new_process_is_bitwise_the_uninterrupted_run(
    name: str, reference: Callable[[str], Reference], tmp_path: Path
) -> None:
    """Also that neither process writes outside its folder nor talks to the network."""
    assert_resumes_exactly(name, CASES[name].stops[0], reference(name), tmp_path)


@pytest.mark.long
@every_method
@pytest.mark.parametrize("which", [0, 1, 2])
def test_resume_at_three_points(name: str, which: int, reference: Callable[[str], Reference], tmp_path: Path) -> None:
    assert_resumes_exactly(name, CASES[name].stops[which], reference(name), tmp_path)


@pytest.mark.long
@every_method
def test_five_resumes_in_one_run(name: str, reference: Callable[[str], Reference], tmp_path: Path) -> None:
    """And a sixth process that finishes."""
    whole, out = reference(name), tmp_path / "run"
    for stop in range(1, 6):
        flags = ["--resume"] if stop > 1 else []
        job = distil(whole.config, out, *flags, before=[("stop_after_move", stop), ("no_report",)])
        assert job.code == 75, job.output
    assert distil(whole.config, out, "--resume", before=[("no_report",)]).code == 0
    assert differing(student_of(whole.out), student_of(out)) == []
    assert lines(out) == whole.lines


@pytest.mark.long
@every_method
@pytest.mark.parametrize("threads", [1, 2])
def test_runs_repeat_bitwise_at_a_fixed_number_of_threads(name: str, threads: int, tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny.settings(name, CASES[name].options, threads=threads)
    config = tiny.config(settings, folder=tmp_path)
    for out in ("one", "two"):
        assert distil(config, tmp_path / out, before=[("no_report",)]).code == 0
    assert differing(student_of(tmp_path / "one"), student_of(tmp_path / "two")) == []


# -- the teacher and the student are left as they were found


def hooks_of(module: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(part, kind)) for part in module.modules() for kind in kinds)


@every_image_method
def test_the_teacher_is_left_as_it_was(name: str, tiny: Tiny, tmp_path: Path) -> None:
    mine = make_module()
    mine.train()
    mine.bn1.eval()
    mine.conv1.weight.requires_grad_(False)
    mine.conv1.register_forward_hook(lambda *_: None)
    modes = [part.training for part in mine.modules()]
    learns = [p.requires_grad for p in mine.parameters()]
    before = fingerprint(mine)
    teacher = Teacher.from_module(mine, make_task())
    student = make_student()
    inner = hooks_of(teacher.module)
    features = {"hint": 1.0, "attention": 1.0}
    run(
        tiny.settings(name, CASES[name].options, budget="4steps", teacher="here", student="here", features=features),
        tmp_path / "run", teacher, student,
    )  # fmt: skip
    assert fingerprint(mine) == fingerprint(teacher.module) == before
    assert [part.training for part in mine.modules()] == modes
    assert [p.requires_grad for p in mine.parameters()] == learns
    assert not any(part.training for part in teacher.module.modules())
    assert not any(p.requires_grad for p in teacher.module.parameters())
    assert all(p.grad is None for p in [*mine.parameters(), *teacher.module.parameters()])
    assert hooks_of(mine) == 1
    assert hooks_of(teacher.module) == inner
    assert hooks_of(student) == 0
    assert all(p.grad is None for p in student.parameters())
    assert tuple(n for n, p in student.named_parameters() if not p.requires_grad) == CASES[name].frozen


# -- budgets


@of_each_shape
@pytest.mark.parametrize(
    ("unit", "counter", "amount"),
    [("samples", "samples", 150), pytest.param("queries", "teacher_forwards", 1200, marks=pytest.mark.long)],
)
def test_a_counted_budget_is_kept(name: str, unit: str, counter: str, amount: int, tiny: Tiny, tmp_path: Path) -> None:
    """And used: a plan that stops at a fraction of it would waste what was allowed."""
    run(tiny.settings(name, CASES[name].options, budget=f"{amount}{unit}"), tmp_path / "run")
    cost = json.loads((tmp_path / "run" / "summary.json").read_text())["cost"]
    assert 0.6 * amount <= cost[counter] <= amount


@of_each_shape
def test_a_budget_of_seconds_is_kept(name: str, tiny: Tiny, tmp_path: Path) -> None:
    run(tiny.settings(name, CASES[name].options, budget="1.5s"), tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    longest = max(plan["seconds_per_move"].values())
    assert summary["cost"]["seconds"] <= 1.5 + 10 * longest  # a move that takes ten times its mean, on a busy machine
    assert summary["steps"] > 1
    assert (manifest["status"] == "truncated") == (summary["steps"] < plan["steps"])


@every_method
def test_a_budget_below_the_first_step_says_so(name: str, tiny: Tiny, tmp_path: Path) -> None:
    """An input error that names the budget; no student that learnt nothing, and the place is free for the next try."""
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match="budget of 1 queries"):
        run(tiny.settings(name, CASES[name].options, budget="1queries"), out)
    assert not out.exists()


# -- settings


@every_method
def test_a_mistyped_setting_is_refused_with_the_nearest(name: str, tiny: Tiny, tmp_path: Path) -> None:
    for options, right in (({"stepz": 1}, "steps"), ({"transfer": {"bach": 8}}, "batch")):
        with pytest.raises(ConfigError, match=right):
            run(tiny.settings(name, options), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@every_image_method
def test_an_unsuitable_teacher_is_refused_before_step_0(name: str, tiny: Tiny, tmp_path: Path) -> None:
    """A teacher without BatchNorm and without a linear head, for methods that need either; others must run."""
    teacher = Teacher.from_module(Plain(), make_task())
    needs = find_method(method_of(name)).requires(config_of(name))
    settings = tiny.settings(name, CASES[name].options, budget="2steps", teacher="here", student="here")
    out = tmp_path / "run"
    if needs.batch_norm or needs.head:
        assert unmet(needs, teacher)
        with pytest.raises(MethodError, match=name):
            run(settings, out, teacher, make_student())
        assert not out.exists()
    else:
        run(settings, out, teacher, make_student())
        assert (out / "student.safetensors").is_file()


# -- every shape, precision and option


@every_image_method
@pytest.mark.parametrize("shape", [(1, 13, 11), (3, 12, 12), (3, 9, 16)])
def test_channels_and_odd_sizes(name: str, shape: tuple[int, int, int]) -> None:
    session = make_session(name, shape)
    session.advance(7)
    assert session.last_batch is not None
    assert session.last_batch.inputs.shape[1:] == shape or not CASES[name].one_shape


@every_image_method
def test_reduced_precision_with_feature_terms(name: str) -> None:
    session = make_session(name, runtime=Runtime(precision="bf16"), features=FeatureTerms(hint=1.0, attention=10.0))
    losses: set[str] = set()
    before = session.student.conv1.weight.clone()
    for _ in range(8):
        kind, found = session.move()
        if kind == "transfer":
            losses |= set(found.values())
    assert {"hint", "attention"} <= losses
    assert not same_bits(before, session.student.conv1.weight)
    assert all(torch.isfinite(v).all() for v in session.student.state_dict().values())
    assert all(v.dtype in (torch.float32, torch.int64) for v in session.student.state_dict().values())


@every_image_method
def test_feature_terms_resume_too(name: str) -> None:
    """The regressors of a hint are trained with the student: part of the state."""
    terms = FeatureTerms(hint=1.0)
    first = make_session(name, features=terms)
    first.advance(6)
    second = make_session(name, features=terms)
    restore(second, *frozen_state(first))
    first.advance(5)
    second.advance(5)
    assert_same_state(first, second)
