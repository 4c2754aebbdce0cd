"""Figures of masks: pure functions of NumPy arrays.

Shapes: N masks, K classes, (H, W) pixels. A mask is uint8 (N, H, W), each pixel a class 0..K-1, or VOID in the truth
where it does not count.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...tasks import VOID

TOLERANCE = 2
"""Pixels that two boundaries may lie apart and still be one (boundary F1, Csurka et al. 2013)."""


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """(K, K) counts of pixels: rows true, columns predicted; void ones left out."""
    counted = truth != VOID
    pairs = truth[counted].astype(np.int64) * classes + predicted[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def overlaps(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(Dice, IoU) of each class, (K,) each, over all pixels together; nan for a class that is neither true nor
    predicted. counts: as `confusion`."""
    both = np.diag(counts).astype(np.float64)
    either = counts.sum(0) + counts.sum(1)
    with np.errstate(invalid="ignore"):
        return 2 * both / either, both / (either - both)


def mean_iou(counts: np.ndarray) -> float:
    """Mean over the classes that occur in the truth of intersection over union, 0..1. counts: as `confusion`."""
    return float(overlaps(counts)[1][counts.sum(1) > 0].mean())


def surface_distances(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances in pixels from each boundary pixel of one mask to the nearest of the other, both ways.

    one, other: bool (H, W), neither empty. A boundary pixel is one of the mask with a neighbour, of four, that is not,
    or that lies beyond the image.
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt

    edges = [mask & np.logical_not(binary_erosion(mask)) for mask in (one, other)]
    nearest = [np.asarray(distance_transform_edt(np.logical_not(edge))) for edge in edges]
    return nearest[1][edges[0]], nearest[0][edges[1]]


def hausdorff95(one: np.ndarray, other: np.ndarray) -> float:
    """The larger of the two directed 95th percentiles of `surface_distances`, in pixels (HD95). Where one mask is empty
    and the other is not, the image's diagonal; nan where both are."""
    if not (one.any() and other.any()):
        return float(np.hypot(*one.shape)) if one.any() or other.any() else float("nan")
    return max(float(np.percentile(way, 95)) for way in surface_distances(one, other))


def boundary_f1(truth: np.ndarray, predicted: np.ndarray, tolerance: int = TOLERANCE) -> float:
    """Harmonic mean of the shares of either boundary that lie within `tolerance` pixels of the other, 0..1; 0 where one
    mask is empty, nan where both are. truth, predicted: bool (H, W)."""
    if not (truth.any() and predicted.any()):
        return 0.0 if truth.any() or predicted.any() else float("nan")
    recall, precision = ((way <= tolerance).mean() for way in surface_distances(truth, predicted))
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def by_mask(truth: np.ndarray, predicted: np.ndarray, classes: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(class, where it is true, where it is predicted), bool (H, W), of every mask and class; void pixels are
    neither."""
    for true, guess in zip(truth, predicted):
        counted = true != VOID
        for one in range(classes):
            yield one, true == one, (guess == one) & counted
