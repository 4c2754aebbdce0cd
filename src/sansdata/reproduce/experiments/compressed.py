"""A student, and what the images it learnt from are worth for making trained networks smaller.

One run an arm gives all measures, in percent of the test set: '... w4a4', the network at 4 bits, calibrated with the
arm's images; '... pruned', the network with few weights, its BatchNorm statistics moved by them; '... recovered', the
same after it has learnt its answers again on them; '... agrees', the share of the arm's images on which the network
says what the teacher says.
Of an arm's `experiment`: helpers (networks asked in the inversion), quantize (network -> bits, each by itself), prune
(networks), keep, steps, judges (networks that say what they take the images for). The network 'teacher' is the
recipe's; others are its helpers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...api.compress import prune, quantize
from ...api.evaluate import evaluate
from ...kinds.index import input_kind
from ...tasks import load_task
from ..recipes.model import Arm, Recipe
from ..supervised import tensors
from ..teachers import training_set
from .distil import distilled, of_run, on_real_data

IMAGES = 1024
"""As many real images as a run keeps of its own."""


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; the test set is opened after the last step of each network."""
    task, files = load_task(recipe.task), {one["spec"]: one["path"] for one in teacher.get("helpers", ())}
    if arm.method == "real-data":
        session = on_real_data(recipe, arm, seed, teacher)
        accuracy = evaluate(session.student.eval(), recipe.data, task).accuracy
        facts: dict[str, Any] = {"steps": arm.steps, "cost": dict(session.context.counters.values)}
        images: Path | Tensor = real_images(tensors(training_set(recipe))[0], seed)
    else:
        helped = [f"{name}@{files[name]}" for name in arm.experiment.get("helpers", ())]
        with_helpers = arm.model_copy(update={"run": {**arm.run, "helpers": helped}}) if helped else arm
        result = distilled(recipe, with_helpers, seed, teacher, folder / "run")
        accuracy, facts, images = evaluate(result, recipe.data).accuracy, of_run(result), result.run_dir
    files["teacher"] = teacher["path"]
    specs = {name: f"{teacher['spec'] if name == 'teacher' else name}@{path}" for name, path in files.items()}
    judged = {} if isinstance(images, Tensor) else _judged(specs, images, arm, recipe)
    return {"accuracy": accuracy, "measures": judged | _smaller(specs, images, arm, recipe, seed), **facts}


def _judged(specs: dict[str, str], run: Path, arm: Arm, recipe: Recipe) -> dict[str, float]:
    """What other networks say of the images that the run kept; their labels there are the teacher's."""
    task, kept = load_task(recipe.task), run / input_kind(load_task(recipe.task)).samples_file
    judges = arm.experiment.get("judges", ())
    return {f"{name} agrees": 100 * evaluate(specs[name], kept, task).accuracy for name in judges}


def _smaller(specs: dict[str, str], images: Path | Tensor, arm: Arm, recipe: Recipe, seed: int) -> dict[str, float]:
    """What the test set says of each network made smaller in each way."""
    task, how = load_task(recipe.task), arm.experiment
    made = {
        f"{name} w{bits}a{bits}": quantize(specs[name], images, bits, bits, task=task)
        for name, widths in how["quantize"].items()
        for bits in widths
    }
    for name in how["prune"]:
        for what, steps in (("pruned", 0), ("recovered", how["steps"])):
            made[f"{name} {what}"] = prune(specs[name], images, how["keep"], steps, task=task, seed=seed)
    return {name: 100 * evaluate(one.student, recipe.data, task).accuracy for name, one in made.items()}


def real_images(images: Tensor, seed: int) -> Tensor:
    """IMAGES of uint8 images (N, C, H, W), drawn for this seed."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images[order[:IMAGES]]
