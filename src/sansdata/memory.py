"""What was acquired and is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .contracts import Batch


def quantise(images: Tensor) -> Tensor:
    """Unit-space images as uint8; what lies outside 0..1 is clamped."""
    return images.detach().mul(255).round_().clamp_(0, 255).to("cpu", torch.uint8)


def dequantise(images: Tensor) -> Tensor:
    """uint8 images in unit space."""
    return images.float().div_(255)


class Pool:
    """A ring of images kept as uint8, with labels and, where given, the teacher's logits on the kept images.

    Deviation: released code keeps the pool as PNG files that later runs find again; this one ends with the run.
    A pooled image is the quantised one: give `add` the logits of `dequantise(quantise(images))`, not of `images`.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.images: Tensor | None = None
        self.targets: Tensor | None = None
        self.logits: Tensor | None = None
        self.added = 0
        """How many were ever added; the newest stands at (added - 1) % capacity."""

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, images: Tensor, targets: Tensor, logits: Tensor | None = None) -> None:
        """images (B, C, H, W) in unit space, targets (B,) int64, logits (B, K). The oldest make room."""
        if self.images is None:
            self.images = torch.empty(self.capacity, *images.shape[1:], dtype=torch.uint8)
            self.targets = torch.empty(self.capacity, dtype=torch.int64)
            if logits is not None:
                self.logits = torch.empty(self.capacity, logits.shape[1])
        place = (self.added + torch.arange(len(images))) % self.capacity
        self.images[place] = quantise(images)
        self.targets[place] = targets.cpu()  # type: ignore[index]
        if self.logits is not None:
            self.logits[place] = logits.detach().float().cpu()  # type: ignore[union-attr]
        self.added += len(images)

    def sample(self, count: int, generator: torch.Generator) -> Batch:
        """`count` images drawn evenly with replacement; extras['logits'] where they are kept."""
        if self.images is None:
            raise RuntimeError("the pool is empty: a method must acquire before it transfers")
        ids = torch.randint(len(self), (count,), generator=generator)
        batch = Batch(dequantise(self.images[ids]), targets=self.targets[ids], ids=ids)  # type: ignore[index]
        if self.logits is not None:
            batch.extras["logits"] = self.logits[ids]
        return batch

    def state_dict(self) -> dict[str, Any]:
        kept = len(self)
        columns = {"images": self.images, "targets": self.targets, "logits": self.logits}
        return {
            "added": self.added,
            **{name: None if column is None else column[:kept] for name, column in columns.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.added = state["added"]
        for name in ("images", "targets", "logits"):
            kept = state[name]
            if kept is None:
                setattr(self, name, None)
                continue
            column = torch.empty(self.capacity, *kept.shape[1:], dtype=kept.dtype)
            column[: len(kept)] = kept
            setattr(self, name, column)


class Slot:
    """Named values that outlive a move: tensors, numbers, text, and lists and dicts of them."""

    def __init__(self, **values: Any) -> None:
        self.values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.values[name] = value

    def state_dict(self) -> dict[str, Any]:
        return dict(self.values)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.values = dict(state)


class Reservoir:
    """An even sample of everything ever offered (Vitter's algorithm R), as uint8 images."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.images: Tensor | None = None
        self.offered = 0

    def offer(self, images: Tensor, generator: torch.Generator) -> None:
        """images (B, C, H, W) in unit space."""
        kept = quantise(images)
        room = 0 if self.images is None else self.capacity - len(self.images)
        if self.images is None:
            self.images, kept = kept[: self.capacity].clone(), kept[self.capacity :]
            self.offered += len(self.images)
        elif room > 0:
            self.images = torch.cat([self.images, kept[:room]])
            self.offered += len(kept[:room])
            kept = kept[room:]
        for image in kept:
            self.offered += 1
            place = int(torch.randint(self.offered, (), generator=generator))
            if place < self.capacity:
                self.images[place] = image

    def state_dict(self) -> dict[str, Any]:
        return {"images": self.images, "offered": self.offered}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.images, self.offered = state["images"], state["offered"]


class FeatureBank:
    """A ring of feature vectors (D,) of what was made before, float32 on the CPU."""

    def __init__(self, capacity: int, size: int) -> None:
        """size: D."""
        self.capacity = capacity
        self.rows = torch.empty(capacity, size)
        self.added = 0
        """How many were ever added; the newest stands at (added - 1) % capacity."""

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, features: Tensor) -> None:
        """features (B, D). The oldest make room."""
        kept = features.detach().float().cpu()[-self.capacity :]
        self.added += len(features)
        self.rows[torch.arange(self.added - len(kept), self.added) % self.capacity] = kept

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(n, D): `count` of them drawn without repeats, all in random order where there are fewer."""
        return self.rows[torch.randperm(len(self), generator=generator)[:count]]

    def state_dict(self) -> dict[str, Any]:
        return {"added": self.added, "rows": self.rows[: len(self)]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.added = state["added"]
        self.rows[: len(self)] = state["rows"].cpu()
