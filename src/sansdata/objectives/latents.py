"""What codes, the inputs of a generator or decoder, are asked to be like: standard normal. Shapes: B batch, Z code."""

from __future__ import annotations

from torch import Tensor


def normal_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """(B,) KL(N(mean, variance) || N(0, I)), both (B, Z) (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1)


def normal_moments(codes: Tensor) -> Tensor:
    """Squared distance of mean and variance over the batch from 0 and 1, averaged over Z; codes (B, Z), B > 1.

    As in PRE-DFKD's released code, where it stands for the KL of a set of codes.
    """
    return (codes.var(0) - 1).square().mean() + codes.mean(0).square().mean()
