"""Asking a generator for samples as different as the noise they come from."""

from __future__ import annotations

from torch import Tensor


def mode_seeking(samples: Tensor, noise: Tensor) -> Tensor:
    """exp(-mean over pairs of (mean |x_i - x_j|) * (mean (z_i - z_j)^2)), a scalar in 0..1, 1 where all samples agree.

    samples (B, ...), noise (B, Z). As in the released codes of FedGen and FedFTG, after mode-seeking GANs (Mao 2019).
    """
    flat = samples.flatten(1)
    apart = (flat[:, None] - flat[None]).abs().mean(2)
    noise_apart = (noise[:, None] - noise[None]).square().mean(2)
    return (-(apart * noise_apart).mean()).exp()
