"""Whether patches look real: binary cross-entropy on what a discriminator says of them, logits (B, h, w)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def looks_real(patches: Tensor) -> Tensor:
    """(B,) mean over patches of -log sigmoid: low where an image's patches pass for real (MosaicKD, L_local)."""
    return F.softplus(-patches.float()).flatten(1).mean(1)


def told_apart(real: Tensor, made: Tensor) -> Tensor:
    """A scalar, half of -log sigmoid(real) - log(1 - sigmoid(made)), means over all patches: the discriminator's."""
    everything = torch.stack([F.softplus(-real.float()).mean(), F.softplus(made.float()).mean()])
    return everything.mean()
