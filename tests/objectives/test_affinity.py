"""Feature affinity: both forms beside a reference in float64, and what the fast one estimates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sansdata.objectives.affinity import EPSILON, affinity, fast_affinity, over_batch


def maps(seed: int, channels: int) -> Tensor:
    return torch.randn(3, channels, 4, 5, generator=torch.Generator().manual_seed(seed))


STUDENT, TEACHER = maps(0, 6), maps(1, 9)


def probes(k: int, seed: int = 0) -> Tensor:
    return torch.randn(20, k, generator=torch.Generator().manual_seed(seed))


def cosines(features: Tensor) -> np.ndarray:
    """(B, N, N), pixel by pixel."""
    flat = features.double().flatten(2).numpy()
    out = np.empty((len(flat), flat.shape[2], flat.shape[2]))
    for b, image in enumerate(flat):
        for i in range(image.shape[1]):
            for j in range(image.shape[1]):
                sizes = (np.linalg.norm(image[:, i]) + EPSILON) * (np.linalg.norm(image[:, j]) + EPSILON)
                out[b, i, j] = image[:, i] @ image[:, j] / sizes
    return out


@pytest.mark.parametrize("order", [1, 2])
def test_affinity_is_what_the_paper_says(order: int) -> None:
    apart = cosines(STUDENT) - cosines(TEACHER)
    n = apart.shape[1]
    wanted = np.abs(apart).sum((1, 2)) / n**2 if order == 1 else np.sqrt((apart**2).sum((1, 2))) / n
    assert affinity(STUDENT, TEACHER, order).tolist() == pytest.approx(wanted.tolist(), rel=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", [1, 2])
def test_the_fast_form_is_the_same_through_probes(order: int) -> None:
    z = probes(7)
    seen = (cosines(STUDENT) - cosines(TEACHER)) @ z.double().numpy()
    n = seen.shape[1]
    wanted = np.abs(seen).mean(2).sum(1) / n**2 if order == 1 else np.sqrt((seen**2).mean(2).sum(1)) / n
    assert fast_affinity(STUDENT, TEACHER, z, order).tolist() == pytest.approx(wanted.tolist(), rel=1e-4)  # type: ignore[arg-type]


def test_its_square_has_no_bias_and_a_spread_that_falls_with_the_probes() -> None:
    exact = affinity(STUDENT, TEACHER, 2)
    assert torch.allclose(fast_affinity(STUDENT, TEACHER, probes(4096), 2), exact, rtol=0.05)
    for k in (8, 64):
        squares = torch.stack([fast_affinity(STUDENT, TEACHER, probes(k, s), 2) for s in range(300)]).square()
        ratio = squares / exact.square()
        assert torch.allclose(ratio.mean(0), torch.ones(3), atol=4 * (2 / k / 300) ** 0.5)
        assert bool((ratio.std(0) <= 1.2 * (2 / k) ** 0.5).all())


def test_order_1_of_the_fast_form_is_the_norms_of_the_rows() -> None:
    apart = cosines(STUDENT) - cosines(TEACHER)
    wanted = np.sqrt(2 / np.pi) * np.linalg.norm(apart, axis=2).sum(1) / apart.shape[1] ** 2
    assert fast_affinity(STUDENT, TEACHER, probes(20_000), 1).tolist() == pytest.approx(wanted.tolist(), rel=0.02)


@pytest.mark.parametrize("order", [1, 2])
def test_equal_maps_and_pixels_of_another_size_are_0(order: int) -> None:
    scaled = TEACHER * (0.5 + torch.rand(3, 1, 4, 5))
    for other in (TEACHER, scaled):
        for value in (affinity(other, TEACHER, order), fast_affinity(other, TEACHER, probes(5), order)):  # type: ignore[arg-type]
            assert bool((value < 2e-5).all())


@pytest.mark.parametrize("order", [1, 2])
def test_dead_pixels_give_no_nan(order: int) -> None:
    dead = STUDENT.clone()
    dead[:, :, 0] = 0
    dead[0] = 0
    dead.requires_grad_()
    total = affinity(dead, TEACHER, order).sum() + fast_affinity(dead, TEACHER, probes(5), order).sum()  # type: ignore[arg-type]
    total.backward()
    assert torch.isfinite(total)
    assert dead.grad is not None
    assert torch.isfinite(dead.grad).all()


def test_the_released_reductions() -> None:
    values = torch.tensor([3.0, 4.0])
    assert over_batch(values, 1) == 7
    assert over_batch(values, 2) == 5
