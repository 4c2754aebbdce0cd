"""Thresholds and shares against the numbers of the released schedule."""

from __future__ import annotations

import math

import pytest
import torch

from sansdata.methods.kd3.choice import class_thresholds, confident, teachers_share


@pytest.mark.parametrize(("epoch", "share"), [(1, 0.99238), (60, 0.85254), (119, 0.26838)])
def test_the_teachers_share_is_the_released_one_at_240_epochs(epoch: int, share: float) -> None:
    """The released loop counts its epochs from 1, and asks for the mixture of 120 from there on."""
    assert teachers_share(epoch, 240) == pytest.approx(share, abs=1e-5)


def test_the_student_decides_alone_from_the_middle_on_but_never_before_it_has_learned() -> None:
    assert [teachers_share(epoch, 240) for epoch in (120, 200, 240)] == [0, 0, 0]
    assert [teachers_share(epoch, 4) for epoch in (2, 3, 4)] == [0, 0, 0]
    assert teachers_share(1, 2) == pytest.approx(1 - math.exp(-5 * 0.25))
    assert teachers_share(1, 1) > 0.99


def test_thresholds_follow_how_often_a_class_is_seen() -> None:
    decisions = torch.tensor([0] * 8 + [1] * 4 + [2])
    found = class_thresholds(decisions, 4, 0.95)
    shares = [1, 0.5, 0.125, 0]
    assert found.tolist() == pytest.approx([0.95 * b / (2 - b) for b in shares], abs=1e-6)
    assert class_thresholds(decisions, 4, 0.95, floor=0.2).tolist()[2:] == pytest.approx([0.2, 0.2])


def test_confident_images_against_a_loop() -> None:
    probabilities = torch.randn(60, 5, generator=torch.Generator().manual_seed(0)).mul(2).softmax(1)
    decided = probabilities.argmax(1).tolist()
    most = max(decided.count(c) for c in range(5))
    expected = []
    for row, c in zip(probabilities, decided):
        b = decided.count(c) / most
        expected.append(row.max().item() > 0.7 * b / (2 - b))
    assert confident(probabilities, 0.7).tolist() == expected
    fixed = [row.max().item() > 0.7 for row in probabilities]
    assert 0 < sum(fixed) < sum(expected) < 60
