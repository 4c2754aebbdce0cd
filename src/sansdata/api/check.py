"""The preflight verdict of a teacher, before anything runs."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..errors import MethodError
from ..methods.index import choose_method, find_method, method_names
from ..runtime import resolve_device
from ..tasks import load_task
from ..teachers.base import Teacher
from ..teachers.preflight import preflight, unmet
from ..teachers.specs import load_student, load_teacher
from .result import TaskLike, generator_kept, task_field


def check(teacher: str | Teacher, task: TaskLike = None, student: str | nn.Module | None = None) -> dict[str, Any]:
    """The preflight verdict: what the teacher takes and gives, its faults, and which methods can work.

    The dict has 'teacher', 'student', 'notes', 'faults', 'warnings' and 'methods' {name: [reasons why not]}. Notes say
    what was decided in reading the files: which of several sets of weights, whose preprocessing.
    """
    with generator_kept():
        if isinstance(teacher, str):
            teacher = load_teacher(teacher, load_task(task_field(task)))
        model = None if student is None else load_student(student, teacher, teacher.task)
    verdict = preflight(teacher, None if model is None else model.network)
    methods: dict[str, list[str]] = {}
    auto = None
    if not verdict.faults:
        for name in method_names():
            try:
                cls = find_method(name)
            except MethodError as fault:  # a stranger's package that is broken does not keep us from the others
                methods[name] = [str(fault)]
                continue
            methods[name] = unmet(cls.requires(cls.Config()), teacher)
        auto = choose_method(teacher, resolve_device("auto") == "cpu").why
    notes = [*teacher.notes, *(() if model is None else model.notes)]
    return verdict.to_dict() | {"notes": notes, "methods": methods, "auto": auto}
