"""The contrastive term against NumPy in float64, and what it must prefer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sansdata.objectives.contrastive import spatial_means, view_contrast


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    """Values that float32 holds, so that both precisions are given the same numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32).astype(np.float64)


def reference(local: np.ndarray, whole: np.ndarray, temperature: float, current: int) -> float:
    """Row by row, as one would write it on paper."""
    rows = []
    for i, anchor in enumerate(local):
        cosines = [anchor @ other / np.linalg.norm(anchor) / np.linalg.norm(other) for other in whole]
        scores = np.exp(np.array(cosines) / temperature)
        rows.append(-np.log(scores[i] / scores.sum()))
    return float(np.mean(rows[:current]) + (np.mean(rows[current:]) if current < len(rows) else 0))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_it_is_cross_entropy_over_cosines_with_two_means(dtype, bound, temperature):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        rows, size = int(rng.integers(2, 20)), int(rng.integers(1, 30))
        current = int(rng.integers(1, rows + 1))
        local, whole = drawn(rows, size, seed=seed), drawn(rows, size, seed=100 + seed)
        got = view_contrast(torch.tensor(local, dtype=dtype), torch.tensor(whole, dtype=dtype), temperature, current)
        assert got.item() == pytest.approx(reference(local, whole, temperature, current), rel=bound)


def test_the_gradient_to_the_batch_does_not_fade_with_the_number_of_cached_rows():
    """One mean over all rows would divide it by the hundred cached ones."""
    norms = []
    for cached in (1, 100):
        batch = torch.tensor(drawn(4, 8)).requires_grad_()
        rest = torch.tensor(drawn(cached, 8, seed=2))
        local = torch.cat([batch, rest])
        whole = torch.cat([torch.tensor(drawn(4, 8, seed=3)), rest])
        view_contrast(local, whole, 0.5, current=4).backward()
        assert batch.grad is not None
        norms.append(batch.grad.norm().item())
    assert norms[1] > 0.3 * norms[0]


def test_images_that_can_be_told_apart_cost_less_than_equal_ones():
    apart, equal = torch.eye(6), torch.ones(6, 6)
    assert view_contrast(apart, apart, 0.1, 6) < 1e-3
    assert view_contrast(equal, equal, 0.1, 6).item() == pytest.approx(np.log(6))


def test_spatial_means_stand_side_by_side_in_float32():
    maps = [drawn(3, 2, 4, 5), drawn(3, 4, 1, 1, seed=1), drawn(3, 6, seed=2)]
    wanted = np.concatenate([maps[0].mean((2, 3)), maps[1][:, :, 0, 0], maps[2]], axis=1)
    got = spatial_means(torch.tensor(m, dtype=torch.float32) for m in maps)
    assert got.shape == (3, 12)
    assert np.abs(got.numpy() - wanted).max() < 1e-6
    assert spatial_means([torch.ones(2, 3, 4, 4, dtype=torch.bfloat16)]).dtype == torch.float32
