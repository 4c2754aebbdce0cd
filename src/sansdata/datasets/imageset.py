"""The type of a labelled set of images, and how one is split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..tasks import MAX_CLASSES, Task


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their classes.

    images: uint8 (N, H, W, C), C 1 or 3. labels: int64 (N,), each an index into class_names.
    source: where they came from. notes: what was done to them on the way, in plain words.
    Raises DataError where the parts do not fit each other.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
            raise DataError(
                f"{self.source}: expected images uint8 (N, H, W, C) with 1 or 3 channels, "
                f"got {images.dtype} {images.shape}"
            )
        if labels.dtype != np.int64 or labels.ndim != 1:
            raise DataError(f"{self.source}: expected labels int64 (N,), got {labels.dtype} {labels.shape}")
        if len(images) != len(labels):
            raise DataError(f"{self.source}: {len(images)} images but {len(labels)} labels")
        if images.size == 0:
            raise DataError(f"{self.source}: no images (shape {images.shape})")
        check_labels(labels, len(self.class_names), self.source)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image, the order of `ImageTask.shape`."""
        _, height, width, channels = self.images.shape
        return channels, height, width

    def require_fit(self, task: Task) -> None:
        """Raises DataError where images or labels are those of another task, or one image is all that is there."""
        if self.shape != task.shape:
            raise DataError(
                f"{self.source}: images of (C, H, W) {self.shape}, the task takes {task.shape}; load them with this "
                "task"
            )
        check_labels(self.labels, task.classes, self.source)
        self.require_variation()

    def require_variation(self) -> None:
        """Raises DataError where all images are one: whatever is measured on them is the mix of the classes."""
        if len(self) > 1 and all(np.array_equal(image, self.images[0]) for image in self.images[1:]):
            raise DataError(alike(len(self), "images", self.source))

    def subset(self, index: np.ndarray, note: str) -> ImageSet:
        """The images at `index` (M,), in that order, with `note` added."""
        return replace(self, images=self.images[index], labels=self.labels[index], notes=(*self.notes, note))

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(images float32 (B, C, H, W) in 0..1, labels int64 (B,)) in order; the last may be smaller."""
        for start in range(0, len(self), size):
            images = torch.from_numpy(np.ascontiguousarray(self.images[start : start + size]))
            labels = torch.from_numpy(self.labels[start : start + size])
            yield images.permute(0, 3, 1, 2).contiguous().float().div_(255), labels


def alike(count: int, unit: str, source: str) -> str:
    """What is wrong with a set that any network answers with one class."""
    return (
        f"{source}: all {count:,} {unit} are the same: nothing can be measured on them. Look at a few: what tells them "
        "apart was lost when they were made, or read"
    )


def class_number(text: str) -> int | None:
    """The class that a label means by its number; None where it is no number that a class of any task has."""
    if text.isdecimal() and len(text.lstrip("0")) <= len(str(MAX_CLASSES)):
        return int(text[-len(str(MAX_CLASSES)) :])
    return None


def check_labels(labels: np.ndarray, classes: int, source: str) -> None:
    """Raises DataError unless every label is in 0..classes-1."""
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{source}: {int(wrong.sum())} label(s) outside 0..{classes - 1}, "
            f"the first is {labels[first]} at position {first}"
        )


def check_several(labels: np.ndarray, classes: int, source: str) -> None:
    """Raises DataError unless labels are (N, classes) of 0 and 1."""
    if labels.ndim != 2 or labels.shape[1] != classes or not np.isin(labels, (0, 1)).all():
        raise DataError(f"{source}: labels must be 0 or 1 for each of {classes}, got {labels.dtype} {labels.shape}")


def pick(labels: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(rest, picked): sorted indices; `n` are picked, each class in proportion (largest remainder)."""
    # RandomState: its stream is frozen for good; that of default_rng may change between NumPy versions
    random = np.random.RandomState(seed)
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * n / len(labels)
    take = np.floor(exact).astype(int)
    remainder_first = np.argsort(-(exact - take), kind="stable")
    take[remainder_first[: n - take.sum()]] += 1
    chosen = [random.permutation(np.flatnonzero(labels == one))[:k] for one, k in zip(classes, take, strict=True)]
    picked = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), picked), picked
