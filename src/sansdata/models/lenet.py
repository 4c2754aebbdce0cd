"""LeNet-5 with ReLU and max-pooling (LeCun et al. 1998, "Gradient-based learning applied to document recognition")."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

MIN_SIZE = 32


class LeNet5(nn.Module):
    """Images (B, C, H, W), normalised -> logits (B, K).

    Three 5x5 convolutions, 2x2 max-pooling after the first two, two linear layers. The net is drawn for 32x32: smaller
    images are zero-padded on all sides to 32, as the paper does with 28x28 digits; of larger ones the last map is
    averaged over its places, so that the linear layers fit any size.
    """

    def __init__(self, channels: int = 1, classes: int = 10, width: float = 1.0) -> None:
        """width: factor on the 6, 16, 120 and 84 hidden channels."""
        super().__init__()
        first, second, third, hidden = (max(1, round(base * width)) for base in (6, 16, 120, 84))
        self.conv1 = nn.Conv2d(channels, first, 5)
        self.conv2 = nn.Conv2d(first, second, 5)
        self.conv3 = nn.Conv2d(second, third, 5)
        self.fc1 = nn.Linear(third, hidden)
        self.fc2 = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = pad_to(x, MIN_SIZE)
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.conv3(x)).mean(dim=(2, 3))
        return self.fc2(F.relu(self.fc1(x)))


def pad_to(x: Tensor, size: int) -> Tensor:
    """Zeros around (B, C, H, W) so that height and width are at least `size`."""
    down, across = max(0, size - x.shape[-2]), max(0, size - x.shape[-1])
    if not (down or across):
        return x
    return F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
