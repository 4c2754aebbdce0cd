"""Students as the arms of a recipe begin with them, and one that is taught on real data instead: the ceiling."""

from __future__ import annotations

from torch import nn

from ..engine.session import Session
from ..method import Method
from ..runtime import Runtime, make_runtime
from ..streams import Streams
from ..tasks import Task
from ..teachers.base import Teacher
from ..teachers.specs import Model
from ..teachers.students import load_student
from .real_data import RealDataConfig
from .recipes.model import Arm


def drawn(spec: str, seed: int, teacher: Teacher, task: Task) -> Model:
    """The student that `spec` names, with the weights that a run by this seed begins with."""
    with Streams(seed).as_global("student"):
        return load_student(spec, teacher, task)


def ceiling(
    method: type[Method],
    arm: Arm,
    seed: int,
    teacher: Teacher,
    student: nn.Module,
    task: Task,
    runtime: Runtime | None = None,
) -> Session:
    """The student at the end of the arm's steps on real data. method: RealData.on, or RealLabels.on, some. task: with
    the student's own preprocessing. The student is trained in place."""
    config = RealDataConfig.model_validate(arm.options)
    session = Session(method, config, teacher, student, task, runtime or make_runtime(), seed, arm.steps)
    session.advance(arm.steps)
    return session
