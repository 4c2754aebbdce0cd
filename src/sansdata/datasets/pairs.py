"""A training and a test set of another task than the student's, in the student's shape."""

from __future__ import annotations

import numpy as np

from ..errors import DataError
from . import known
from .fit import fit_shape
from .images import holdout, load_images
from .imageset import ImageSet


def load_pair(spec: str, shape: tuple[int, int, int], most: int) -> tuple[ImageSet, ImageSet]:
    """(training, test) images of the set `spec` in shape (C, H, W), with the set's own classes.

    spec: as in `load_images`. A folder or file is one split by itself: half of it, drawn by class with seed 0, is for
    testing. most: of each; more are drawn down to as many, by class with seed 0. Raises DataError.
    """
    if spec in known.NAMES:
        train, test = load_images(spec, None, "train"), load_images(spec, None, "test")
    else:
        whole = load_images(spec)
        if len(whole) < 4:
            raise DataError(f"{whole.source}: {len(whole)} image(s); at least 4 are needed to train on some and test")
        train, test = holdout(whole, len(whole) // 2, seed=0)
    learnt, tested = set(np.unique(train.labels)), set(np.unique(test.labels))
    if len(learnt) < 2:
        raise DataError(f"{train.source}: a probe needs images of at least 2 classes to train on, found {len(learnt)}")
    if tested - learnt:
        missing = sorted(int(label) for label in tested - learnt)[:10]
        raise DataError(f"{test.source}: class(es) {missing} have test images but none to train on; give more images")
    train.require_variation()
    return tuple(fit_shape(_at_most(data, most), shape) for data in (train, test))  # type: ignore[return-value]


def _at_most(data: ImageSet, most: int) -> ImageSet:
    return data if len(data) <= most else holdout(data, most, seed=0)[1]
