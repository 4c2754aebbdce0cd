"""A student of a teacher that is only asked, at a number of queries, and how it grows with them.

Of an arm's `experiment`: service, what the simulated API shows (the fields of teachers.service.offer); queries, the
budget, of which `steps` of the arm are what the method's formula makes; pool, where a method needs one, a known set
whose training images are given to it. At even moments of the run a student is kept;
all of them meet the test set after the last step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...api.distill import distill
from ...api.result import Result
from ...config import dump_yaml
from ...datasets.images import load_images
from ...engine import selection
from ...network import Network
from ...tasks import load_task
from ...teachers.base import Teacher
from ...teachers.specs import load_teacher
from ..recipes.model import Arm, Recipe
from .distil import of_run, with_pool

MOMENTS = 12
"""Even moments of the run at which a student is kept."""
AT_ONCE = 65_536
"""Images in a request of the simulated service: requests are no question here."""


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; 'agreement' is with the teacher on the test images, in percent."""
    assert recipe.teacher is not None
    network = f"{recipe.teacher.network}@{teacher['path']}"
    file = folder / "service.yaml"
    file.write_text(dump_yaml({"model": network, "batch": AT_ONCE, **arm.experiment["service"]}))
    arm = with_pool(arm, folder)
    result = distill(
        str(file), recipe.student, arm.method, f"{arm.experiment['queries']}queries", folder / "run", seed,
        task=load_task(recipe.task), strict=True, preset=arm.preset, options=arm.options, pool=arm.run.get("pool"),
        settings={"threads": recipe.threads, "engine": {"snapshots": MOMENTS, "sample_grids": 0, "log_every": 1}},
    )  # fmt: skip
    curve = over_queries(result, load_teacher(network, load_task(recipe.task)), recipe.data)
    last = curve[-1]
    return {
        "accuracy": last["accuracy"], "measures": {"agreement": 100 * last["agreement"], "queries": last["queries"]},
        "over_queries": [{name: round(value, 4) for name, value in point.items()} for point in curve],
        **of_run(result),
    }  # fmt: skip


def over_queries(result: Result, teacher: Teacher, data: str) -> list[dict[str, float]]:
    """Of each kept student the queries that were spent, its accuracy and its agreement with the teacher, 0..1."""
    queries = {line["step"]: line["queries"] for line in result.metrics}
    real = load_images(data, result.task)
    images = torch.from_numpy(real.images).permute(0, 3, 1, 2).float().div_(255)
    labels = torch.from_numpy(np.asarray(real.labels))
    known, curve = named(teacher.network, images), []
    student = Network.of(result.student, result.task)
    for step, snapshot in selection.snapshots(result.run_dir / "snapshots"):
        if selection.restore(student.module, snapshot):
            guesses = named(student, images)
            curve.append(
                {"queries": queries[step], "accuracy": share(guesses, labels), "agreement": share(guesses, known)}
            )
    return curve


@torch.no_grad()
def named(network: Network, images: torch.Tensor) -> torch.Tensor:
    """(N,) the class that a network in eval mode names."""
    network.module.eval()
    return torch.cat([network(part).logits.argmax(1) for part in images.split(500)])


def share(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one == other).float().mean().item()
