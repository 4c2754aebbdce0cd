"""A client's own labelled images. The algorithms see tensors; which set they come from is the caller's business."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..decoding import pixels


@dataclass(frozen=True, eq=False)
class ClientData:
    """images uint8 (N, C, H, W), labels int64 (N,), N from 1."""

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or len(self.images) != len(self.labels):
            raise ValueError(f"expected uint8 (N, C, H, W) and N labels, got {tuple(self.images.shape)}")
        if len(self.labels) == 0:
            raise ValueError("a client without images cannot take part")

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self, classes: int) -> Tensor:
        """(K,) int32: images of each class."""
        return torch.bincount(self.labels, minlength=classes).to(torch.int32)

    def batches(self, steps: int, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """`steps` batches of exactly `size`: images in unit space, labels. All data in random order, again and again.

        A client with fewer images than `size` meets some of them twice in a batch; no batch is ever smaller, because
        BatchNorm cannot learn from one image.
        """
        order = torch.empty(0, dtype=torch.int64)
        for _ in range(steps):
            while len(order) < size:
                order = torch.cat([order, torch.randperm(len(self), generator=generator)])
            ids, order = order[:size], order[size:]
            yield pixels.unpack(self.images[ids]), self.labels[ids]
