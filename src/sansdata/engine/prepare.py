"""Everything that can be wrong is found here, before step 0: nothing was started and nothing is lost.

Four steps, each on what the one before it gave: the networks are loaded, asked, a method is chosen for them, and what
it needs beside them is connected. Nothing large is read before the settings that need no model were looked at.
"""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..compress.inherit import inherit, inheritable
from ..compress.prune import pruned_share
from ..contracts import Requirements
from ..decoding.image_pool import ImagePool, load_pool
from ..errors import ConfigError, MethodError, TeacherError, UserError
from ..kinds.index import input_kind
from ..method import Method
from ..methods.index import choose_method, find_method, method_config
from ..network import Network
from ..runtime import Runtime, make_runtime
from ..settings import Budget, RunSettings, parse_budget
from ..streams import Streams
from ..tasks import Task, load_task
from ..teachers.base import Teacher
from ..teachers.cached_weights import cached_weights
from ..teachers.preflight import Preflight, preflight, unmet
from ..teachers.specs import Model, declared_files, load_student, load_teacher
from ..training.parts import PARTS
from .budget import REHEARSAL, Plan, make_plan, measure
from .monitor import announce
from .session import Session


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
    """A method for the networks; settings with what 'auto' decided."""

    settings: RunSettings
    method: type[Method]
    config: Any
    needs: Requirements
    notes: list[str]


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
            student, config = copy.deepcopy(student), self.method.rehearsal(config)
        return Session(
            self.method, config, self.teacher, student, self.student.task, self.runtime, self.settings.seed, steps,
            self.settings.parts, self.pool,
        )  # fmt: skip

    def plan(self, timed: bool = False) -> Plan:
        """How many steps the budget is good for; rank 0 measures for all. timed: measure the moves in any case."""
        limit = most = float("inf")
        if self.budget is not None and self.budget.unit == "seconds":
            limit, most = REHEARSAL * self.budget.amount, self.budget.amount
        elif timed:
            limit = 0.0

        def costs() -> dict[str, dict[str, float]]:
            announce("measuring how long a move takes, on a copy of the student")
            return measure(lambda: self.session(1000, rehearsal=True), limit, most)

        plan = make_plan(self.budget, self.method, self.config, costs, timed)
        shared: Any = self.runtime.from_rank_0(plan.state())
        return Plan(**shared)


def declared_inputs(settings: RunSettings, config_file: Path | None) -> dict[Path, str]:
    """What a strict run may read: path -> role."""
    declared: dict[Path, str] = {}
    for path in declared_files(settings.student):
        declared[path] = "student"
    for spec, role in [(settings.teacher, "teacher"), *((helper, "helper") for helper in settings.helpers)]:
        declared |= dict.fromkeys([*declared_files(spec), *cached_weights(spec)], role)
    if isinstance(settings.task, str) and settings.task.endswith((".yaml", ".yml")):
        declared[Path(settings.task)] = "task"
    if settings.task:
        declared |= load_task(settings.task).files()
    if settings.pool is not None:
        declared[Path(settings.pool).expanduser()] = "pool"
    if config_file is not None:
        declared[config_file] = "config"
    return declared


def prepare(
    settings: RunSettings,
    teacher: Teacher | None = None,
    student: nn.Module | None = None,
    method: type[Method] | None = None,
) -> Prepared:
    """Loads, checks and connects everything. method: a class in place of the one that the settings name. Raises
    UserError and its kin, each with the mend."""
    budget = parse_budget(settings.budget) if settings.budget else None
    if settings.method != "auto":  # a wrong option answers before a large teacher is read
        method_config(method or settings.method, settings.preset, settings.options)
    loaded = load(settings, teacher, student)
    findings = check(loaded)
    chosen = choose(loaded, method)
    return connect(loaded, findings, chosen, budget)


# -- the four steps


