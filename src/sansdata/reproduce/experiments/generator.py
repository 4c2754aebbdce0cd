"""A generator in one step, and how its samples lie beside real ones and beside its teacher's own.

Of an arm's `experiment`: student, where it is not the recipe's; calls, in how many it is sampled, where it is to be
fewer than it has learnt; arms that differ in that alone have one student in common. An arm of the method 'teacher' is
no student: the teacher's own sampler in options['steps'] steps. Seeds decide the noises of the test too, the same for
all arms.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from functools import lru_cache, partial
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
        how = {"preset": arm.preset, "options": arm.options, "threads": recipe.threads, "run": arm.run}
        student, figures = _taught(
            spec, json.dumps(recipe.task), arm.experiment.get("student", recipe.student), arm.method,
            arm.steps, seed, json.dumps(how, sort_keys=True),
        )  # fmt: skip
        draw = student if "calls" not in arm.experiment else partial(student.sample, calls=arm.experiment["calls"])
    judged = Judged(
        noise_of(task, domain.count, seed), lambda noise: in_parts(draw, noise),
        lambda noise: in_parts(lambda part: denoiser.sample(part, steps=domain.reference), noise), seed,
    )  # fmt: skip
    seconds = timed(draw, judged.noise[:TIMED])
    measures = {**domain.judge(judged), "seconds per 1,000": 1000 * seconds / min(TIMED, domain.count)}
    path = Path(spec.partition("@")[2])
    return {**figures, "accuracy": None, "measures": measures, "teacher": {"sha256": sha256(path)}}


@lru_cache(maxsize=2)
def _taught(
    spec: str, task: str, student: str, method: str, steps: int, seed: int, how: str
) -> tuple[Any, dict[str, Any]]:
    """(the student of a strict run, its figures). task, how: JSON, so that equal ones are one student."""
    chosen = json.loads(how)
    with tempfile.TemporaryDirectory() as folder:
        result = distill(
            spec, student, method, f"{steps}steps", Path(folder) / "run", seed, task=load_task(json.loads(task)),
            strict=True, preset=chosen["preset"], options=chosen["options"],
            settings={"threads": chosen["threads"], "device": "cpu", **chosen["run"]},
        )  # fmt: skip
        return result.student.eval(), distil.of_run(result)


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
