"""A student that names a class for each pixel, and its mean IoU on the test set.

Of an arm's `experiment`: teacher, a network of the zoo, trained on the training masks for `teacher_steps`; pool, a set
whose training images are given to a method that needs some. The method 'real-data' is taught on the training images
instead of its own: the ceiling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...api.distill import distill
from ...api.evaluate import evaluate
from ...datasets.images import load_images
from ...decoding.shape import resize, to_channels
from ...engine.session import Session
from ...evaluate.labelled import Evaluation
from ...files import sha256
from ...tasks import Task, load_task
from ...teachers.specs import load_teacher
from ..real_data import RealData
from ..recipes.model import Arm, Recipe
from ..segmenters import ensure_segmenter, training_masks
from ..students import ceiling, drawn
from . import distil

HELD_OUT = 0.2
"""Of the training masks, for choosing settings."""
POOL = 5000


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm, 'accuracy' is the mean IoU; the test set is opened once, after the last step."""
    task, network = load_task(recipe.task), arm.experiment["teacher"]
    path = ensure_segmenter(recipe.data, task, network, arm.experiment["teacher_steps"], HELD_OUT)
    spec = f"{network}@{path}"
    if arm.method == "real-data":
        session = on_real_data(recipe, arm, seed, task, spec)
        score = evaluate(session.student.eval(), recipe.data, session.task, spec)
        figures: dict[str, Any] = {"steps": arm.steps, "cost": dict(session.context.counters.values)}
    else:
        pool = folder / "pool.npz"
        if arm.experiment.get("pool"):
            np.savez(pool, x=unrelated(arm.experiment["pool"], task))
        result = distill(
            spec, recipe.student, arm.method, f"{arm.steps}steps", folder / "run", seed, task=task, strict=True,
            preset=arm.preset, options=arm.options, pool=str(pool) if arm.experiment.get("pool") else None,
            settings={"threads": recipe.threads, **arm.run},
        )  # fmt: skip
        score = evaluate(result, recipe.data, teacher=spec)
        figures = distil.of_run(result)
    return {"accuracy": score.mean_iou, **figures, "measures": measures(score), "teacher": {"sha256": sha256(path)}}


def unrelated(name: str, task: Task) -> np.ndarray:
    """POOL training images of a known set of classes, in the size of the task: uint8 (N, H, W, C)."""
    images = load_images(name, None, "train").images[:POOL]
    channels, height, width = task.shape
    return resize(images if images.shape[3] == channels else to_channels(images, channels), height, width)


def on_real_data(recipe: Recipe, arm: Arm, seed: int, task: Task, spec: str) -> Session:
    """The same student, taught by the same teacher on the real training images, at the end of its steps."""
    teacher = load_teacher(spec, task)
    student = drawn(recipe.student, seed, teacher, task)
    images, _ = training_masks(recipe.data, task, HELD_OUT)
    method = RealData.on(images.packed, torch.from_numpy(images.labels))
    return ceiling(method, arm, seed, teacher, student.module, student.task)


def measures(score: Evaluation) -> dict[str, float]:
    """In percent; HD95 in pixels."""
    return {
        "Dice": 100 * score.mean_dice, "pixels": 100 * score.pixel_accuracy, "boundary F1": 100 * score.boundary_f1,
        "HD95": score.hd95, "agreement": 100 * score.agreement, "teacher's mIoU": 100 * score.teacher_mean_iou,
    }  # fmt: skip
