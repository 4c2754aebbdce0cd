"""Accuracy over a run, after its end: the snapshots of the student on real data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch import nn

from ..datasets.imageset import ImageSet
from ..models.tensor_file import read_safetensors
from ..runtime import Runtime
from ..tasks import ImageTask
from .images import evaluate_model


def predictor(module: nn.Module, task: ImageTask, runtime: Runtime) -> Callable[[Any], Any]:
    """`module`, which takes normalised images, as a function of images (B, C, H, W) in 0..1 that gives logits."""
    runtime.place(module)
    return lambda images: runtime.forward(module, task, runtime.place(images)).logits


def accuracy_over_time(
    student: nn.Module, snapshots: Iterable[tuple[int, Path]], data: ImageSet, task: ImageTask
) -> dict[str, float]:
    """Student step (as text, for JSON) -> accuracy of the snapshot taken there. The student is left with the last."""
    predict, accuracies = predictor(student, task, Runtime()), {}
    for step, file in snapshots:
        student.load_state_dict(read_safetensors(file)[0])
        accuracies[str(step)] = evaluate_model(predict, data, task).accuracy
    return accuracies
