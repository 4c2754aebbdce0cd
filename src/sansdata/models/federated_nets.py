"""The small networks of the federated papers, each a chain of blocks, so that it can be cut between any two."""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import nn


def fedgen_cnn(channels: int = 1, classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """FedGen's network for MNIST and EMNIST (released code), images (B, C, H, W), normalised -> logits (B, K).

    Two strided convolutions, 6 and 16 channels, with BatchNorm; a linear layer to 32 without activation, whose output
    is the latent of the generator; the predictor. Of images that are not 28x28 the last map is pooled to 7x7.
    """
    first, second, latent = (max(1, round(base * width)) for base in (6, 16, 32))
    return nn.Sequential(
        OrderedDict(
            block1=_strided(channels, first, nn.BatchNorm2d(first)),
            block2=_strided(first, second, nn.BatchNorm2d(second)),
            block3=nn.Sequential(nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(49 * second, latent)),
            linear=nn.Linear(latent, classes),
        )
    )


def cnn5(channels: int = 1, classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """Five blocks and a predictor, with GroupNorm, images (B, C, H, W), normalised -> logits (B, K). Ours, for FedD2S.

    Three strided convolutions (16, 16, 32 channels), linear layers of 64 and 32; the last map is pooled to 4x4.
    """
    a, b, c, d, e = (max(1, round(base * width)) for base in (16, 16, 32, 64, 32))
    return nn.Sequential(
        OrderedDict(
            block1=_strided(channels, a, group_norm(a)),
            block2=_strided(a, b, group_norm(b)),
            block3=_strided(b, c, group_norm(c)),
            block4=nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * c, d), nn.ReLU()),
            block5=nn.Sequential(nn.Linear(d, e), nn.ReLU()),
            linear=nn.Linear(e, classes),
        )
    )


def _strided(inputs: int, outputs: int, norm: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), norm, nn.ReLU())


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with about 8 channels to a group and at most 32 groups."""
    return nn.GroupNorm(math.gcd(channels, min(32, max(1, channels // 8))), channels)


def with_group_norm(module: nn.Module) -> nn.Module:
    """`module` with every BatchNorm2d replaced, in place: nothing of a batch or of its past is in a prediction then."""
    for part in module.modules():
        for name, child in part.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(part, name, group_norm(child.num_features))
    return module
