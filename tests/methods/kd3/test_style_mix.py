"""KD3's MixDistribution: what it changes of an image, and what it leaves."""

from __future__ import annotations

import numpy as np
import torch

from sansdata.methods.kd3.style_mix import beta_draws, mixed_styles, restyled


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
