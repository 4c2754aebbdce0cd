"""The network of few-shot learning: Conv4 (Vinyals et al. 2016), as BiDf-MKD and MAML have it."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

POOLED = 2
"""Height and width of the last map: what four halvings make of 32x32, and what other sizes are pooled to."""


def conv4(channels: int, classes: int, width: int = 32) -> nn.Sequential:
    """Images (B, C, H, W) of any size, normalised -> logits (B, K).

    Four blocks of a 3x3 convolution of `width` channels, BatchNorm, ReLU and 2x2 max-pooling, then a linear layer.
    Deviation: no bias before BatchNorm, which takes it away; odd maps are halved upwards, so that images of 8x8 do.
    """
    blocks = [(f"block{number + 1}", _block(width if number else channels, width)) for number in range(4)]
    tail = [
        ("pool", nn.AdaptiveAvgPool2d(POOLED)), ("flatten", nn.Flatten()),
        ("head", nn.Linear(width * POOLED * POOLED, classes)),
    ]  # fmt: skip
    return nn.Sequential(OrderedDict([*blocks, *tail]))


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
        nn.MaxPool2d(2, ceil_mode=True),
    )  # fmt: skip
