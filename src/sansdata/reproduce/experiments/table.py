"""A student of a scikit-learn model that was fitted on real rows of a table, and how near it comes on the test rows.

Of an arm's `experiment`: teacher, 'forest' or 'boosted' (trees of a histogram); columns, 'shuffled' to take from the
training rows what their columns have to do with one another. The method 'real-data' is taught on the training rows
instead of its own: the ceiling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ...api.distill import distill
from ...api.evaluate import evaluate
from ...api.result import Result
from ...columns import Inputs
from ...datasets.labelled import KindSet
from ...datasets.load import load_set
from ...engine.session import Session
from ...evaluate.labelled import Evaluation
from ...kinds.index import input_kind
from ...kinds.inputs.table import Table
from ...tasks import PairTask, load_task
from ...teachers.base import Teacher
from ..real_data import RealData
from ..recipes.model import Arm, Recipe
from ..students import ceiling, drawn
from . import distil


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; the test rows are opened once, after the last step."""
    task = load_task(recipe.task)
    assert isinstance(task, PairTask)
    trees = fit(arm.experiment["teacher"], recipe, task)
    if arm.method == "real-data":
        session = on_real_data(recipe, arm, seed, task, trees)
        score = evaluate(session.student.eval(), recipe.data, session.task, trees)
        figures = {"steps": arm.steps, "cost": dict(session.context.counters.values)}
    else:
        result = distilled(recipe, arm, seed, trees, folder / "run")
        score = evaluate(result, recipe.data, teacher=trees)
        figures = distil.of_run(result)
    of_all = measures(score) | {"queries": figures["cost"]["teacher_forwards"]}
    return {"accuracy": score.accuracy, **figures, "measures": of_all}


def fit(kind: str, recipe: Recipe, task: PairTask) -> Teacher:
    """The teacher `kind`, fitted on the training rows, always the same.

    It is given in Python, because a file of boosted trees that know categories names functions, which are not read.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

    rows, table = training_rows(recipe, task), input_kind(task)
    assert isinstance(table, Table)
    matrix = table.preprocessor({"door": "matrix"})(rows.packed)
    assert isinstance(matrix, torch.Tensor)
    model: Any
    if kind == "forest":
        # Leaves of five rows where rows are many: those of one row would make the forest a hundred times as large.
        model = RandomForestClassifier(100, min_samples_leaf=5 if len(rows) > 5000 else 1, random_state=0)
    else:
        levels = [bool(column.levels) for column in table.spec.columns]
        categories: Any = levels if any(levels) else None
        model = HistGradientBoostingClassifier(categorical_features=categories, random_state=0)
    model.fit(matrix.numpy(), rows.labels)
    return Teacher.from_scores(model, task)


def training_rows(recipe: Recipe, task: PairTask) -> KindSet:
    """All of them: nothing is held out of a teacher that is fitted once."""
    rows = load_set(recipe.data, task, "train")
    assert isinstance(rows, KindSet)
    return rows


def distilled(recipe: Recipe, arm: Arm, seed: int, teacher: Teacher, out: Path) -> Result:
    """A strict run of the arm's method in the new directory `out`."""
    settings = {"features": arm.features, "threads": recipe.threads, **arm.run}
    return distill(
        teacher, recipe.student, arm.method, f"{arm.steps}steps", out, seed, strict=True,
        preset=arm.preset, options=arm.options, settings=settings,
    )  # fmt: skip


def on_real_data(recipe: Recipe, arm: Arm, seed: int, task: PairTask, teacher: Teacher) -> Session:
    """The same student, taught by the same teacher on the real training rows, at the end of its steps."""
    student = drawn(recipe.student, seed, teacher, task)
    rows = training_rows(recipe, task)
    packed = shuffled(rows.packed, seed) if arm.experiment.get("columns") == "shuffled" else rows.packed
    method = RealData.on(packed, torch.from_numpy(rows.labels))
    return ceiling(method, arm, seed, teacher, student.module, student.task)


def shuffled(packed: Inputs, seed: int) -> Inputs:
    """The same rows, each column in an order of its own: every column is as common as it was, and knows of no other."""
    assert not isinstance(packed, torch.Tensor)
    columns = {name: values.clone() for name, values in packed.items()}
    generator = torch.Generator().manual_seed(seed)
    numbers = columns["numbers"].shape[1]
    for place in range(columns["missing"].shape[1]):
        order = torch.randperm(len(columns["missing"]), generator=generator)
        side, inner = ("numbers", place) if place < numbers else ("categories", place - numbers)
        columns[side][:, inner] = columns[side][order, inner]
        columns["missing"][:, place] = columns["missing"][order, place]
    return columns


def measures(score: Evaluation) -> dict[str, float]:
    """In percent, or points of a percent for what the student lacks of its teacher."""
    return {
        "agreement": 100 * score.agreement,
        "AUROC": 100 * score.auroc,
        "AUROC behind": 100 * (score.teacher_auroc - score.auroc),
        "AUPRC": 100 * score.auprc,
        "AUPRC behind": 100 * (score.teacher_auprc - score.auprc),
    }
