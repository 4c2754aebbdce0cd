"""A student of a poisoned teacher, its accuracy on the test set, and how often the trigger works on it.

An arm's `experiment` names the teacher: network, epochs, attack and, where it is not 0, target; for a method that needs
a pool, a known set whose training images are given to it; and the student, where it is not the recipe's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...api.evaluate import attack_success, evaluate
from ...files import sha256
from ...tasks import load_task
from ..poisoned import ensure_poisoned_teacher
from ..recipes.model import Arm, Recipe, TeacherRecipe
from ..teachers import training_set
from .distil import distilled, of_run, on_real_data, with_pool


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; measures in percent: 'ASR', 'base rate', both figures of the teacher itself, and of the
    samples that a vaccine judged the share it found 'suspicious'."""
    settings = arm.experiment
    network, attack, target = settings["network"], settings["attack"], settings.get("target", 0)
    path = ensure_poisoned_teacher(training_set(recipe), str(recipe.task), network, attack, settings["epochs"], target)
    task, spec = load_task(recipe.task), f"{network}@{path}"
    of_teacher = attack_success(spec, recipe.data, attack, target, task)
    student_of = settings.get("student", recipe.student)
    poisoned = recipe.model_copy(update={"teacher": TeacherRecipe(network=network), "student": student_of})
    student: Any
    if arm.method == "real-data":
        session = on_real_data(poisoned, arm, seed, {"path": str(path)})
        student, figures = session.student.eval(), {"steps": arm.steps, "cost": dict(session.context.counters.values)}
    else:
        student = distilled(poisoned, with_pool(arm, folder), seed, {"path": str(path)}, folder / "run")
        figures = of_run(student)
    success = attack_success(student, recipe.data, attack, target, task)
    return figures | {
        "accuracy": evaluate(student, recipe.data, task).accuracy,
        "measures": {
            "ASR": 100 * success.rate, "base rate": 100 * success.base_rate, "teacher's ASR": 100 * of_teacher.rate,
            "teacher's accuracy": 100 * evaluate(spec, recipe.data, task).accuracy,
        } | _suspicious(figures["cost"]),
        "teacher": {"attack": attack, "sha256": sha256(path)},
    }  # fmt: skip


def _suspicious(cost: dict[str, Any]) -> dict[str, float]:
    judged = cost.get("vaccine_judged", 0)
    return {"suspicious": 100 * cost["vaccine_suspicious"] / judged} if judged else {}
