"""Curves of several groups in one drawing: the mean over a group's runs, its spread as a band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .plots import COLOURS, MARKS, canvas, svg, thin, tidy, wants_log
from .words import brief

DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
MAX_GROUPS = len(COLOURS) * len(DASHES)
POINTS = 60
Curve = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Band:
    """x (P,), mean (P,) and, with several runs, the sample standard deviation (P,)."""

    x: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray | None


def style(place: int) -> tuple[str, str | tuple]:
    """Colour name and dash of the group at `place`: no two of the first 18 are alike."""
    return COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]


def band(curves: Sequence[Curve]) -> Band | None:
    """The runs of a group on one axis, over the range that all of them cover; None where there is none.

    Each run is smoothed first, as in the report of a single run.
    """
    smooth = [_smoothed(x, y) for x, y in curves if len(y)]
    if not smooth:
        return None
    if len(smooth) == 1:
        return Band(*smooth[0], None)
    low, high = max(x[0] for x, _ in smooth), min(x[-1] for x, _ in smooth)
    if high < low:  # runs that share no range have no mean
        return None
    grid = np.linspace(low, high, min(POINTS, max(len(x) for x, _ in smooth)))
    values = np.stack([np.interp(grid, x, y) for x, y in smooth])
    return Band(grid, values.mean(0), values.std(0, ddof=1))


def _smoothed(x: Sequence[float], y: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    if len(y) <= 12:
        return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    _, _, middle, smooth = thin(x, y, POINTS)
    return middle, smooth


def overlay(name: str, label: str, groups: Sequence[tuple[int, Sequence[Curve]]], axis: str, share: bool) -> str:
    """One panel. groups: (place, its runs' curves). axis: what x is. share: y is 0..1 and shown in per cent."""
    bands = [(place, limits) for place, curves in groups if (limits := band(curves)) is not None]
    log = not share and bool(bands) and wants_log([value for _, one in bands for value in one.mean.tolist()])
    with canvas(4.4, 2.2) as (figure, axes):
        for place, one in bands:
            colour, dash = style(place)
            mark = {"marker": "o", "markersize": 2.5} if len(one.x) <= 12 else {}
            axes.plot(one.x, one.mean, color=MARKS[colour], linestyle=dash, linewidth=1.5, **mark)
            if one.deviation is not None:
                low, high = one.mean - one.deviation, one.mean + one.deviation
                low = np.maximum(low, one.mean.min() / 3) if log else low
                axes.fill_between(one.x, low, high, color=MARKS[colour], alpha=0.16, linewidth=0)
        if log:
            axes.set_yscale("log")
        tidy(axes)
        if share:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
        axes.set_xlabel(axis)
        return svg(figure, name, label)


def ladder(name: str, label: str, rows: Sequence[tuple[str, int, Sequence[float]]]) -> str:
    """A line per group: a dot per run, a bar for the mean, in per cent. rows: (text, place, values 0..1)."""
    with canvas(6.4, 0.55 + 0.24 * len(rows)) as (figure, axes):
        for line, (_, place, values) in enumerate(rows):
            colour = MARKS[style(place)[0]]
            mean = float(np.mean(values))
            axes.plot([0, mean], [line, line], color=colour, linewidth=1, alpha=0.35)
            if len(values) > 1:
                spread = float(np.std(values, ddof=1))
                axes.plot([mean - spread, mean + spread], [line, line], color=colour, linewidth=5, alpha=0.25)
            axes.plot(values, [line] * len(values), "o", color=colour, markersize=4, alpha=0.75, markeredgewidth=0)
            axes.plot([mean], [line], "|", color=MARKS["ink"], markersize=11, markeredgewidth=1.5)
        axes.set_yticks(range(len(rows)), [text for text, _, _ in rows])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, min(1.02, 1.08 * max((max(values) for _, _, values in rows), default=1.0) + 1e-3))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{brief(100 * value)} %"))
        return svg(figure, name, label)
