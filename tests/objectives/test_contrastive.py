"""The contrastive term against NumPy in float64, and what it must prefer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sansdata.objectives.contrastive import class_contrast, pair_contrast, spatial_means, view_contrast


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


# -- classes


def test_class_contrast_of_two_pairs_is_the_hand_computed_value():
    """Two classes, two rows each, at right angles or equal: every row sees 1 partner and 2 strangers."""
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    expected = -math.log(math.exp(1 / 0.5) / (math.exp(1 / 0.5) + 2 * math.exp(0)))
    assert class_contrast(rows, torch.tensor([3, 3, 1, 1]), 0.5).item() == pytest.approx(expected, rel=1e-6)


def test_class_contrast_matches_a_reference_in_float64():
    rows = F.normalize(torch.randn(9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), dim=1)
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3])  # class 2 has one row: it only stands among the strangers
    v, t, terms = rows.numpy(), 0.1, []
    for i in range(9):
        partners = [p for p in range(9) if p != i and labels[p] == labels[i]]
        others = sum(math.exp(v[i] @ v[a] / t) for a in range(9) if a != i)
        if partners:
            terms.append(-sum(math.log(math.exp(v[i] @ v[p] / t) / others) for p in partners) / len(partners))
    assert len(terms) == 8
    assert class_contrast(rows, labels, t).item() == pytest.approx(sum(terms) / 8, rel=1e-9)


@pytest.mark.parametrize("labels", [[0, 1, 2], [5], []])
def test_class_contrast_without_partners_is_0_with_a_gradient(labels):
    rows = torch.ones(len(labels), 4, requires_grad=True)
    loss = class_contrast(rows, torch.tensor(labels, dtype=torch.int64), 0.1)
    assert loss.item() == 0
    loss.backward()
    assert not rows.grad.any()


def test_class_contrast_has_finite_gradients():
    rows = torch.eye(4).requires_grad_()
    class_contrast(rows, torch.tensor([0, 0, 1, 2]), 0.05).backward()
    assert bool(rows.grad.isfinite().all())


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
