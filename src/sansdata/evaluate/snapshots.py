"""Accuracy over a run, after its end: the snapshots of the student on real data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import SansdataError
from ..manner import suited
from ..models.tensor_file import read_safetensors
from ..network import Network
from ..runtime import Runtime
from ..tasks import Task
from .labelled import LabelledSet, Predict, evaluate_model


def predictor(network: Network, task: Task, runtime: Runtime) -> Predict:
    """`network` as a function of inputs as they travel (images in 0..1) that gives answers; its module is moved."""
    runtime, _ = suited(runtime, {"the model": network}, task)
    return lambda inputs: runtime.forward(network, runtime.place(inputs)).value


def accuracy_over_time(
    student: Network, snapshots: Iterable[tuple[int, Path]], data: LabelledSet, task: Task
) -> dict[str, float]:
    """Student step (as text, for JSON) -> accuracy of the snapshot taken there. The student is left with the last; a
    file that is damaged, or none of this student's, is left out."""
    predict, accuracies = predictor(student, task, Runtime()), {}
    for step, file in snapshots:
        try:
            student.module.load_state_dict(read_safetensors(file)[0])
        except (SansdataError, RuntimeError):
            continue
        accuracies[str(step)] = evaluate_model(predict, data, task).accuracy
    return accuracies
