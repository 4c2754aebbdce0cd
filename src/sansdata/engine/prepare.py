"""Everything that can be wrong is found here, before step 0: nothing was started and nothing is lost.

Four steps, each on what the one before it gave: the networks are loaded, asked, a method is chosen for them, and what
it needs beside them is connected. Nothing large is read before the settings that need no model were looked at.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import columns
from ..compress.inherit import inherit, inheritable
from ..compress.prune import pruned_share
from ..contracts import Requirements
from ..decoding.image_pool import ImagePool, load_pool
from ..errors import ConfigError, MethodError, TaskError, TeacherError, UserError
from ..kinds.index import input_kind
from ..manner import suited
from ..method import Method
from ..methods.auto import choose_method
from ..methods.contract import require_given
from ..methods.index import find_method, method_config
from ..models.copying import duplicate
from ..runtime import Runtime, make_runtime
from ..settings import Budget, EstimateSettings, RunSettings, parse_budget
from ..streams import Streams
from ..tasks import Task, load_task
from ..teachers.autoencoder import role_of
from ..teachers.base import Teacher
from ..teachers.bundle import load_signed
from ..teachers.cached_weights import cached_weights
from ..teachers.lending import Lender, differences
from ..teachers.panel import Panel
from ..teachers.preflight import Preflight, preflight, why_not
from ..teachers.shares import share_out
from ..teachers.specs import Model, declared_files, load_teacher, task_of
from ..teachers.students import load_student
from ..training.few_bits import at_few_bits
from ..training.parts import PARTS
from .budget import REHEARSAL, Plan, make_plan, measure
from .long_steps import long_step
from .questions import Formula, say_costs
from .session import Session
from .succession import begin_with, files_of


@dataclass(frozen=True)
class Loaded:
    """The networks of a run, as the settings name them."""

    settings: RunSettings
    task: Task
    teacher: Teacher
    student: Model
    runtime: Runtime
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Chosen:
    """A method for the networks; settings with what 'auto' decided, and why."""

    settings: RunSettings
    method: type[Method]
    config: Any
    needs: Requirements
    why: str


@dataclass(frozen=True)
class Prepared:
    """A run that may begin. task: the job, as the settings have it; the student's own has its preprocessing."""

    settings: RunSettings
    task: Task
    teacher: Teacher
    student: Model
    method: type[Method]
    config: Any
    runtime: Runtime
    budget: Budget | None
    findings: Preflight
    notes: list[str]
    pool: ImagePool | None = None

    def session(self, steps: int, rehearsal: bool = False) -> Session:
        """A session on the student, or for a rehearsal on a throw-away copy of it."""
        student = self.student.module
        config = self.config
        if rehearsal:
            student, config = duplicate(student), self.method.rehearsal(config)
        return Session(
            self.method, config, self.teacher, student, self.student.task, self.runtime, self.settings.seed, steps,
            self.settings.parts, self.pool,
        )  # fmt: skip

    def begin(self, steps: int, manifest: dict[str, Any]) -> tuple[Session, list[str]]:
        """The session of a run before its first move, with what the earlier run lends that the settings name, and a
        line about that. manifest: of the run that begins. Raises ConfigError where that run can lend nothing."""
        session, earlier = self.session(steps), self.settings.images_of
        return session, [] if earlier is None else [begin_with(session, Path(earlier).expanduser(), manifest)]

    def plan(self, timed: bool = False) -> Plan:
        """How many steps the budget is good for; rank 0 measures for all. timed: measure the moves in any case."""
        limit = most = float("inf")
        if self.budget is not None and self.budget.unit == "seconds":
            limit, most = REHEARSAL * self.budget.amount, self.budget.amount
        elif timed:
            limit = 0.0
        if self.teacher.meters:  # measuring would ask
            timed = False

        def costs() -> dict[str, dict[str, float]]:
            with long_step("measuring how long a move takes, on a copy of the student"):
                return measure(lambda: self.session(1000, rehearsal=True), limit, most)

        formula = Formula(self.method, self.config, self.settings.teacher_gradients, self.task, self.settings.parts)
        plan = make_plan(self.budget, self.method, self.config, costs, timed, formula if formula.known else None)
        shared: Any = self.runtime.from_rank_0(plan.state())
        return Plan(**shared)


def declared_inputs(settings: RunSettings, config_file: Path | None) -> dict[Path, str]:
    """What a strict run may read: path -> role."""
    declared: dict[Path, str] = {}
    for path in declared_files(settings.student):
        declared[path] = "student"
    for spec, role in [
        (settings.teacher, role_of(settings.teacher)),
        *((helper, "helper") for helper in settings.helpers),
    ]:
        declared |= dict.fromkeys([*declared_files(spec), *cached_weights(spec)], role)
    if isinstance(settings.task, str) and settings.task.endswith((".yaml", ".yml")):
        declared[Path(settings.task)] = "task"
    if settings.task:
        declared |= load_task(settings.task).files()
    if settings.pool is not None:
        declared[Path(settings.pool).expanduser()] = "pool"
    if settings.images_of is not None:
        declared |= files_of(Path(settings.images_of).expanduser())
    if config_file is not None:
        declared[config_file] = "config"
    if settings.teacher_key is not None:
        declared[Path(settings.teacher_key)] = "key"
    return declared


