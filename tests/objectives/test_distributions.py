"""Distances between sets of vectors, against plain loops in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sansdata.objectives.distributions import BANDWIDTHS, energy_distance, mmd, sliced_w2, unit_vectors


def points(count: int, size: int = 3, seed: int = 0, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def pairs(a: np.ndarray, b: np.ndarray, own: bool) -> list[float]:
    """All distances between rows, without those of a row with itself."""
    return [float(np.linalg.norm(x - y)) for i, x in enumerate(a) for j, y in enumerate(b) if not (own and i == j)]


def test_mmd_is_the_sum_by_hand() -> None:
    x, y = points(7).numpy(), points(9, seed=1, shift=0.5).numpy()

    def kernel(distances: list[float]) -> float:
        return float(np.mean([sum(math.exp(-(d**2) / (2 * g)) for g in BANDWIDTHS) for d in distances]))

    wanted = kernel(pairs(x, x, True)) + kernel(pairs(y, y, True)) - 2 * kernel(pairs(x, y, False))
    assert float(mmd(torch.from_numpy(x), torch.from_numpy(y))) == pytest.approx(wanted, rel=1e-9)


def test_energy_distance_is_the_sum_by_hand() -> None:
    x, y = points(7).numpy(), points(9, seed=1, shift=0.5).numpy()
    wanted = 2 * np.mean(pairs(x, y, False)) - np.mean(pairs(x, x, True)) - np.mean(pairs(y, y, True))
    assert float(energy_distance(torch.from_numpy(x), torch.from_numpy(y))) == pytest.approx(wanted, rel=1e-6)


def test_sliced_w2_of_one_direction_is_that_of_sorted_numbers() -> None:
    x, y, direction = points(8), points(8, seed=1, shift=1.0), torch.tensor([[0.6, 0.0, 0.8]], dtype=torch.float64)
    a, b = np.sort(x.numpy() @ direction.numpy()[0]), np.sort(y.numpy() @ direction.numpy()[0])
    assert float(sliced_w2(x, y, direction)) == pytest.approx(float(np.mean((a - b) ** 2)), rel=1e-12)
    shifted = sliced_w2(x, x + 2 * direction, direction)
    assert float(shifted) == pytest.approx(4.0, rel=1e-9)


def test_directions_have_length_one_and_come_back() -> None:
    one, again = (unit_vectors(50, 4, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, again)
    assert torch.allclose(one.norm(dim=1), torch.ones(50))


@pytest.mark.parametrize("loss", ["mmd", "energy", "sliced-w2", "mse"])
def test_a_loss_between_sets_keeps_the_spread_that_one_between_rows_takes(loss: str) -> None:
    """Targets that were drawn apart from the noise: a loss row by row is best at their mean."""
    draw = torch.Generator().manual_seed(0)
    scale = torch.ones(2, requires_grad=True)
    optimizer = torch.optim.Adam([scale], 0.1)
    for _ in range(80):
        noise, sought = (torch.randn(64, 2, generator=draw) for _ in range(2))
        own = scale * noise
        value = {
            "mmd": lambda: mmd(own, 2 * sought),  # noqa: B023
            "energy": lambda: energy_distance(own, 2 * sought),  # noqa: B023
            "sliced-w2": lambda: sliced_w2(own, 2 * sought, unit_vectors(8, 2, draw)),  # noqa: B023
            "mse": lambda: (own - 2 * sought).square().mean(),  # noqa: B023
        }[loss]()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    spread = scale.detach().abs()
    assert bool((spread < 0.3).all() if loss == "mse" else ((spread > 1.6) & (spread < 2.4)).all()), spread
