"""A model on a labelled set, alone and beside its teacher. What is measured is the output kind's business."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..columns import Inputs, count
from ..contracts import Outputs
from ..errors import SansdataError, StudentError, TeacherError, UserError, first_line
from ..figures import Figure, Finding, values
from ..kinds.base import OutputKind
from ..kinds.index import output_kind
from ..tasks import Task

MOST_NUMBERS = 2**26
"""Of the answers to one batch: a quarter of a gigabyte."""
Predict = Callable[[Any], Any]
"""Inputs as they travel, of images float32 (B, C, H, W) in 0..1 -> answers, or anything the output kind can read."""


class LabelledSet(Protocol):
    """Inputs with what is true of them, of one split, from anywhere."""

    @property
    def labels(self) -> np.ndarray: ...
    @property
    def source(self) -> str: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...
    def __len__(self) -> int: ...
    def batches(self, size: int) -> Iterator[tuple[Inputs, Tensor]]:
        """(inputs as they travel, labels) in order; the last may be smaller."""
        ...

    def require_fit(self, task: Task) -> None:
        """Raises DataError where inputs or labels are those of another task."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """Figures on one set. Each is also an attribute by its name: of classes `accuracy`, `per_class`, `ece` and more,
    and beside a teacher `teacher_accuracy`, `agreement`, `kl`. Intervals are `accuracy_interval` and so on, at 95 %."""

    count: int
    figures: tuple[Finding, ...]
    class_names: tuple[str, ...]
    source: str
    notes: tuple[str, ...]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            for one in self.figures:
                if one.name == name:
                    return one.value if isinstance(one, Figure) else one.data
                if isinstance(one, Figure) and f"{one.name}_interval" == name:
                    return one.interval
        raise AttributeError(f"this evaluation has no figure '{name}'")

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `json.dumps(..., allow_nan=False)` takes: what `evaluation.json` holds. A matrix, which may
        be larger than all else, stands in the list `figures` alone."""
        intervals = {f"{f.name}_interval": f.interval for f in self.figures if isinstance(f, Figure) and f.interval}
        small = values(one for one in self.figures if isinstance(one, Figure) or one.shape != "heat")
        return {
            "count": self.count, **small, **intervals, "class_names": self.class_names,
            "source": self.source, "notes": self.notes, "figures": [one.to_dict() for one in self.figures],
        }  # fmt: skip


def evaluate_model(
    predict: Predict, data: LabelledSet, task: Task, teacher: Predict | None = None, batch_size: int = 256
) -> Evaluation:
    """Runs `predict` (and `teacher`, such as a teachers.Teacher) once over `data`, without gradient.

    A module must be in eval mode. Raises DataError where `data` does not fit the task, StudentError or TeacherError
    where the model's answers are none of the output kind, or not finite.
    """
    data.require_fit(task)
    kind = output_kind(task)
    answers, beside = [], []
    for inputs, _ in data.batches(_within(kind, batch_size)):
        answers.append(_answer(predict, inputs, kind, "the model", StudentError))
        if teacher is not None:
            beside.append(_answer(teacher, inputs, kind, "the teacher", TeacherError))
    of_teacher = np.concatenate(beside) if beside else None
    return summarise(np.concatenate(answers), data, task, of_teacher)


def answers(predict: Predict, data: LabelledSet, task: Task, batch_size: int = 256) -> np.ndarray:
    """The answers of `predict` to all of `data`. Raises StudentError where they are none."""
    kind = output_kind(task)
    batches = data.batches(_within(kind, batch_size))
    return np.concatenate([_answer(predict, inputs, kind, "the model", StudentError) for inputs, _ in batches])


def summarise(answers: np.ndarray, data: LabelledSet, task: Task, beside: np.ndarray | None = None) -> Evaluation:
    """The figures of answers, one row per sample of `data`, and those of the teacher beside them."""
    figures = output_kind(task).evaluate(answers, data.labels, beside)
    names = getattr(task.outputs, "class_names", ()) or data.class_names
    return Evaluation(len(data.labels), tuple(figures), names, data.source, data.notes)


def _within(kind: OutputKind, batch_size: int) -> int:
    """So many inputs that their answers fit into memory: a transcript of a large vocabulary has millions of numbers."""
    return max(1, min(batch_size, MOST_NUMBERS // max(1, kind.numbers)))


def _answer(predict: Predict, inputs: Inputs, kind: OutputKind, who: str, error: type[UserError]) -> np.ndarray:
    with torch.no_grad():
        try:
            raw = predict(inputs)
        except SansdataError:
            raise
        except Exception as fault:  # a foreign module may raise anything
            raise error(f"{who} fails on a batch of {count(inputs)} inputs ({first_line(fault)})") from fault
        raw = raw.value if isinstance(raw, Outputs) else raw
        faults = kind.faults(raw, count(inputs))
        if faults:
            raise error(faults[0].replace("the teacher", who))
        return finite(kind.read(raw).float().cpu(), who, error).numpy()


def finite(answers: Tensor, who: str, error: type[UserError]) -> Tensor:
    """The same answers (B, ...) of `who`; raises `error` where some are no finite numbers."""
    broken = ~torch.isfinite(answers).flatten(1).all(dim=1)
    if broken.any():
        raise error(
            f"{who} gives nan or infinite answers for {int(broken.sum())} of {len(answers)} inputs of a batch; "
            "its weights or its preprocessing are broken"
        )
    return answers
