"""The preflight verdict of a teacher, before anything runs: what `distill` would find, and nothing else."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from torch import nn

from ..engine.long_steps import long_step
from ..engine.prepare import choose, examine, runtime_for, settle
from ..errors import MethodError, StudentError
from ..methods.index import find_method, method_names
from ..models.copying import private_copy
from ..models.modes import usual_modes
from ..settings import RunSettings
from ..tasks import load_task
from ..teachers.base import Teacher
from ..teachers.preflight import why_not
from ..teachers.specs import load_teacher, task_of
from ..teachers.students import load_student
from .result import TaskLike, generator_kept, task_field, teacher_or_spec


@usual_modes()
def check(
    teacher: str | Path | Teacher, task: TaskLike = None, student: str | nn.Module | None = None
) -> dict[str, Any]:
    """The preflight verdict: what the teacher takes and gives, its faults, and which methods can work.

    The dict has 'teacher', 'student', 'notes', 'faults', 'warnings' and 'methods' {name: [reasons why not]}. Notes say
    what was decided: which of several sets of weights, whose preprocessing, what a run on this machine would leave off.
    """
    teacher = teacher_or_spec(teacher, task)
    lent = contextlib.ExitStack()
    with lent, generator_kept():
        if isinstance(teacher, str):
            with long_step("reading the teacher"):
                job = task_of(teacher) if task is None else None
                teacher = load_teacher(teacher, job or load_task(task_field(task)))
        else:
            lent.enter_context(teacher.lent())
        if isinstance(student, nn.Module):
            student = private_copy(student, StudentError)
        model = None if student is None else load_student(student, teacher, teacher.task)
        runtime, left_off = settle(runtime_for(teacher.task, "auto"), teacher, model)
        verdict = examine(teacher, model)
        notes = [*teacher.notes, *(() if model is None else model.notes), *left_off]
        methods, auto = ({}, None) if verdict.faults else _methods(teacher, runtime.device.type == "cpu")
    return verdict.to_dict() | {"notes": notes, "methods": methods, "auto": auto}


def _methods(teacher: Teacher, on_cpu: bool) -> tuple[dict[str, list[str]], str]:
    """(name of every method -> why it cannot work, what 'auto' would take and why)."""
    reasons: dict[str, list[str]] = {}
    for name in method_names():
        try:
            cls = find_method(name)
            reasons[name] = why_not(name, cls.requires(cls.Config()), teacher)
        except MethodError as fault:  # of a third party: no reason to say nothing about the others
            reasons[name] = [str(fault)]
    try:
        return reasons, choose(RunSettings(), teacher, on_cpu).why
    except MethodError as fault:
        return reasons, f"none: {fault}"
