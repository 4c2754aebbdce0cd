"""A small network with everything that data-free quantization treats in its own way."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def separable(act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """A stem, a depthwise, a grouped and a plain convolution with BatchNorm of any statistics, and a linear head."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 12, 1, groups=4),
        nn.Conv2d(12, 6, 1),
    ]  # fmt: skip
    parts: list[nn.Module] = []
    for layer in layers:
        norm = nn.BatchNorm2d(layer.out_channels)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        norm.running_mean = torch.randn(layer.out_channels)
        norm.running_var = torch.rand(layer.out_channels) + 0.5
        parts += [layer, norm, act()]
    return nn.Sequential(*parts, nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)).eval()


def images(count: int = 16) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))
