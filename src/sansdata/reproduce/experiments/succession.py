"""A student that begins with the generator and the images of an earlier student's run.

Of an arm's `experiment`: earlier, the student steps of that run, which has another seed and the arm's own settings; its
time does not count. Without it the student begins with nothing.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ...api.evaluate import evaluate
from ..recipes.model import Arm, Recipe
from .distil import distilled, of_run

APART = 1000
"""Between the seeds of a student and of the one before it."""


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; the test set is opened once, after the last step."""
    own = arm.run
    if steps := arm.experiment.get("earlier"):
        before = arm.model_copy(update={"steps": steps})
        own = own | {"images_of": str(distilled(recipe, before, seed + APART, teacher, folder / "earlier").run_dir)}
    start = time.process_time()
    result = distilled(recipe, arm.model_copy(update={"run": own}), seed, teacher, folder / "run")
    seconds = time.process_time() - start
    accuracy = evaluate(result, recipe.data).accuracy
    return {"accuracy": accuracy, "measures": {"seconds of its own": seconds}, **of_run(result)}