def load(settings: RunSettings, teacher: Teacher | None, student: nn.Module | None) -> Loaded:
    """Reads the task, the teacher with its helpers, and the student. Raises what reading them raises."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    notes = _crowding()
    task = teacher.task if teacher is not None else load_task(settings.task)
    exact = settings.precision == "auto" and input_kind(task).exact
    runtime = make_runtime(settings.device, "fp32" if exact else settings.precision)
    if teacher is None:
        with Streams(settings.seed).as_global("teacher"):  # its weights are drawn, then read from the file
            teacher = load_teacher(settings.teacher, task)
    if settings.helpers:
        with Streams(settings.seed).as_global("helpers"):
            teacher = teacher.helped_by([load_teacher(spec, task) for spec in settings.helpers])
    with Streams(settings.seed).as_global("student", shared=True):
        model = load_student(student if student is not None else settings.student, teacher, task)
    notes += [*(note for member in teacher.members for note in member.notes), *model.notes]
    if settings.inherit:
        share = inherit(_untrained(model).module, teacher.module)
        notes.append(f"the student starts from the teacher: {100 * share:.0f} % of its weights")
    elif model.sha256 is None and inheritable(model.module, teacher.module) > 0.5:
        notes.append("the teacher's layers fit this student: inherit=true starts from them and saves much training")
    if pruned := pruned_share(model.module):
        notes.append(f"the student was pruned: {100 * pruned:.1f} % of its weights are 0, and stay 0")
    return Loaded(settings, task, teacher, model, runtime, notes)


def check(loaded: Loaded) -> Preflight:
    """Asks the teacher, its helpers and the student. Raises TeacherError where one of them cannot be used."""
    findings = preflight(loaded.teacher, Network.of(loaded.student.module, loaded.student.task))
    for helper in loaded.teacher.helpers:
        theirs = preflight(helper)
        findings.faults += [f"helper '{helper.source}': {fault}" for fault in theirs.faults]
        findings.warnings += [f"helper '{helper.source}': {warning}" for warning in theirs.warnings]
    if findings.faults:
        raise TeacherError("the teacher and student cannot be used:\n  " + "\n  ".join(findings.faults))
    _require_distinct(loaded.teacher, loaded.student)
    return findings


def choose(loaded: Loaded, given: type[Method] | None = None) -> Chosen:
    """The method and its settings; 'auto' decides by what the preflight has seen. Raises MethodError where the method
    cannot work with these networks, or a part of the step cannot."""
    settings, teacher, notes = loaded.settings, loaded.teacher, list(loaded.notes)
    if settings.method == "auto":
        choice = choose_method(teacher, loaded.runtime.device.type == "cpu")
        preset = choice.preset if settings.preset == "default" else settings.preset
        notes.append(f"--method auto: {choice.why}")
        decided = {"method": choice.method, "preset": preset, "options": {**choice.options, **settings.options}}
        settings = settings.model_copy(update=decided)
    name = settings.method
    method = find_method(given or name)
    config = method_config(method, settings.preset, settings.options)
    needs = method.requires(config)
    reasons = _unmet(needs, teacher, settings.pool is not None)
    if reasons:
        raise MethodError(f"method '{name}' cannot work with what it was given: " + "; ".join(reasons))
    for part, section in settings.parts.items():
        if reasons := PARTS[part].unmet(section, teacher):
            raise MethodError(f"{settings.why_part(part)} cannot work with this teacher: " + "; ".join(reasons))
    return Chosen(settings, method, config, needs, notes)


def connect(loaded: Loaded, findings: Preflight, chosen: Chosen, budget: Budget | None) -> Prepared:
    """Reads the pool where there is one. Raises MethodError where the method reads none, DataError where it is
    broken."""
    settings, notes, pool = chosen.settings, list(chosen.notes), None
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


def _unmet(requirements: Requirements, teacher: Teacher, pool: bool) -> list[str]:
    """Why the method cannot work with this teacher and its helpers, and with or without a pool."""
    reasons = unmet(requirements, teacher, pool)
    if teacher.helpers and not requirements.helpers:
        return [*reasons, "it asks one teacher only; leave the helpers out, or take a method that asks them (mixmix)"]
    of_helpers = [(helper, unmet(requirements, helper, pool)) for helper in teacher.helpers]
    return reasons + [f"helper '{helper.source}': {reason}" for helper, theirs in of_helpers for reason in theirs]


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
