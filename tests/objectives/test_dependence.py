"""What latents say of a group, against plain loops in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sansdata.objectives.dependence import DEPENDENCE, distance_correlation, distribution_covariance, hsic


def samples(count: int = 24, size: int = 3, groups: int = 3, seed: int = 0) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)
    mean = torch.randn(count, size, generator=draw, dtype=torch.float64)
    logvar = 0.5 * torch.randn(count, size, generator=draw, dtype=torch.float64)
    return mean, logvar, torch.randint(groups, (count,), generator=draw)


def overlap_by_hand(mean: np.ndarray, variance: np.ndarray, i: int, j: int) -> float:
    product = 1.0
    for d in range(mean.shape[1]):
        both = variance[i, d] + variance[j, d]
        product *= math.exp(-((mean[i, d] - mean[j, d]) ** 2) / (2 * both)) / math.sqrt(2 * math.pi * both)
    return product


def covariance_by_hand(mean: torch.Tensor, logvar: torch.Tensor, groups: torch.Tensor) -> float:
    values, variance, members, count = mean.numpy(), logvar.exp().numpy(), groups.tolist(), len(groups)
    table = np.array([[overlap_by_hand(values, variance, i, j) for j in range(count)] for i in range(count)])
    total = 0.0
    for group in set(members):
        own = [i for i in range(count) if members[i] == group]
        if len(own) < count:
            inner = table.mean() + table[np.ix_(own, own)].mean() - 2 * table[own].mean()
            total += (len(own) / count) ** 2 * inner
    return total


def centred(square: np.ndarray) -> np.ndarray:
    return square - square.mean(0) - square.mean(1)[:, None] + square.mean()


def test_distribution_covariance_is_the_sum_by_hand() -> None:
    mean, logvar, groups = samples()
    assert float(distribution_covariance(mean, logvar, groups)) == pytest.approx(
        covariance_by_hand(mean, logvar, groups), rel=1e-10
    )


def test_it_is_the_integral_between_two_densities() -> None:
    """One dimension: sum over groups of p(a)^2 int (p(z|a) - p(z))^2 dz, by a fine sum."""
    mean, logvar, groups = samples(10, 1, 2)
    z = np.linspace(-12, 12, 40_001)
    scale = (logvar / 2).exp().numpy()[:, 0, None]
    density = np.exp(-(((z - mean.numpy()) / scale) ** 2) / 2) / (scale * math.sqrt(2 * math.pi))
    members, whole = groups.numpy(), density.mean(0)
    total = sum(
        (members == a).mean() ** 2 * np.trapezoid((density[members == a].mean(0) - whole) ** 2, z) for a in (0, 1)
    )
    assert float(distribution_covariance(mean, logvar, groups)) == pytest.approx(total, rel=1e-6)


def test_a_group_that_is_absent_or_fills_the_batch_adds_nothing() -> None:
    mean, logvar, groups = samples(groups=2)
    assert float(distribution_covariance(mean, logvar, torch.zeros_like(groups))) == 0
    apart = distribution_covariance(mean, logvar, 2 * groups)  # nobody is in group 1
    assert float(apart) == pytest.approx(float(distribution_covariance(mean, logvar, groups)), rel=1e-12)


@pytest.mark.parametrize("shift", [-20.0, 10.0])
def test_narrow_and_wide_gaussians_of_many_dimensions_stay_finite(shift: float) -> None:
    mean, logvar, groups = (value.float() if value.is_floating_point() else value for value in samples(16, 8))
    mean.requires_grad_()
    value = distribution_covariance(mean * math.exp(shift / 2), logvar + shift, groups)
    value.backward()
    assert math.isfinite(float(value))
    assert bool(torch.isfinite(mean.grad).all())  # type: ignore[arg-type]


def test_distance_correlation_is_the_one_by_hand() -> None:
    mean, _, groups = samples()
    values, members = mean.numpy(), groups.numpy()
    one = centred(np.linalg.norm(values[:, None] - values[None], axis=2))
    other = centred((members[:, None] != members[None]).astype(float))
    wanted = math.sqrt((one * other).mean() / math.sqrt((one**2).mean() * (other**2).mean()))
    assert float(distance_correlation(mean, groups)) == pytest.approx(wanted, rel=1e-4)


def test_hsic_is_the_one_by_hand() -> None:
    mean, _, groups = samples()
    values, members = mean.numpy(), groups.numpy()
    squared = ((values[:, None] - values[None]) ** 2).sum(2)
    middle = np.sort(squared.ravel())[(squared.size - 1) // 2]  # torch takes the lower of two
    one, other = centred(np.exp(-squared / middle)), centred((members[:, None] == members[None]).astype(float))
    wanted = (one * other).mean() / math.sqrt((one**2).mean() * (other**2).mean())
    assert float(hsic(mean, groups)) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("name", sorted(DEPENDENCE))
def test_each_tells_groups_that_differ_from_groups_that_do_not(name: str) -> None:
    mean, logvar, groups = samples(120, 2, 2)
    measure = DEPENDENCE[name]
    apart = mean + 2.0 * groups[:, None]
    assert float(measure(apart, logvar, groups)) > 3 * float(measure(mean, logvar, groups))


@pytest.mark.parametrize("name", sorted(DEPENDENCE))
def test_its_gradient_is_finite_where_samples_are_one(name: str) -> None:
    mean = torch.zeros(8, 3, requires_grad=True)
    DEPENDENCE[name](mean, torch.zeros(8, 3), torch.tensor([0, 1] * 4)).backward()
    assert bool(torch.isfinite(mean.grad).all())  # type: ignore[arg-type]
