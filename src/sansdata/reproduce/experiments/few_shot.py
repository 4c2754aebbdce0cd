"""A meta model of a panel of APIs, and how well a few labelled images adapt it to classes that no API knew.

Of an arm's `experiment`: panel (fields of reproduce.panels.PanelRecipe), tasks, shots; on: 'test' (default) or
'validation', on whose classes settings are chosen. 'accuracy' is the mean over tasks drawn from the test images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...api.distill import distill
from ...api.evaluate import evaluate
from ...datasets.fit import fit_shape
from ...datasets.images import load_images
from ...methods.bidf_mkd import BiDfMKDConfig
from ...methods.index import method_config
from ..panels import PanelRecipe, ensure_panel
from ..recipes.model import Arm, Recipe


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; the test images are opened after the last step."""
    described = PanelRecipe.model_validate(arm.experiment["panel"])
    config: BiDfMKDConfig = method_config(arm.method, arm.preset, arm.options)
    panel = ensure_panel(described, "gradients" if config.recovery == "exact" else "scores")
    result = distill(
        str(panel), recipe.student, arm.method, f"{arm.steps}steps", folder / "run", seed, preset=arm.preset,
        options=arm.options, strict=True, settings={"threads": recipe.threads, **arm.run},
    )  # fmt: skip
    data = fit_shape(load_images(described.data, None, "test"), described.shape)
    names = [data.class_names[one] for one in getattr(described, arm.experiment.get("on", "test"))]
    tasks = {"tasks": arm.experiment["tasks"], "shots": arm.experiment["shots"], "classes": names, "seed": seed}
    measured = evaluate(result, data, few_shot=tasks)
    made, cost = result.summary["samples"], result.summary["cost"]
    return {
        "accuracy": measured.few_shot_accuracy, "steps": arm.steps, "cost": cost,
        "measures": {
            "random start": 100 * measured.random_start_accuracy,
            "gain": 100 * measured.gain,
            "beyond both intervals": 100 * (measured.few_shot_accuracy_interval[0]
                                            - measured.random_start_accuracy_interval[1]),
            "recovery": 100 * made["recovery_accuracy"],
            "outer gradient": made["outer_gradient"],
            "queries, M": cost["teacher_forwards"] / 1e6,
            "off formula": cost["teacher_forwards"] - config.queries_of(described.ways, arm.steps),
        },
    }  # fmt: skip
