"""A student trained at few bits, or in float and rounded afterwards, and what its file weighs.

A float arm gives the measures 'w4', 'w2', 'w1': its accuracy once its weights are rounded to the same grids without
training. An arm at few bits gives its own accuracy under the name of its weights' bits, and 'file': its student file in
percent of the same network's in float. The method 'hard-labels' is 'pool-kd' with cross-entropy on the class that the
teacher names.
Of an arm's `experiment`: pool: whether it learns from the training images without their labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...api.distill import distill
from ...api.evaluate import evaluate
from ...api.result import Result
from ...compress.few_bits import released, view
from ...contracts import Batch, Forward, Losses
from ...kinds.index import input_kind
from ...methods.pool_kd import PoolKD
from ...models.copying import duplicate
from ...models.saved import read_model, write_model
from ...network import Network
from ...objectives.logits import cross_entropy
from ...tasks import Task, load_task
from ..recipes.model import Arm, Recipe
from ..teachers import training_set
from .distil import of_run

GRIDS = (4, 2, 1)


class HardLabels(PoolKD):
    """Of the teacher's answers only the class."""

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        losses, outputs = Losses(), student(batch.inputs)
        losses.add("match", 1, lambda: cross_entropy(outputs.logits, batch.answers().logits.argmax(1)))
        return losses


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; the test set is opened after the last step."""
    assert recipe.teacher is not None
    task, pool = load_task(recipe.task), None
    if arm.experiment.get("pool"):
        pool = folder / "pool.npz"
        folder.mkdir(exist_ok=True)
        np.savez(pool, x=training_set(recipe).images)
    result = distill(
        f"{recipe.teacher.network}@{teacher['path']}", recipe.student,
        HardLabels if arm.method == "hard-labels" else arm.method, f"{arm.steps}steps", folder / "run", seed,
        task=task, strict=True, preset=arm.preset, options=arm.options, pool=pool,
        settings={"features": arm.features, "threads": recipe.threads, **arm.run},
    )  # fmt: skip
    accuracy = evaluate(result, recipe.data).accuracy
    return {"accuracy": accuracy, "measures": _measures(recipe, arm, result, accuracy), **of_run(result)}


def _measures(recipe: Recipe, arm: Arm, result: Result, accuracy: float) -> dict[str, float]:
    task = result.task
    if "bits" in arm.run:
        share = 100 * _bytes(result) / _bytes_in_float(result)
        return {str(arm.run["bits"]): 100 * accuracy, "file": share}
    rounded = {f"w{bits}": _rounded(result.student, task, bits) for bits in GRIDS}
    return {name: 100 * evaluate(module, recipe.data, task).accuracy for name, module in rounded.items()}


def _rounded(student: nn.Module, task: Task, bits: int) -> nn.Module:
    """The float student with its weights on the grid, nothing trained."""
    module, kind = duplicate(student), input_kind(task)
    inputs = Network.of(module, task).preprocessor(kind.draw(2, torch.Generator().manual_seed(0)))
    view(module, inputs, bits)
    return released(module)


def _bytes(result: Result) -> int:
    return (result.run_dir / "student.safetensors").stat().st_size


def _bytes_in_float(result: Result) -> int:
    """Of the same network, written as one in float is."""
    saved = read_model(result.run_dir / "student.safetensors")
    plain = result.run_dir / "float.safetensors"
    write_model(plain, result.student, saved.architecture, saved.task, saved.provenance)
    return plain.stat().st_size
