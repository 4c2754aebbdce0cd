"""What shuffling vaccine asks of a batch (Hong et al., ICML 2023, arXiv 2306.02368; as in the released code).

logits and shuffled are (B, K): the answers of the teacher and of its copies with shuffled channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .logits import kl


def suspicious(logits: Tensor, shuffled: Tensor) -> Tensor:
    """(B,) bool: whether the copies still say the same class.

    A trigger fires through a few channels and survives the shuffle; what many channels agree on does not.
    """
    return logits.argmax(1) == shuffled.argmax(1)


def divergence(logits: Tensor, shuffled: Tensor) -> Tensor:
    """(B,) d = KL(teacher || copies), the mean over classes of its terms and not their sum. Gradients through both."""
    return kl(shuffled, logits) / logits.shape[1]


def vaccine(logits: Tensor, shuffled: Tensor) -> Tensor:
    """-mean of the divergence over the suspicious samples, a scalar; 0 where there are none.

    To be minimised by what makes the images: suspicious ones move to where teacher and copies differ.
    """
    chosen = suspicious(logits, shuffled)
    return -(chosen * divergence(logits, shuffled)).sum() / chosen.sum().clamp_min(1)


def trusted(loss: Tensor, distrusted: Tensor, weight: float, cap: float, weights: Tensor | None = None) -> Tensor:
    """Mean of loss (B,) over the samples that are not `distrusted` (B,) less `weight` times its mean over the others.

    weights (B,): of the samples in both means. A mean over none is 0, so a batch of nothing but distrusted samples
    teaches nothing.

    Deviation: the released term is not bounded and diverges where many samples are distrusted; here such a sample
    counts until its loss is `cap` times the mean of the trusted ones.
    """
    weights = torch.ones_like(loss) if weights is None else weights
    keep = _mean(loss, weights * ~distrusted)
    held = torch.minimum(loss, cap * keep.detach())
    return keep - weight * _mean(held, weights * distrusted)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp_min(1e-12)


def outliers(divergences: Tensor) -> Tensor:
    """(B,) bool: whose log divergence is more than three standard deviations below the mean (vaccine verification)."""
    logs = divergences.clamp_min(1e-12).log10()
    return logs < logs.mean() - 3 * logs.std()
