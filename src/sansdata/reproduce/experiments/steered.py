"""A student of images that a denoiser drew and the teacher steered, and what an independent judge takes them for.

Of an arm's `experiment`: prior, the domain of reproduce.generators whose denoiser it is. The recipe's first helper is
the judge: a network of the same task that took no part.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...api.evaluate import evaluate
from ...api.result import Result
from ...tasks import load_task
from ...teachers.specs import load_teacher
from ..generators import Pictures, domain_of
from ..recipes.model import Arm, Recipe
from .distil import distilled, of_run
from .service import named, share

SIDE, LOW, HIGH = 28, -0.5, 0.5
"""Of the pictures of both denoisers, and the range of their values."""


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; measures in percent of the images that the run kept: 'judge agrees', with the teacher's
    class; 'rarest class', by the judge; and 'class hit', that the teacher names the class it steered to."""
    result = distilled(recipe, _with_prior(arm), seed, teacher, folder / "run")
    judge = load_teacher(f"{recipe.helpers[0].network}@{teacher['helpers'][0]['path']}", load_task(recipe.task))
    return {
        "accuracy": evaluate(result, recipe.data).accuracy, "measures": _judged(result, judge), **of_run(result),
    }  # fmt: skip


def _with_prior(arm: Arm) -> Arm:
    if "prior" not in arm.experiment:
        return arm
    domain = domain_of(arm.experiment["prior"])
    assert isinstance(domain, Pictures)
    sides = {"inputs": {"kind": "noise", "shape": [1, SIDE, SIDE]}, "outputs": {"kind": "field", "range": [LOW, HIGH]}}
    prior = {"model": domain.teacher(load_task(sides)), "shape": [1, SIDE, SIDE], "low": LOW, "high": HIGH}
    return arm.model_copy(update={"options": {**arm.options, "prior": prior}})


def _judged(result: Result, judge: Any) -> dict[str, float]:
    with np.load(result.run_dir / "images.npz", allow_pickle=False) as kept:
        images, theirs = torch.from_numpy(kept["x"]), torch.from_numpy(kept["y"])
    names = named(judge.network, images.permute(0, 3, 1, 2).float().div(255))
    counts = torch.bincount(names, minlength=result.task.classes)
    hits = [one["value"] for one in result.summary["figures"] if one["name"] == "class_hit"]
    return {
        "judge agrees": 100 * share(names, theirs), "rarest class": 100 * float(counts.min()) / len(names),
        **({"class hit": 100 * hits[0]} if hits else {}),
    }  # fmt: skip
