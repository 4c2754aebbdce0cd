"""Two networks side by side that are trained as one."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pair(nn.Module):
    """Inputs (B, ...) -> the logits of both, (2B, K), those of the first before those of the second. Taps are the
    first's own paths."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def get_submodule(self, target: str) -> nn.Module:
        return self.first.get_submodule(target)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([self.first(inputs), self.second(inputs)])
