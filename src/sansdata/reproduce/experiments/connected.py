"""A recogniser's student of fewer decoder layers, and its word errors on real digits that are said one after another.

The student learns from speech of programs alone. Of an arm's `experiment`: `digits`, in one utterance; `texts`, how
many different ones are said; `samples`, how long a sound is where not as in the recipe's task. The method 'untrained'
is the student as it begins, with the layers that it was given; 'teacher' is no student at all. Of a recipe's `data`:
'fsdd', whose official test takes are met once; or 'fsdd-held-out', on which settings are chosen.
"""

from __future__ import annotations

from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch

from ...api.distill import distill
from ...datasets.labelled import KindSet
from ...evaluate.labelled import Predict, answers
from ...figures import values
from ...kinds.outputs.transcript import Transcripts, error_rates
from ...network import Network
from ...teachers.base import Teacher
from ...teachers.specs import load_teacher
from ...teachers.students import load_student
from ..connected import figure_errors, heard_by, real_sequences, sequences, whisper_folder
from ..recipes.model import Arm, Recipe
from . import distil
from .spoken import of_labels

PARTS = {"fsdd": "test", "fsdd-held-out": "held-out"}
BATCH = 10


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; 'accuracy' is the share of utterances without an error."""
    assert isinstance(recipe.task, dict)
    own_files, digits = whisper_folder(), arm.experiment["digits"]
    inputs = recipe.task["inputs"]
    inputs = {**inputs, "length": arm.experiment.get("samples", inputs["length"])}
    task, spec = heard_by(own_files, {**recipe.task, "inputs": inputs}), str(own_files)
    whole, began = load_teacher(spec, task), process_time()
    figures: dict[str, Any] = {"steps": 0, "cost": {}}
    measured: dict[str, float] = {}
    model: Predict | Teacher = whole
    if arm.method == "untrained":
        model = Network.of(load_student(recipe.student, whole, task).module.eval(), whole.task)
    elif arm.method != "teacher":
        texts = folder / "texts.txt"
        texts.write_text("\n".join(sequences(arm.experiment["texts"], digits, seed)))
        result = distill(
            spec, recipe.student, arm.method, f"{arm.steps}steps", folder / "run", seed, task=task,
            strict=True, preset=arm.preset, options={**arm.options, "texts": str(texts)},
            settings={"threads": recipe.threads, **arm.run},
        )  # fmt: skip
        model, figures, measured = (
            Network.of(result.student.eval(), result.task),
            distil.of_run(result),
            of_labels(result),
        )
    spent, data = process_time() - began, real_sequences(whole.task, PARTS[recipe.data], digits)
    theirs = errors(whole, data)
    own = theirs if model is whole else errors(model, data)
    measured |= {
        **own, "teacher's word errors": theirs["word errors"],
        "less than the teacher's": theirs["word errors"] - own["word errors"], "teacher's whole": theirs["whole"],
        "teacher's runaway": theirs["runaway"], "CPU minutes of distilling": spent / 60,
    }  # fmt: skip
    return {
        "accuracy": own["whole"] / 100, **figures, "measures": measured,
        "teacher": {"sha256": whole.sha256},
    }  # fmt: skip


def errors(model: Predict | Teacher, data: KindSet) -> dict[str, float]:
    """In percent: words, each figure one; letters as written; utterances that are whole; those that ran away."""
    kind = Transcripts(data.task.outputs)
    transcripts = [
        text for start in range(0, len(data), BATCH)
        for text in _said(model, data.subset(np.arange(start, min(start + BATCH, len(data)))), kind)
    ]  # fmt: skip
    references = kind.texts(torch.from_numpy(data.labels))
    rates = values(error_rates(references, transcripts))
    whole = [figure_errors([one], [two]) == 0 for one, two in zip(references, transcripts)]
    return {
        "word errors": 100 * figure_errors(references, transcripts), "as written": 100 * rates["wer"],
        "whole": 100 * float(np.mean(whole)), "runaway": 100 * rates["runaway"],
    }  # fmt: skip


def _said(model: Predict | Teacher, data: KindSet, kind: Transcripts) -> list[str]:
    """A few at a time: an answer is a number for each place and each token of the vocabulary."""
    return kind.texts(kind.tokens(torch.from_numpy(answers(model, data, data.task))))
