"""A student that hears spoken digits, and its accuracy on real clips, of which it never met one.

The teacher learnt real speakers with their labels, once. The method 'real-data' is taught by it on those clips: the
ceiling. Of a recipe's `data`: 'fsdd', whose official test takes are met once, after the last step; or 'fsdd-held-out',
the first training takes, with a teacher that did not learn them: settings are chosen there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ...api.distill import distill
from ...api.evaluate import evaluate
from ...api.result import Result
from ...engine.session import Session
from ...files import sha256
from ...tasks import Task, load_task
from ...teachers.specs import load_teacher
from ..real_data import RealData
from ..recipes.model import Arm, Recipe
from ..spoken import NETWORK, ensure_teacher, real_set
from ..students import ceiling, drawn
from . import distil

PARTS = {"fsdd": ("train", "test"), "fsdd-held-out": ("fit", "held-out")}
"""Data of the recipe -> (what its teacher learnt, what students are measured on)."""


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm."""
    task, (learnt, met) = load_task(recipe.task), PARTS[recipe.data]
    path = ensure_teacher(task, learnt)
    spec = f"{NETWORK}@{path}"
    if arm.method == "real-data":
        session = on_real_data(recipe, arm, seed, task, spec, learnt)
        score = evaluate(session.student.eval(), real_set(task, met), session.task, load_teacher(spec, task))
        figures: dict[str, Any] = {"steps": arm.steps, "cost": dict(session.context.counters.values)}
        measured: dict[str, float] = {}
    else:
        result = distill(
            spec, recipe.student, arm.method, f"{arm.steps}steps", folder / "run", seed, task=task, strict=True,
            preset=arm.preset, options=arm.options, settings={"threads": recipe.threads, **arm.run},
        )  # fmt: skip
        score = evaluate(result, real_set(task, met), teacher=load_teacher(spec, task))
        figures, measured = distil.of_run(result), of_labels(result)
    measured |= {"teacher": 100 * score.teacher_accuracy, "agreement": 100 * score.agreement}
    return {
        "accuracy": score.accuracy, **figures, "measures": measured, "teacher": {"sha256": sha256(path)},
    }  # fmt: skip


def of_labels(result: Result) -> dict[str, float]:
    """What the method says of its pseudo-labels: areas under curves in percent, shares too."""
    samples = result.summary["samples"]
    names = [name for name in samples if name.startswith("auc_") or name in ("kept", "teacher_hears_text")]
    return {name.removeprefix("auc_").replace("_", " "): 100 * samples[name] for name in names}


def on_real_data(recipe: Recipe, arm: Arm, seed: int, task: Task, spec: str, learnt: str) -> Session:
    """The same student, taught by the same teacher on the real clips that it learnt, at the end of its steps."""
    teacher, data = load_teacher(spec, task), real_set(task, learnt)
    student = drawn(recipe.student, seed, teacher, task)
    method = RealData.on(data.packed, torch.from_numpy(data.labels))
    return ceiling(method, arm, seed, teacher, student.module, student.task)
