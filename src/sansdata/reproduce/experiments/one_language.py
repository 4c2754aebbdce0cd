"""A classifier of tweets in six languages, cut down to one; the language is the seed's.

Of an arm's `experiment`: least (how often a piece must occur in the language's texts), student (a spec that is then
taught by the cut network, the arm's method; None measures the cut network itself). The list of words is read off the
training texts of the language, without their labels; accuracy is that on its test texts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ...api.distill import distill
from ...api.trim import STUDENT, TASK, trim
from ...tasks import load_task
from ...teachers.specs import load_teacher
from ..recipes.model import Arm, Recipe
from ..texts import LANGUAGES, SETS, TextRecipe, classes_of, ensure_classifier
from . import distil
from .texts import measures


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm for one language."""
    language = LANGUAGES[seed % len(LANGUAGES)]
    spec, task = ensure_classifier(TextRecipe(**arm.experiment["teacher"]))
    train, test = SETS[f"xlmt-{language}"]()
    words = folder / "texts.txt"
    words.write_text("\n".join(" ".join(text.split()) for text in train.texts), encoding="utf-8")
    cut = trim(spec, words, folder / "cut", task=task, least=arm.experiment["least"])
    job = load_task(cut.folder / TASK)
    student: nn.Module = cut.module
    figures: dict[str, Any] = {"steps": 0, "cost": {}}
    if architecture := arm.experiment.get("student"):
        settings = {"threads": recipe.threads, "precision": "fp32"}
        result = distill(
            str(cut.folder / STUDENT), architecture, arm.method, f"{arm.steps}steps", folder / "run", seed, task=job,
            strict=True, preset=arm.preset, options=arm.options, settings=settings,
        )  # fmt: skip
        student, figures = result.student, distil.of_run(result)
    known = classes_of(load_teacher(spec, task).module, test.read(task))
    predicted = classes_of(student, test.read(job))
    accuracy = float((predicted == test.labels).mean())
    parameters = sum(parameter.numel() for parameter in student.parameters())
    of_both = measures(predicted, known, test.labels)
    of_both |= {"behind": of_both["teacher"] - 100 * accuracy, "parameters": 100 * parameters / cut.before[1]}
    return {"accuracy": accuracy, **figures, "measures": of_both}
