"""Wide residual networks (Zagoruyko and Komodakis 2016, "Wide residual networks"), pre-activation, without dropout.

wrn-d-k: depth d = 6n + 4, three stages of n blocks with 16k, 32k and 64k channels after a stem of 16.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class PreActivationBlock(nn.Module):
    """BatchNorm and ReLU before each convolution. A 1x1 shortcut, where the shape changes, sees the activated input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut: nn.Conv2d | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        skip = x if self.shortcut is None else self.shortcut(active)
        return self.conv2(F.relu(self.bn2(self.conv1(active)))) + skip


class WideResNet(nn.Module):
    """Images (B, C, H, W), normalised -> logits (B, K). Any height and width from 4: the last map is averaged."""

    def __init__(self, depth: int, widen: float, channels: int = 3, classes: int = 10, width: int = 16) -> None:
        """depth: 6n + 4. widen: the k of the name. width: channels of the stem. Raises ValueError for another depth."""
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth must be 6n + 4 (10, 16, 22, ...), got {depth}")
        blocks = (depth - 4) // 6
        base = max(1, round(width * widen))
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.block1 = _stage(width, base, blocks, 1)
        self.block2 = _stage(base, 2 * base, blocks, 2)
        self.block3 = _stage(2 * base, 4 * base, blocks, 2)
        self.bn = nn.BatchNorm2d(4 * base)
        self.fc = nn.Linear(4 * base, classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(F.relu(self.bn(x)).mean(dim=(2, 3)))


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = PreActivationBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(PreActivationBlock(outputs, outputs, 1) for _ in range(blocks - 1)))
