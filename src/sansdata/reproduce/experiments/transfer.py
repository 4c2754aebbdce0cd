"""A student, its accuracy on its own task, and what its features are worth on others.

Of an arm's `experiment`: targets (sets of other tasks), fine_tune (steps). The method 'random-init' is a student that
learnt nothing.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from ...api.evaluate import evaluate
from ...evaluate.transferability import FINE_TUNE_STEPS, OtherTask, Score, normalised
from ...runtime import Runtime
from ...tasks import ImageTask, load_task
from ...teachers.base import Teacher
from ...teachers.specs import load_teacher
from ..recipes.model import Arm, Recipe
from ..students import drawn
from .distil import distilled, of_run, on_real_data


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; test sets are opened once, after the last step.

    Measures, in percent, for each target: '... probe', '... fine-tuned' where it has classes, and '... normalised',
    the probe between random weights (0) and the teacher's features (100), where the latter are better.
    """
    assert recipe.teacher is not None
    task, spec = load_task(recipe.task), f"{recipe.teacher.network}@{teacher['path']}"
    student, facts = _student(recipe, arm, seed, teacher, spec, folder)
    measures: dict[str, float] = {}
    for target in arm.experiment["targets"]:
        steps = arm.experiment.get("fine_tune", FINE_TUNE_STEPS)
        other, floor, best = _bounds(spec, task.model_dump_json(), recipe.student, target, steps)
        score = other.score(student, task)
        share = normalised(score.probe, floor.probe, best.probe)
        measures[f"{target} probe"] = 100 * score.probe
        if share is not None:
            measures[f"{target} normalised"] = 100 * share
        if score.fine_tune is not None:
            measures[f"{target} fine-tuned"] = 100 * score.fine_tune
    own = evaluate(student, recipe.data, task).accuracy
    return {"accuracy": own, "steps": arm.steps, "measures": measures, **facts}


def _student(
    recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], spec: str, folder: Path
) -> tuple[nn.Module, dict[str, Any]]:
    """The trained student in eval mode, and what its run says of itself."""
    if arm.method == "random-init":
        return _untrained(load_teacher(spec, load_task(recipe.task)), recipe.student, seed), {"cost": {}}
    if arm.method == "real-data":
        session = on_real_data(recipe, arm, seed, teacher)
        return session.student.eval(), {"cost": dict(session.context.counters.values)}
    result = distilled(recipe, arm, seed, teacher, folder / "run")
    return result.student, of_run(result)


def _untrained(teacher: Teacher, student: str, seed: int) -> nn.Module:
    return drawn(student, seed, teacher, teacher.task).module.eval()


@cache
def _bounds(spec: str, task_json: str, student: str, target: str, steps: int) -> tuple[OtherTask, Score, Score]:
    """The other task, and on it the student's architecture with random weights and the teacher: the same for all arms
    of a recipe, and therefore measured once in a process. Neither is fine-tuned."""
    task = ImageTask.model_validate_json(task_json)
    teacher = load_teacher(spec, task)
    other = OtherTask(target, task, Runtime(), steps)
    return other, other.floor(_untrained(teacher, student, 0), tune=False), other.score(teacher.module, task, False)
