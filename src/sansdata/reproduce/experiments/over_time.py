"""A student whose accuracy on the test set is followed over the run: its mean, its spread, its worst and its drops.

Without data nobody can pick the good moment of a run, so these count for more than the last or the best accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ...api.result import Result
from ...datasets.images import load_images
from ...engine.selection import snapshots
from ...evaluate.snapshots import accuracy_over_time
from ...network import Network
from ..recipes.model import Arm, Recipe
from .distil import distilled, of_run

MOMENTS = 32
"""Even moments of the run at which a student is kept."""
SETTLED = 0.25
"""Share of the run that is left out: there the student still rises."""


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; all its students meet the test set after the last step."""
    watched = arm.model_copy(update={"run": arm.run | {"engine": {"snapshots": MOMENTS, "sample_grids": 0}}})
    result = distilled(recipe, watched, seed, teacher, folder / "run")
    kept = snapshots(result.run_dir / "snapshots")
    accuracies = accuracy_over_time(
        Network.of(result.student, result.task), kept, load_images(recipe.data, result.task), result.task
    )
    shares = {int(step): accuracy for step, accuracy in accuracies.items()}
    return {
        "accuracy": shares[arm.steps],
        "measures": over_time(shares) | conflict(result),
        "over_time": {str(step): round(100 * share, 2) for step, share in shares.items()},
        **of_run(result),
    }


def over_time(accuracies: Mapping[int, float]) -> dict[str, float]:
    """Student step -> accuracy 0..1, as figures in percent points of the part of the run after the first rise.

    The largest drop is from one moment to the next; 0 where there is none.
    """
    last = max(accuracies)
    settled = [100 * accuracies[step] for step in sorted(accuracies) if step > SETTLED * last]
    drops = [before - after for before, after in pairwise(settled)]
    return {
        "mean over time": mean(settled), "deviation over time": stdev(settled), "worst": min(settled),
        "largest drop": max(0.0, *drops),
    }  # fmt: skip


def conflict(result: Result) -> dict[str, float]:
    """The mean cosine of the gradients of acquiring and retaining, where the update logs it."""
    cosines = [line["losses"].get("transfer/alignment") for line in result.metrics if line["progress"] > SETTLED]
    logged = [value for value in cosines if value is not None]
    return {"alignment": mean(logged)} if logged else {}
