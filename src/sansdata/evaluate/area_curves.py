"""What the masks of a film say of a beating heart: its area over time, when it is full and empty, how much it ejects.

Shapes: T frames. A mask is bool (T, H, W), a curve float (T,). ED is the end of filling, where the ventricle is
largest, ES the end of emptying. Frames are whole numbers; times are frames over frames a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Frames = Sequence[int] | np.ndarray
DISCS = 20
"""Of the method of discs, as echocardiographers use it."""
SHORTEST_BEAT = 0.4
"""Seconds between two events of a kind: 150 beats a minute."""
MISSED = 15
"""Frames that an event counts that nothing was found for (of the card's check: ours)."""
SMOOTHING = 1.5
"""Frames, the deviation of the Gaussian that a curve is smoothed with before its peaks are sought."""
PROMINENCE = 0.5
"""Of the curve's own deviation, that a peak must stand out by."""


def areas(masks: np.ndarray) -> np.ndarray:
    """(T,) pixels of each mask."""
    return masks.reshape(len(masks), -1).sum(1).astype(np.float64)


def volumes(masks: np.ndarray) -> np.ndarray:
    """(T,) in pixels cubed, by discs (single-plane Simpson): V = pi / 4 sum d^2 h along the long axis of each mask."""
    return np.array([_volume(mask) for mask in masks])


def _volume(mask: np.ndarray) -> float:
    """The long axis is that of the largest spread of the pixels. A disc's diameter is its area over its height."""
    places = np.argwhere(mask).astype(np.float64)
    if len(places) < 3:
        return 0.0
    centred = places - places.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    along = centred @ directions[:, -1]
    height = (along.max() - along.min() + 1) / DISCS
    which = np.minimum(((along - along.min() + 0.5) / height).astype(np.int64), DISCS - 1)
    diameters = np.bincount(which, minlength=DISCS) / height
    return float(np.pi / 4 * (diameters**2).sum() * height)


# -- when


def events(curve: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """(frames of ED, frames of ES) without any reference: the peaks and valleys of the smoothed curve that stand out,
    at least SHORTEST_BEAT apart. An event at the very first or last frame is none that can be seen."""
    from scipy.ndimage import gaussian_filter1d
    from scipy.signal import find_peaks

    smooth = gaussian_filter1d(np.asarray(curve, np.float64), SMOOTHING, mode="nearest")
    far, least = max(1, round(SHORTEST_BEAT * fps)), PROMINENCE * float(smooth.std())
    ed, es = (find_peaks(sign * smooth, distance=far, prominence=max(least, 1e-9))[0] for sign in (1, -1))
    return ed, es


def event_near(curve: np.ndarray, reference: int, full: bool) -> int | None:
    """The frame of ED (full) or ES in the beat that a reference frame lies in, as EchoDFKD's released code chooses it:
    of the runs of frames beyond the median, or at it where none is beyond, such as of masks that are empty in most
    frames, that with the end nearest to the reference, its extreme.

    Deviation: None for a curve that is the same in every frame, where the release names the first.

    The reference chooses the beat here, which flatters a curve with many wrong ones: `matched` does not.
    """
    low = -np.asarray(curve, np.float64) if full else np.asarray(curve, np.float64)
    if low.min() == low.max():
        return None
    middle = np.median(low)
    below = np.flatnonzero(low < middle if low.min() < middle else low <= middle)
    runs = np.split(below, np.flatnonzero(np.diff(below) > 1) + 1)
    run = min(runs, key=lambda frames: min(abs(frames[0] - reference), abs(frames[-1] - reference)))
    return int(run[np.argmin(low[run])])


def matched(true: Frames, predicted: Frames) -> np.ndarray:
    """Frames between each true event and the one found for it, each found one for one true event at most; MISSED where
    there is none nearer. The pairs are those of the least sum."""
    from scipy.optimize import linear_sum_assignment

    apart = np.full((len(true), len(true) + len(predicted)), float(MISSED))
    if len(predicted):
        between = np.abs(np.subtract.outer(np.asarray(true), np.asarray(predicted)))
        apart[:, : len(predicted)] = np.minimum(between, MISSED)
    rows, columns = linear_sum_assignment(apart)
    return apart[rows, columns]


# -- how much


def ejection_fraction(curve: np.ndarray, ed: Frames, es: Frames) -> float:
    """Percent, of an area or a volume: the medians over the events of its mean over a frame and both beside it. Where a
    film is too short to show ED or ES, the largest or smallest such mean stands for it; nan for a film without area."""
    from scipy.ndimage import uniform_filter1d

    near = uniform_filter1d(np.asarray(curve, np.float64), 3, mode="nearest")
    full = float(np.median(near[np.asarray(ed)]) if len(ed) else near.max())
    empty = float(np.median(near[np.asarray(es)]) if len(es) else near.min())
    return 100 * (full - empty) / full if full > 0 else float("nan")


@dataclass(frozen=True)
class Agreement:
    """Of two measurements of the same: bias, the mean difference; the limits of agreement, bias -/+ 1.96 deviations
    (Bland & Altman 1986); error, the mean absolute difference; r, Pearson's. count: pairs in which both were found."""

    bias: float
    low: float
    high: float
    error: float
    r: float
    count: int


def agreement(predicted: np.ndarray, true: np.ndarray) -> Agreement:
    """predicted, true (N,), nan where nothing was found."""
    both = np.isfinite(predicted) & np.isfinite(true)
    a, b = predicted[both], true[both]
    if len(a) < 2:
        none = float("nan")
        return Agreement(none, none, none, none, none, len(a))
    gap = a - b
    spread = 1.96 * float(gap.std(ddof=1))
    bias = float(gap.mean())
    varied = a.std() > 0 and b.std() > 0
    r = float(np.corrcoef(a, b)[0, 1]) if varied else 0.0
    return Agreement(bias, bias - spread, bias + spread, float(np.abs(gap).mean()), r, len(a))
