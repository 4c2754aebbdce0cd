"""A student, by the arm's method or on the real images (the ceiling), and its accuracy on the test set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...api.distill import distill
from ...api.evaluate import evaluate
from ...api.result import Result
from ...compress.inherit import inherit
from ...datasets.images import load_images
from ...engine.session import Session
from ...tasks import load_task
from ...teachers.specs import load_teacher
from ..real_data import RealData
from ..recipes.model import Arm, Recipe
from ..students import ceiling, drawn
from ..supervised import tensors
from ..teachers import training_set


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; the test set is opened once, after the last step."""
    if arm.method == "real-data":
        session = on_real_data(recipe, arm, seed, teacher)
        score = evaluate(session.student.eval(), recipe.data, session.task)
        return {"accuracy": score.accuracy, "steps": arm.steps, "cost": dict(session.context.counters.values)}
    result = distilled(recipe, arm, seed, teacher, folder / "run")
    return {"accuracy": evaluate(result, recipe.data).accuracy, **of_run(result)}


def distilled(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], out: Path) -> Result:
    """A strict run of the arm's method in the new directory `out`."""
    assert recipe.teacher is not None
    others = dict(arm.run)
    pool = others.pop("pool", None)
    settings = {"features": arm.features, "threads": recipe.threads, "inherit": arm.inherit, **others}
    return distill(
        f"{recipe.teacher.network}@{teacher['path']}", recipe.student, arm.method, f"{arm.steps}steps", out, seed,
        task=load_task(recipe.task), strict=True, preset=arm.preset, options=arm.options, pool=pool, settings=settings,
    )  # fmt: skip


def with_pool(arm: Arm, folder: Path) -> Arm:
    """The arm with the pool that its experiment names, the training images of a known set, written into `folder`."""
    if "pool" not in arm.experiment:
        return arm
    file = folder / "pool.npz"
    np.savez(file, x=load_images(arm.experiment["pool"], None, "train").images)
    return arm.model_copy(update={"run": arm.run | {"pool": file}})


def of_run(result: Result) -> dict[str, Any]:
    """What every run says of itself."""
    summary = result.summary
    return {
        "agreement": summary["agreement"]["last"], "score": (summary["score"] or {}).get("last"),
        "steps": summary["steps"], "cost": summary["cost"],
        "class_entropy": summary["samples"].get("class_entropy"),
        "warnings": [warning["name"] for warning in summary["warnings"]],
    }  # fmt: skip


def on_real_data(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any]) -> Session:
    """Ordinary distillation on the training set, at the end of its steps."""
    assert recipe.teacher is not None
    task = load_task(recipe.task)
    loaded = load_teacher(f"{recipe.teacher.network}@{teacher['path']}", task)
    student = drawn(recipe.student, seed, loaded, task).module
    if arm.inherit:
        inherit(student, loaded.module)
    return ceiling(RealData.on(*tensors(training_set(recipe))), arm, seed, loaded, student, task)
