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
    ("right", "confidence", "words"),
    [(90, 0.919, "close to"), (90, 0.925, "too sure"), (96, 0.928, "less sure"), (96, 0.95, "close to")],
)
def test_words_on_calibration_follow_the_sign_of_the_difference(right: int, confidence: float, words: str) -> None:
    (figure,) = [one for one in measured(right, confidence) if one.name == "mean_confidence"]
    assert words in figure.meaning
    assert ("too sure" in figure.meaning) is (words == "too sure")


def test_a_constant_answer_is_named_beside_the_accuracy_that_it_has() -> None:
    several = {one.name: one for one in measured(74, 0.6)}
    assert isinstance(several["accuracy"], Figure)
    assert several["accuracy"].value == several["majority_share"].value == 0.74  # type: ignore[union-attr]
    assert several["balanced_accuracy"].value == 0.5  # type: ignore[union-attr]
    assert several["accuracy"].meaning == "every answer is 'a'"


def test_no_figure_is_a_negative_zero() -> None:
    """Of a network that is as sure as numbers allow, and right: 'NLL -0.0000' was printed."""
    answers, truth = np.eye(2)[[0, 1, 1]] * 2000, np.array([0, 1, 1])
    several = Classes(ClassesSpec(classes=2)).evaluate(answers, truth, answers)
    signs = {one.name: np.signbit(one.value) for one in several if isinstance(one, Figure)}
    assert not any(signs.values()), signs


def test_drawings_over_classes_carry_their_names() -> None:
    kind = Classes(ClassesSpec(classes=2, class_names=NAMES))
    several = [*measured(60, 0.7), *kind.describe(torch.eye(2))]
    labels = {one.name: one.labels for one in several if isinstance(one, Drawing)}
    assert labels == {"per_class": NAMES, "confusion": NAMES, "class_histogram": NAMES, "reliability": ()}


def test_answers_that_are_all_sure_are_ranked_by_what_lies_behind() -> None:
    """Margins of 45 and of 60 are both a probability of 1."""
    truth = np.repeat([0, 1], 20)
    margins = np.where(truth, 60.0, 45.0) + np.random.default_rng(0).normal(size=40)
    answers = np.stack([np.zeros(40), margins], axis=1)
    several = Classes(ClassesSpec(classes=2)).evaluate(answers, truth, answers)
    assert {one.name: one.value for one in several if "auroc" in one.name} == {"auroc": 1, "teacher_auroc": 1}
