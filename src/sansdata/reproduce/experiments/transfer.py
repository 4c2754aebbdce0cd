"""A student, its accuracy on its own task, and what its features are worth on others.

Of an arm's `experiment`: targets (sets of other tasks), fine_tune (steps). The arm 'random-init' is a student that
learnt nothing.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from ... import api
from ...contracts import Streams
from ...evaluate.transferability import FINE_TUNE_STEPS, OtherTask, Score, normalised
from ...runtime import Runtime
from ...tasks import load_task
from ...teachers.specs import load_student, load_teacher
from ..recipes.model import Arm, Recipe
from .distil import ceiling, distilled, of_run


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; test sets are opened once, after the last step.

    Measures, in percent, for each target: '... probe', '... fine-tuned' where it has classes, and '... normalised',
    the probe between random weights (0) and the teacher's features (100).
    """
    task = load_task(recipe.task)
    student, said = _student(recipe, arm, seed, teacher, folder)
    own = api.evaluate(student, recipe.data, task).accuracy
    measures: dict[str, float] = {}
    for target in arm.experiment["targets"]:
        other, floor, best = _bounds(recipe.name, target, teacher["path"], arm.experiment.get("fine_tune"))
        score = other.score(student, task)
        share = normalised(score.probe, floor.probe, best.probe)
        measures[f"{target} probe"] = 100 * score.probe
        if share is not None:
            measures[f"{target} normalised"] = 100 * share
        if score.fine_tune is not None:
            measures[f"{target} fine-tuned"] = 100 * score.fine_tune
    return {"accuracy": own, "steps": arm.steps, "measures": measures, **said}


def _student(
    recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path
) -> tuple[nn.Module, dict[str, Any]]:
    if arm.method == "random-init":
        return _untrained(recipe, seed, teacher["path"]), {"cost": {}}
    if arm.method == "real-data":
        session = ceiling(recipe, arm, seed, teacher)
        return session.student.eval(), {"cost": dict(session.context.counters.values)}
    result = distilled(recipe, arm, seed, teacher, folder / "run")
    return result.student, of_run(result)


def _untrained(recipe: Recipe, seed: int, path: str) -> nn.Module:
    assert recipe.teacher is not None
    task = load_task(recipe.task)
    with Streams(seed).as_global("student"):
        return load_student(recipe.student, load_teacher(f"{recipe.teacher.network}@{path}", task), task).module.eval()


@cache
def _bounds(name: str, target: str, path: str, steps: int | None) -> tuple[OtherTask, Score, Score]:
    """The other task, and on it the floor and the ceiling of the recipe `name`: the same for all of its arms."""
    from ..recipes import find_recipe

    recipe = find_recipe(name)
    assert recipe.teacher is not None
    task = load_task(recipe.task)
    other = OtherTask(target, task, Runtime(), FINE_TUNE_STEPS if steps is None else steps)
    best = load_teacher(f"{recipe.teacher.network}@{path}", task)
    return other, other.floor(_untrained(recipe, 0, path)), other.score(best.module, task, tune=False)
