"""Thresholds and shares against the numbers of the released schedule, and KD3's other pure parts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sansdata.objectives.contrastive import pair_contrast
from sansdata.objectives.curriculum import class_thresholds, confident, teachers_share
from sansdata.objectives.features import pooled_hint
from sansdata.objectives.logits import disagreement_weights
from sansdata.synthesis.style_mix import beta_draws, mixed_styles, restyled


@pytest.mark.parametrize("epoch", [0, 60, 119])
def test_the_teachers_share_is_the_released_one_at_240_epochs(epoch: int) -> None:
    assert teachers_share(epoch, 240) == pytest.approx(1 - math.exp(-5 * ((epoch + 1) / 160 - 1) ** 2))


def test_the_student_decides_alone_in_the_second_half() -> None:
    assert teachers_share(119, 240) == pytest.approx(0.2684, abs=1e-3)
    assert [teachers_share(epoch, 240) for epoch in (120, 200, 239)] == [0, 0, 0]
    assert teachers_share(0, 1) == pytest.approx(1 - math.exp(-5 * 0.25))


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
    fixed = confident(probabilities, 0.7, adaptive=False).tolist()
    assert fixed == [row.max().item() > 0.7 for row in probabilities]
    assert 0 < sum(fixed) < sum(expected) < 60


def test_pair_contrast_against_a_double_loop() -> None:
    stream = torch.Generator().manual_seed(0)
    first, second = (torch.nn.functional.normalize(torch.randn(4, 6, generator=stream).double()) for _ in range(2))
    rows = torch.cat([first, second]).numpy()
    total = 0.0
    for i in range(8):
        others = sum(math.exp(rows[i] @ rows[k] / 0.3) for k in range(8) if k != i)
        total -= math.log(math.exp(rows[i] @ rows[(i + 4) % 8] / 0.3) / others)
    found = pair_contrast(first, second, 0.3)
    assert found.shape == (4,)
    assert found.mean().item() == pytest.approx(total / 8, abs=1e-9)


def test_weights_are_the_sigmoid_of_the_distance() -> None:
    a, b = torch.tensor([[3.0, 0.0], [1.0, 1.0]], requires_grad=True), torch.tensor([[0.0, 4.0], [1.0, 1.0]])
    found = disagreement_weights(a, b)
    assert found.tolist() == pytest.approx([1 / (1 + math.exp(-5)), 0.5])
    assert not found.requires_grad


def test_the_larger_map_is_averaged_to_the_smaller() -> None:
    small, large = torch.rand(2, 3, 2, 2), torch.rand(2, 3, 4, 4)
    means = large.unflatten(3, (2, 2)).unflatten(2, (2, 2)).mean((3, 5))
    expected = (small - means).square().mean((1, 2, 3))
    assert torch.allclose(pooled_hint(small, large), expected, atol=1e-6)
    assert torch.allclose(pooled_hint(large, small), expected, atol=1e-6)


# -- MixDistribution


def normalised(images: torch.Tensor) -> torch.Tensor:
    return (images - images.mean((2, 3), keepdim=True)) / images.std((2, 3), keepdim=True, correction=0)


def test_mixing_styles_leaves_the_normalised_content() -> None:
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mixed = mixed_styles(images, 0.1, torch.Generator().manual_seed(1))
    assert torch.allclose(normalised(mixed), normalised(images), atol=1e-3)
    assert (mixed - images).abs().mean() > 0.01


def test_keeping_all_is_the_identity_and_none_a_swap() -> None:
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    other = torch.tensor([1, 2, 3, 0])
    assert torch.allclose(restyled(images, torch.ones(4, 1, 1, 1), other), images, atol=1e-6)
    swapped = restyled(images, torch.zeros(4, 1, 1, 1), other)
    assert torch.allclose(swapped.mean((2, 3)), images[other].mean((2, 3)), atol=1e-5)
    assert torch.allclose(swapped.std((2, 3)), images[other].std((2, 3)), atol=1e-3)


def test_an_even_image_stays_finite() -> None:
    images = torch.stack([torch.full((1, 4, 4), 0.5), torch.rand(1, 4, 4)])
    assert torch.isfinite(mixed_styles(images, 0.1, torch.Generator().manual_seed(0))).all()


def test_draws_are_those_of_beta() -> None:
    draws = beta_draws(20_000, 0.4, torch.Generator().manual_seed(0)).numpy()
    assert abs(draws.mean() - 0.5) < 0.01
    assert abs(draws.var() - 1 / (4 * 1.8)) < 0.005
    assert np.array_equal(draws, beta_draws(20_000, 0.4, torch.Generator().manual_seed(0)).numpy())
