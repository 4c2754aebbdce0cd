"""What the output kind of classes says of answers, in words and drawings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sansdata.figures import Drawing, Figure
from sansdata.kinds.outputs.classes import Classes
from sansdata.tasks import ClassesSpec

NAMES = ("a", "b")


def measured(right: int, confidence: float) -> list[Figure | Drawing]:
    """Of 100 answers, all as sure, of which so many are right."""
    answers = np.tile(np.log([confidence, 1 - confidence]), (100, 1))
    truth = (np.arange(100) >= right).astype(np.int64)
    return Classes(ClassesSpec(classes=2, class_names=NAMES)).evaluate(answers, truth)


@pytest.mark.parametrize(
    ("right", "confidence", "too_sure"), [(90, 0.919, False), (90, 0.925, True), (96, 0.928, False)]
)
def test_too_sure_is_said_only_where_confidence_is_two_points_above_accuracy(
    right: int, confidence: float, too_sure: bool
) -> None:
    (figure,) = [one for one in measured(right, confidence) if one.name == "mean_confidence"]
    assert ("too sure" in figure.meaning) is too_sure


def test_drawings_over_classes_carry_their_names() -> None:
    kind = Classes(ClassesSpec(classes=2, class_names=NAMES))
    several = [*measured(60, 0.7), *kind.describe(torch.eye(2))]
    labels = {one.name: one.labels for one in several if isinstance(one, Drawing)}
    assert labels == {"per_class": NAMES, "confusion": NAMES, "class_histogram": NAMES, "reliability": ()}
