"""A student of a detector of weak contracts, on fragments that share no body with those of the detector; the fold is
the seed's.

Of an arm's `experiment`: shuffled (the teacher's answers are dealt out to other samples: the floor of labels), teacher
('majority', 'raw-split': no student; what a constant, or a detector on a split that does not look at bodies, would be
said to reach). F1 is of the weak class, in percent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...engine.session import Session
from ...errors import MethodError
from ...methods.af_stip import AFStip
from ...methods.index import method_config
from ...models.build import architecture_of, build
from ...runtime import Runtime
from ...streams import Streams
from ...tasks import PairTask
from ...teachers.base import Teacher
from .. import contracts
from ..real_data import RealData, RealDataConfig
from ..recipes.model import Arm, Recipe
from ..texts import Texts, classes_of, train_classifier

STEPS, LR, BATCH = 80, 2e-3, 32
"""Of a detector."""


class Shuffled(AFStip):
    """The same fragments, with the answers to others."""

    def acquire(self) -> Any:
        losses = super().acquire()
        assert self.pool.logits is not None
        kept = self.pool.logits[: len(self.pool)]
        order = torch.randperm(len(kept), generator=self.context.streams("shuffle"))
        self.pool.logits[: len(kept)] = kept[order]
        return losses


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm on one fold; the fold's fragments are opened after the last step."""
    task, number, kind = contracts.task(), seed % contracts.FOLDS, arm.experiment.get("teacher", "distinct")
    train, test = split(kind, number)
    if kind == "majority":
        return _figures(np.zeros(len(test), np.int64), None, test, {"steps": 0, "cost": {}})
    detector, truth = detector_of(kind, number), test.read(task)
    known = classes_of(detector, truth)
    if kind == "raw-split":
        return _figures(known, None, test, {"steps": 0, "cost": {}})
    try:
        session = taught(arm, seed, task, Teacher.from_module(detector, task), train)
    except MethodError as refusal:
        constant = np.zeros(len(test), np.int64)
        return _figures(constant, known, test, {"steps": 0, "cost": {}, "warnings": [str(refusal)[:200]]})
    predicted = classes_of(session.student, truth)
    figures = _figures(predicted, known, test, {"steps": arm.steps, "cost": dict(session.context.counters.values)})
    others = contracts.smartbugs().read(task)
    same = classes_of(session.student, others) == classes_of(detector, others)
    figures["measures"]["agreement, SmartBugs"] = 100 * float(same.mean())
    if isinstance(session.method, AFStip):
        figures["measures"]["samples called weak"] = weak_share(session.method)
    return figures


def split(kind: str, number: int) -> tuple[Texts, Texts]:
    """(training, test) fragments of a fold: of bodies, or of the raw file, in which most are copies."""
    whole = contracts.raw("reentrancy")
    return contracts.fold(whole if kind == "raw-split" else contracts.distinct(whole), number)


@cache
def detector_of(kind: str, number: int) -> nn.Module:
    """A detector on the training fragments of a fold, always the same."""
    task, (train, _) = contracts.task(), split(kind, number)
    with Streams(0).as_global("teacher"):
        module = build(architecture_of("fused-gru", task))
    epochs = max(2, STEPS // (len(train) // BATCH))
    return train_classifier(module, train.read(task), epochs, LR, BATCH, hidden=0.1, balance=True)


def taught(arm: Arm, seed: int, task: PairTask, teacher: Teacher, train: Texts) -> Session:
    """A student at the end of its steps: by the arm's method, or on the detector's own fragments."""
    with Streams(seed).as_global("student"):
        student = build(architecture_of("gru", task))
    method: Callable[..., Any] = Shuffled if arm.experiment.get("shuffled") else AFStip
    if arm.method == "real-data":
        data = train.read(task)
        method = RealData.on(data.packed, torch.from_numpy(data.labels))
        config: Any = RealDataConfig.model_validate(arm.options)
    else:
        config = method_config(arm.method, arm.preset, arm.options)
    session = Session(method, config, teacher, student, task, Runtime(), seed, arm.steps)  # type: ignore[arg-type]
    while session.context.progress.steps < arm.steps:
        session.move()
    session.student.eval()
    return session


def weak_share(method: AFStip) -> float:
    """Percent of what was made that the teacher calls weak."""
    pool = method.pool
    assert pool.targets is not None
    return 100 * float(pool.targets[: len(pool)].float().mean())


def f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Of class 1, in percent."""
    hits = int(((truth == 1) & (predicted == 1)).sum())
    return 200 * hits / max(1, int((truth == 1).sum() + (predicted == 1).sum()))


def mcc(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Matthews' correlation in percent; 0 of a constant."""
    from sklearn.metrics import matthews_corrcoef

    return 100 * float(matthews_corrcoef(truth, predicted))


def _figures(predicted: np.ndarray, teacher: np.ndarray | None, test: Texts, rest: dict[str, Any]) -> dict[str, Any]:
    """teacher: what it takes the same fragments for, where there is a student beside it."""
    measures = {"F1": f1(test.labels, predicted), "MCC": mcc(test.labels, predicted)}
    if teacher is not None:
        of_teacher = f1(test.labels, teacher)
        measures |= {
            "agreement": 100 * float((predicted == teacher).mean()), "teacher F1": of_teacher,
            "F1 beyond 80 % of the teacher's": measures["F1"] - 0.8 * of_teacher,
        }  # fmt: skip
    return {"accuracy": float((predicted == test.labels).mean()), "measures": measures, **rest}
