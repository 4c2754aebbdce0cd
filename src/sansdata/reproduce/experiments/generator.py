"""A generator in one step, and how its samples lie beside real ones and beside its teacher's own.

Of an arm's `experiment`: student, where it is not the recipe's. An arm of the method 'teacher' is no student: the
teacher's own sampler in options['steps'] steps. Seeds decide the noises of the test too, the same for all arms.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...api.distill import distill
from ...files import sha256
from ...tasks import Task, load_task
from ...teachers.specs import load_teacher
from ..generators import Judged, domain_of
from ..recipes.model import Arm, Recipe
from . import distil

TEST_SEED = 88_000
BATCH = 500
TIMED = 200
"""Samples of which the seconds are measured."""


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm: no accuracy, which samples do not have. Real samples are opened after the last step."""
    task, domain = load_task(recipe.task), domain_of(recipe.data)
    spec = domain.teacher(task)
    denoiser = load_teacher(spec, task).capability("denoises")
    if arm.method == "teacher":
        steps = int(arm.options["steps"])
        figures: dict[str, Any] = {"steps": 0, "cost": {}}

        def draw(noise: Tensor) -> Tensor:
            return denoiser.sample(noise, steps=steps)
    else:
        result = distill(
            spec, arm.experiment.get("student", recipe.student), arm.method, f"{arm.steps}steps", folder / "run", seed,
            task=task, strict=True, preset=arm.preset, options=arm.options,
            settings={"threads": recipe.threads, "device": "cpu", **arm.run},
        )  # fmt: skip
        draw, figures = result.student.eval(), distil.of_run(result)
    judged = Judged(
        noise_of(task, domain.count, seed), lambda noise: in_parts(draw, noise),
        lambda noise: in_parts(lambda part: denoiser.sample(part, steps=domain.reference), noise), seed,
    )  # fmt: skip
    seconds = timed(draw, judged.noise[:TIMED])
    measures = {**domain.judge(judged), "seconds per 1,000": 1000 * seconds / min(TIMED, domain.count)}
    path = Path(spec.partition("@")[2])
    return {**figures, "accuracy": None, "measures": measures, "teacher": {"sha256": sha256(path)}}


def noise_of(task: Task, count: int, seed: int) -> Tensor:
    return torch.randn(count, *task.inputs.shape, generator=torch.Generator().manual_seed(TEST_SEED + seed))


@torch.no_grad()
def in_parts(draw: Callable[[Tensor], Tensor], noise: Tensor) -> Tensor:
    return torch.cat([draw(part) for part in noise.split(BATCH)])


def timed(draw: Callable[[Tensor], Tensor], noise: Tensor) -> float:
    """CPU seconds of a pass over `noise`."""
    start = time.process_time()
    in_parts(draw, noise)
    return time.process_time() - start
