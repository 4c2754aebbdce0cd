"""Labelled images in an .npz file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..decoding.arrays import read_array, read_images
from ..errors import DataError
from ..tasks import MAX_CLASSES
from .fit import numbers
from .imageset import ImageSet, check_labels


def load(path: Path, classes: int | None = None) -> ImageSet:
    """The set in `path`: `x` uint8 (N, H, W) or (N, H, W, C), C 1 or 3, and `y` whole numbers (N,) or (N, 1).

    Classes are named by their numbers, as many as there are up to the largest label. classes: of the task that the set
    is for; None takes as many as a task can have. Raises DataError for anything else.
    """
    images = read_images(path)
    labels = whole_numbers(read_array(path, "y"), f"{path}: 'y'")
    if labels.min(initial=0) < 0:
        raise DataError(f"{path}: 'y' has labels from {labels.min()} to {labels.max()}; expected 0..classes-1")
    whose = f"{path}: for a task of {classes} classes" if classes else str(path)
    check_labels(labels, classes or MAX_CLASSES, whose)  # before names are made of them: a label is one number of many
    return ImageSet(images, labels, numbers(int(labels.max(initial=0)) + 1), str(path))


def whole_numbers(values: np.ndarray, where: str) -> np.ndarray:
    """`values` (N,) or (N, 1) of any integer type as int64 (N,). Raises DataError."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dtype.kind not in "iu" or values.ndim != 1:
        raise DataError(f"{where} must be whole numbers of shape (N,), got {values.dtype} {values.shape}")
    if values.dtype == np.uint64 and (values > np.iinfo(np.int64).max).any():
        raise DataError(f"{where} has numbers beyond int64")
    return values.astype(np.int64)
