"""A student of a classifier of texts that was trained on real ones, by the arm's method in a strict run or on the real
texts (the ceiling), and how far it agrees with its teacher on the test texts.

Of an arm's `experiment`: data (a name in reproduce.texts.SETS), teacher (fields of TextRecipe besides), writes: whether
its method steers the language model of reproduce.texts, unrelated: another set, whose training texts the method is
given as lines without labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...api.distill import distill
from ...runtime import Runtime
from ...teachers.specs import load_teacher
from ..real_data import RealData
from ..recipes.model import Arm, Recipe
from ..students import ceiling, drawn
from ..texts import SETS, TextRecipe, classes_of, ensure_classifier, ensure_writer
from . import distil


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; the test texts are opened after the last step."""
    described = TextRecipe(data=arm.experiment["data"], **arm.experiment.get("teacher", {}))
    spec, task = ensure_classifier(described)
    student: nn.Module
    if arm.method == "real-data":
        loaded = load_teacher(spec, task)
        student = drawn(recipe.student, seed, loaded, task).module
        data = SETS[described.data]()[0].read(task)
        method = RealData.on(data.packed, torch.from_numpy(data.labels))
        session = ceiling(method, arm, seed, loaded, student, task, Runtime())
        figures: dict[str, Any] = {"steps": arm.steps, "cost": dict(session.context.counters.values)}
    else:
        options = dict(arm.options)
        if arm.experiment.get("writes"):
            options["writer"] = str(ensure_writer())
        if unrelated := arm.experiment.get("unrelated"):
            options["texts"] = str(folder / "texts.txt")
            lines = (" ".join(text.split()) for text in SETS[unrelated]()[0].texts)
            (folder / "texts.txt").write_text("\n".join(lines), encoding="utf-8")
        settings = {"threads": recipe.threads, "precision": "fp32", **arm.run}
        result = distill(
            spec, recipe.student, arm.method, f"{arm.steps}steps", folder / "run", seed, task=task, strict=True,
            preset=arm.preset, options=options, settings=settings,
        )  # fmt: skip
        student, figures = result.student, distil.of_run(result)
    test = SETS[described.data]()[1].read(task)
    predicted, known = classes_of(student, test), classes_of(load_teacher(spec, task).module, test)
    return {
        "accuracy": float((predicted == test.labels).mean()),
        **figures,
        "measures": measures(predicted, known, test.labels),
    }


def measures(predicted: np.ndarray, known: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """In percent: of what the student says, and of what the teacher does, to the same texts."""
    return {"agreement": 100 * float((predicted == known).mean()), "teacher": 100 * float((known == truth).mean())}
