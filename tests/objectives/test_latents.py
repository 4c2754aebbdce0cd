"""Losses of codes against PyTorch's distributions and numpy, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from sansdata.objectives.latents import normal_kl, normal_moments


def test_the_kl_is_that_of_the_distributions() -> None:
    mean, log_variance = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    zero = torch.zeros(5, 3, dtype=torch.float64)
    wanted = kl_divergence(Normal(mean, log_variance.mul(0.5).exp()), Normal(zero, zero + 1)).sum(1)
    torch.testing.assert_close(normal_kl(mean, log_variance), wanted)


def test_the_kl_is_nought_at_the_standard_normal_alone() -> None:
    assert normal_kl(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [0, 0]
    assert normal_kl(torch.full((1, 3), 0.1), torch.zeros(1, 3)).item() > 0


def test_moments_are_those_of_the_batch() -> None:
    codes = np.random.default_rng(0).normal(1, 2, size=(7, 4))
    wanted = ((codes.var(0, ddof=1) - 1) ** 2).mean() + (codes.mean(0) ** 2).mean()
    assert normal_moments(torch.from_numpy(codes)).item() == pytest.approx(wanted, rel=1e-12)
