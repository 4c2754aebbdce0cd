"""The networks of generative replay: shapes at every size, and what the encoder does not see; their prior in
float64."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from sansdata.training.vae import VAE, Encoder, normal_kl


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 13, 11), (3, 4, 5)])
def test_a_code_for_each_image_and_an_image_for_each_code(shape: tuple[int, int, int]) -> None:
    vae = VAE(6, shape, width=4)
    mean, log_variance = vae.encoder(torch.randn(5, *shape))
    assert mean.shape == log_variance.shape == (5, 6)
    assert vae.decoder(mean).shape == (5, *shape)


def test_at_32_pixels_the_heads_see_what_the_released_ones_do() -> None:
    """32 features for each of the 8x8 places at a quarter of the size."""
    assert Encoder(1000, (3, 32, 32), width=64).mean.in_features == 32 * 8 * 8


def test_the_encoder_sees_no_brightness_of_a_column() -> None:
    encoder, images = Encoder(3, (1, 8, 8), width=4).eval(), torch.randn(4, 1, 8, 8)
    scale = torch.rand(4, 1, 1, 8) + 0.5
    torch.testing.assert_close(encoder(images * scale), encoder(images), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(encoder(images.flip(2))[0], encoder(images)[0])


def test_the_kl_is_that_of_the_distributions() -> None:
    mean, log_variance = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    zero = torch.zeros(5, 3, dtype=torch.float64)
    wanted = kl_divergence(Normal(mean, log_variance.mul(0.5).exp()), Normal(zero, zero + 1)).sum(1)
    torch.testing.assert_close(normal_kl(mean, log_variance), wanted)


def test_the_kl_is_nought_at_the_standard_normal_alone() -> None:
    assert normal_kl(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [0, 0]
    assert normal_kl(torch.full((1, 3), 0.1), torch.zeros(1, 3)).item() > 0
