"""The narrow CIFAR ResNets of He et al. 2016, "Deep residual learning for image recognition", section 4.2.

Depth is 6n + 2: a 3x3 stem and three stages of n basic blocks with `width`, 2 x and 4 x as many channels. Shortcuts are
option A, subsampled and zero-padded, without parameters; or option B, a 1x1 convolution and BatchNorm where the shape
changes, as in the checkpoints of Tian et al. 2020 (RepDistiller) and of chenyaofo/pytorch-cifar-models.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, projection: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.downsample: nn.Sequential | None = None
        if projection and (stride != 1 or inputs != outputs):
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.downsample is not None:
            return F.relu(out + self.downsample(x))
        skip = x[:, :, :: self.stride, :: self.stride]
        if extra := out.shape[1] - x.shape[1]:  # read off the tensors, so that a resized block still fits
            skip = F.pad(skip, (0, 0, 0, 0, extra // 2, extra - extra // 2))
        return F.relu(out + skip)


class CifarResNet(nn.Module):
    """Images (B, C, H, W), normalised -> logits (B, K). Any height and width from 4: the last map is averaged."""

    def __init__(
        self,
        depth: int,
        channels: int = 3,
        classes: int = 10,
        width: int = 16,
        projection: bool = False,
        stem: int | None = None,
    ) -> None:
        """depth: 6n + 2. width: channels of the first stage. projection: shortcuts of option B. stem: channels of the
        first convolution, where they are not `width`. Raises ValueError for another depth."""
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth must be 6n + 2 (8, 14, 20, ...), got {depth}")
        blocks = (depth - 2) // 6
        first = width if stem is None else stem
        self.conv1 = nn.Conv2d(channels, first, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = _stage(first, width, blocks, 1, projection)
        self.layer2 = _stage(width, 2 * width, blocks, 2, projection)
        self.layer3 = _stage(2 * width, 4 * width, blocks, 2, projection)
        self.linear = nn.Linear(4 * width, classes)
        for part in self.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(part.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


def _stage(inputs: int, outputs: int, blocks: int, stride: int, projection: bool) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride, projection)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1, projection) for _ in range(blocks - 1)))