def prepare(
    settings: RunSettings,
    teacher: Teacher | None = None,
    student: nn.Module | None = None,
    method: type[Method] | None = None,
) -> Prepared:
    """Loads, checks and connects everything. method: a class in place of the one that the settings name. Raises
    UserError and its kin, each with the mend."""
    budget = None if settings.budget is None else parse_budget(settings.budget)
    if settings.method != "auto":  # a wrong option answers before a large teacher is read
        method_config(method or settings.method, settings.preset, settings.options)
    loaded = load(settings, teacher, student, partial(_say_costs, settings, budget, method))
    findings = check(loaded)
    chosen = choose(loaded.settings, loaded.teacher, loaded.runtime.device.type == "cpu", method)
    return connect(loaded, findings, chosen, budget)


# -- the four steps


def load(
    settings: RunSettings,
    teacher: Teacher | None,
    student: nn.Module | None,
    before_asking: Callable[[Teacher, Runtime], None] = lambda teacher, runtime: None,
) -> Loaded:
    """Reads the task, the teacher with its helpers, and the student. before_asking: sees the teacher before anybody
    asks it. Raises what reading them raises."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    notes = _crowding()
    task = teacher.task if teacher is not None else _task(settings)
    runtime = runtime_for(task, settings.device, settings.precision)
    if teacher is None:
        with long_step("reading the teacher"), Streams(settings.seed).as_global("teacher"):
            if settings.teacher_key is not None:
                teacher = load_signed(settings.teacher, task, settings.teacher_key)
            else:
                teacher = load_teacher(settings.teacher, task)  # its weights are drawn, then read from the file
    elif settings.teacher_shards != "none":
        raise ConfigError(
            f"teacher_shards={settings.teacher_shards} saves room, and this teacher is in memory already: name it by a "
            "SPEC, such as a folder, a file or MODULE.py:FUNCTION@WEIGHTS"
        )
    if settings.helpers:
        with long_step("reading the helpers"), Streams(settings.seed).as_global("helpers"):
            teacher = teacher.helped_by([load_teacher(spec, task) for spec in settings.helpers])
    if settings.teacher_gradients.source == "estimate":
        _lend_gradients(teacher, settings.teacher_gradients)
    before_asking(teacher, runtime)
    with long_step("making the student"), Streams(settings.seed).as_global("student", shared=True):
        model = load_student(student if student is not None else settings.student, teacher, task)
        model = at_few_bits(model, settings.bits)
    notes += [*(note for member in teacher.members for note in member.notes), *model.notes]
    if settings.inherit:
        share = inherit(_untrained(model).module, teacher.module)
        notes.append(f"the student starts from the teacher: {100 * share:.0f} % of its weights")
    elif model.sha256 is None and inheritable(model.module, teacher.module) > 0.5:
        notes.append("the teacher's layers fit this student: inherit=true starts from them and saves much training")
    if pruned := pruned_share(model.module):
        notes.append(f"the student was pruned: {100 * pruned:.1f} % of its weights are 0, and stay 0")
    if settings.teacher_shards != "none":
        with long_step("sharing out the teacher"):
            notes += share_out(teacher, settings.teacher_shards, runtime)
    runtime, left_off = settle(runtime, teacher, model)
    return Loaded(settings, task, teacher, model, runtime, notes + left_off)


def _say_costs(
    settings: RunSettings, budget: Budget | None, named: type[Method] | None, teacher: Teacher, runtime: Runtime
) -> None:
    """What a teacher that costs something will be asked, in a line."""
    if not teacher.meters:
        return
    chosen = choose(settings, teacher, runtime.device.type == "cpu", named)
    formula = Formula(chosen.method, chosen.config, settings.teacher_gradients, teacher.task, settings.parts)
    say_costs(teacher, formula, chosen.settings, budget)


def _lend_gradients(teacher: Teacher, settings: EstimateSettings) -> None:
    """Raises TeacherError for a teacher whose gradients cannot be estimated, MethodError for a step that it would not
    notice."""
    kind = input_kind(teacher.task)
    if not kind.differentiable:
        raise TeacherError(f"teacher_gradients=estimate: between two {kind.unit} there is nothing to ask about")
    for member in teacher.members:
        size = columns.parts(kind.draw(1, torch.Generator()))[0].numel()
        member.lend(Lender(differences(settings, size, member.levels)))


def runtime_for(task: Task, device: str, precision: str = "auto") -> Runtime:
    """The machine as the kind of the inputs wants it. Raises ConfigError for a device or precision that it has not."""
    exact = precision == "auto" and input_kind(task).exact
    return make_runtime(device, "fp32" if exact else precision)


def settle(runtime: Runtime, teacher: Teacher, student: Model | None) -> tuple[Runtime, list[str]]:
    """How these networks will be run, and what was left off; the teacher is moved there."""
    networks = {"the teacher": teacher.network}
    networks |= {f"helper '{helper.source}'": helper.network for helper in teacher.helpers}
    if student is not None:
        networks["the student"] = student.network
    with long_step("asking how teacher and student can be run"):
        runtime, left_off = suited(runtime, networks, teacher.task)
        teacher.to(runtime)
    return runtime, left_off


def check(loaded: Loaded) -> Preflight:
    """Asks the teacher, its helpers and the student. Raises TeacherError where one of them cannot be used."""
    findings = examine(loaded.teacher, loaded.student)
    if findings.faults:
        raise TeacherError("the teacher and student cannot be used:\n  " + "\n  ".join(findings.faults))
    _require_distinct(loaded.teacher, loaded.student)
    return findings


def examine(teacher: Teacher, student: Model | None) -> Preflight:
    """The verdict on all networks of a job; its faults are those for which a run would not begin."""
    with long_step("asking teacher and student about noise"):
        findings = preflight(teacher, None if student is None else student.network)
        who = "API" if isinstance(teacher, Panel) else "helper"
        for other in teacher.members[1:]:
            theirs = preflight(other)
            findings.faults += [f"{who} '{other.source}': {fault}" for fault in theirs.faults]
            findings.warnings += [f"{who} '{other.source}': {warning}" for warning in theirs.warnings]
    return findings


def choose(settings: RunSettings, teacher: Teacher, on_cpu: bool, given: type[Method] | None = None) -> Chosen:
    """The method and its settings; 'auto' decides by what was seen of the teacher. Raises MethodError where the method
    cannot work with these networks, or a part of the step cannot."""
    why = ""
    if settings.method == "auto":
        choice = choose_method(teacher, on_cpu)
        preset, why = choice.preset if settings.preset == "default" else settings.preset, choice.why
        decided = {"method": choice.method, "preset": preset, "options": {**choice.options, **settings.options}}
        settings = settings.model_copy(update=decided)
    name = settings.method
    method = find_method(given or name)
    config = method_config(method, settings.preset, settings.options)
    if settings.images_of is not None:
        if not method.lends:
            raise MethodError(
                f"method '{name}' makes nothing that another student could begin with: leave --images-of out"
            )
        config = method.continuing(config)
    needs = require_given(method, "requires(config)", method.requires(config), Requirements)
    reasons = why_not(name, needs, teacher, settings.pool is not None)
    if reasons:
        raise MethodError(f"method '{name}' cannot work with what it was given: " + "; ".join(reasons))
    for part, section in settings.parts.items():
        if reasons := PARTS[part].unmet(section, teacher):
            raise MethodError(f"{settings.why_part(part)} cannot work with this teacher: " + "; ".join(reasons))
        if PARTS[part].joins and not method.one_shape(config):
            raise MethodError(
                f"{settings.why_part(part)} joins inputs of several batches, and method '{name}' makes them of several "
                "sizes here; give it one"
            )
    return Chosen(settings, method, config, needs, why)


def connect(loaded: Loaded, findings: Preflight, chosen: Chosen, budget: Budget | None) -> Prepared:
    """Reads the pool where there is one. Raises MethodError where the method reads none, DataError where it is
    broken."""
    settings, notes, pool = chosen.settings, list(loaded.notes), None
    if findings.answers:
        notes.append(f"the teacher's answers are {findings.answers}")
    if chosen.why:
        notes.append(f"--method auto: {chosen.why}")
    if settings.pool is not None:
        if not chosen.needs.pool:
            raise MethodError(
                f"method '{settings.method}' reads no pool: leave --pool out, or take a method that chooses from one"
            )
        pool = load_pool(settings.pool, loaded.task.shape)
        notes += [f"pool: {len(pool)} images of {pool.path}: data, only not the teacher's own", *pool.notes]
    return Prepared(
        settings, loaded.task, loaded.teacher, loaded.student, chosen.method, chosen.config, loaded.runtime, budget,
        findings, notes, pool,
    )  # fmt: skip


# -- what may be wrong


def _task(settings: RunSettings) -> Task:
    """The task that is given, else the one that the teacher's SPEC names by itself."""
    task = load_task(settings.task) if settings.task else task_of(settings.teacher)
    if task is None:
        raise TaskError(f"the teacher '{settings.teacher[:100]}' names no task by itself: give one (--task)")
    return task


def _crowding() -> list[str]:
    """Several threads on a busy machine wait for one another at every operation."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if torch.get_num_threads() == 1 or load < 0.75 * cores:
        return []
    return [f"the machine is busy (load {load:.1f} on {cores} cores): --threads 1 may be many times faster"]


def _untrained(model: Model) -> Model:
    if model.sha256 is not None:
        raise ConfigError(f"inherit=true would overwrite the weights of '{model.source}'; leave one of the two out")
    return model


def _require_distinct(teacher: Teacher, student: Model) -> None:
    mine = {p.data_ptr() for p in student.module.parameters()}
    if mine & {p.data_ptr() for member in teacher.members for p in member.module.parameters()}:
        raise UserError("the student shares parameters with the teacher; give a module of its own")
