"""An image classifier on a labelled set, alone and beside its teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..datasets.imageset import ImageSet, check_labels
from ..errors import DataError, StudentError, TeacherError, UserError
from ..models.taps import logits_of
from ..tasks import ImageTask
from . import metrics

MAX_CONFUSION_CLASSES = 1_000
"""Beyond it the matrix would be larger than all else in a report."""

Predict = Callable[[Tensor], Any]
"""Images float32 (B, C, H, W) in 0..1 -> logits (B, K), or anything models.taps.logits_of understands."""


@dataclass(frozen=True)
class TeacherComparison:
    """accuracy: of the teacher. agreement: share of images on which both predict the same class.
    kl: mean KL(teacher || student), nats."""

    accuracy: float
    accuracy_interval: tuple[float, float]
    agreement: float
    agreement_interval: tuple[float, float]
    kl: float


@dataclass(frozen=True)
class Evaluation:
    """Figures on one set. Shares are in 0..1; intervals are Wilson's at 95 %.

    per_class_accuracy: None for a class without images. confusion (K, K): rows true, columns predicted; None above
    MAX_CONFUSION_CLASSES. nll in nats. brier summed over classes, 0..2. ece over the 15 bins of `reliability`.
    """

    count: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    per_class_accuracy: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...] | None
    mean_confidence: float
    ece: float
    reliability: tuple[metrics.ReliabilityBin, ...]
    nll: float
    brier: float
    teacher: TeacherComparison | None
    class_names: tuple[str, ...]
    source: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `json.dumps(..., allow_nan=False)` takes: what `evaluation.json` holds.

        The teacher's figures lie flat beside the model's: teacher_accuracy, agreement, kl, and the two intervals.
        """
        tree = asdict(self)
        tree["per_class"] = tree.pop("per_class_accuracy")
        teacher = tree.pop("teacher")
        if teacher is not None:
            tree["teacher_accuracy"] = teacher.pop("accuracy")
            tree["teacher_accuracy_interval"] = teacher.pop("accuracy_interval")
            tree |= teacher
        return tree


def evaluate_model(
    predict: Predict, data: ImageSet, task: ImageTask, teacher: Predict | None = None, batch_size: int = 256
) -> Evaluation:
    """Runs `predict` (and `teacher`, such as a teachers.Teacher) once over `data`, without gradient.

    A module must be in eval mode. Raises DataError where `data` does not fit the task, StudentError or TeacherError
    where the model's answer is not finite logits (B, K).
    """
    if data.shape != task.shape:
        raise DataError(
            f"{data.source}: images of (C, H, W) {data.shape}, the task takes {task.shape}; load them with this task"
        )
    check_labels(data.labels, task.classes, data.source)
    logits, teacher_logits = [], []
    for images, _ in data.batches(batch_size):
        logits.append(_answer(predict, images, task.classes, "the model", StudentError))
        if teacher is not None:
            teacher_logits.append(_answer(teacher, images, task.classes, "the teacher", TeacherError))
    beside = np.concatenate(teacher_logits) if teacher_logits else None
    return summarise(np.concatenate(logits), data, task, beside)


def answers(predict: Predict, data: ImageSet, classes: int, batch_size: int = 256) -> np.ndarray:
    """Logits (N, K) of `predict` on all of `data`. Raises StudentError where they are not finite or not (N, K)."""
    batches = data.batches(batch_size)
    return np.concatenate([_answer(predict, images, classes, "the model", StudentError) for images, _ in batches])


def summarise(
    logits: np.ndarray, data: ImageSet, task: ImageTask, teacher_logits: np.ndarray | None = None
) -> Evaluation:
    """The figures of logits (N, K), one row per image of `data`, and those of the teacher (N, K) beside them."""
    labels, classes, count = data.labels, task.classes, len(data)
    log_probs = metrics.log_softmax(logits)
    predictions = logits.argmax(axis=1)
    correct = predictions == labels
    confidence = np.exp(log_probs.max(axis=1))
    bins = metrics.reliability(confidence, correct)
    per_class = metrics.per_class_accuracy(labels, predictions, classes)
    confusion = None
    if classes <= MAX_CONFUSION_CLASSES:
        confusion = metrics.confusion_matrix(labels, predictions, classes).tolist()
    return Evaluation(
        count=count,
        accuracy=float(correct.mean()),
        accuracy_interval=metrics.wilson_interval(int(correct.sum()), count),
        per_class_accuracy=tuple(None if np.isnan(share) else float(share) for share in per_class),
        confusion=None if confusion is None else tuple(tuple(row) for row in confusion),
        mean_confidence=float(confidence.mean()),
        ece=metrics.expected_calibration_error(bins),
        reliability=bins,
        nll=metrics.negative_log_likelihood(log_probs, labels),
        brier=metrics.brier_score(log_probs, labels),
        teacher=None if teacher_logits is None else _compare(logits, teacher_logits, labels),
        class_names=task.class_names or data.class_names,
        source=data.source,
        notes=data.notes,
    )


def _compare(logits: np.ndarray, teacher_logits: np.ndarray, labels: np.ndarray) -> TeacherComparison:
    theirs = teacher_logits.argmax(axis=1)
    right, same = int((theirs == labels).sum()), int((theirs == logits.argmax(axis=1)).sum())
    return TeacherComparison(
        accuracy=right / len(labels),
        accuracy_interval=metrics.wilson_interval(right, len(labels)),
        agreement=same / len(labels),
        agreement_interval=metrics.wilson_interval(same, len(labels)),
        kl=metrics.mean_kl(metrics.log_softmax(teacher_logits), metrics.log_softmax(logits)),
    )


def _answer(predict: Predict, images: Tensor, classes: int, who: str, error: type[UserError]) -> np.ndarray:
    with torch.no_grad():
        logits = logits_of(predict(images)).float().cpu()
    if logits.shape != (len(images), classes):
        raise error(
            f"{who} answered {len(images)} images with a tensor of shape {tuple(logits.shape)}; "
            f"the task asks for ({len(images)}, {classes})"
        )
    finite = torch.isfinite(logits).all(dim=1)
    if not finite.all():
        raise error(
            f"{who} gives nan or infinite logits for {int((~finite).sum())} of {len(images)} images of a batch; "
            "its weights or its normalisation are broken"
        )
    return logits.numpy()
