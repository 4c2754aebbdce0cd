"""Plots as inline SVG text. Colours are the page's CSS variables, so that one drawing serves light, dark and paper.

Only the object API of matplotlib: no pyplot, no state shared with the caller's own plots.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from markupsafe import escape
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from .words import brief, clip

# The page gives each name its colour (Okabe-Ito tones); the hex value only marks the place inside the SVG.
MARKS = {
    "ink": "#010101", "muted": "#020202", "rule": "#030303", "blue": "#040404", "orange": "#050505",
    "green": "#060606", "purple": "#070707", "red": "#080808", "paper": "#090909",
}  # fmt: skip
_BLUE = (0.0, 0.447, 0.698)
_STYLE: Any = {
    "svg.hashsalt": "sansdata", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 8,
    "text.parse_math": False, "text.usetex": False, "text.color": MARKS["ink"],
    "axes.labelcolor": MARKS["muted"], "axes.edgecolor": MARKS["rule"], "axes.facecolor": "none",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": MARKS["rule"], "grid.linewidth": 0.6, "xtick.color": MARKS["rule"], "ytick.color": MARKS["rule"],
    "xtick.labelcolor": MARKS["muted"], "ytick.labelcolor": MARKS["muted"], "xtick.major.size": 0,
    "ytick.major.size": 0, "xtick.minor.size": 0, "ytick.minor.size": 0, "figure.facecolor": "none",
    "path.simplify": True, "path.simplify_threshold": 0.2, "axes.unicode_minus": True, "image.composite_image": False,
}  # fmt: skip
COLOURS = ("blue", "orange", "green", "purple", "red", "muted")
"""Of things that stand beside each other in a drawing, the first one first."""
MAX_NAMED = 24  # more classes than this are drawn without their names
MAX_CELLS = 200


@contextmanager
def canvas(width: float, height: float) -> Iterator[tuple[Figure, Any]]:
    """A figure of so many inches and its axes, in the page's style."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters its own font lacks: the browser has them
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.add_subplot()


def svg(figure: Figure, name: str, label: str) -> str:
    """The figure without file header; `label` is for those who do not see it.

    Ids carry `name`, because ids are shared by all drawings of a page.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]*"', text)
    head = f'<svg role="img" aria-label="{escape(clip(label, 200))}" {box.group(0) if box else ""}'
    text = re.sub(r"^<svg[^>]*", lambda _: head, text, count=1)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text).replace("xlink:href", "href")
    for colour, mark in MARKS.items():
        text = re.sub(rf"\b(fill|stroke): {mark}", rf"\1: var(--{colour})", text)
    return re.sub(r"\n\s*", "\n", text)


def tidy(axes: Any, x: bool = True, y: bool = True) -> None:
    """Few ticks, short numbers."""
    for axis, on in ((axes.xaxis, x), (axes.yaxis, y)):
        if on:
            axis.set_major_formatter(FuncFormatter(lambda value, _: brief(value)))
            axis.set_minor_formatter(NullFormatter())
            if axis.get_scale() == "linear":
                axis.set_major_locator(MaxNLocator(4))


def thin(steps: Sequence[float], values: Sequence[float], bins: int) -> tuple[np.ndarray, ...]:
    """At most 2 x `bins` raw points that keep every peak (x, y), and `bins` means smoothed (x, y)."""
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    starts = np.unique(np.linspace(0, len(y), min(bins, len(y)), endpoint=False).astype(int))
    sizes = np.diff(np.append(starts, len(y)))
    middle, mean = np.add.reduceat(x, starts) / sizes, np.add.reduceat(y, starts) / sizes
    width = max(1, len(mean) // 12) | 1
    window = np.ones(min(width, len(mean)))
    smooth = np.convolve(mean, window, "same") / np.convolve(np.ones_like(mean), window, "same")
    if len(y) <= 2 * bins:
        return x, y, middle, smooth
    ends = np.stack([np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)], 1)
    ends[1::2] = ends[1::2, ::-1]  # low-high, high-low: one line without jumping back each time
    return np.repeat(middle, 2), ends.ravel(), middle, smooth


def wants_log(values: Sequence[float]) -> bool:
    """Whether a curve spans so much that a linear axis would show only its beginning."""
    if len(values) < 3 or min(values) <= 0:
        return False
    low, high = np.quantile(np.asarray(values), [0.01, 0.99])
    return bool(high / low > 30)


def curve(
    name: str,
    label: str,
    steps: Sequence[float],
    values: Sequence[float],
    colour: str = "blue",
    bins: int = 150,
    log: bool = False,
    axis: str = "",
) -> str:
    """One small line plot: raw in a light stroke, smoothed on top. axis: what x is, where it is not the step."""
    with canvas(3.4, 1.7) as (figure, axes):
        x, y, middle, smooth = thin(steps, values, bins)
        few = len(y) <= 12
        mark = {"marker": "o", "markersize": 3} if few else {}
        axes.plot(x, y, color=MARKS[colour], linewidth=1.4 if few else 0.7, alpha=1 if few else 0.35, **mark)
        if not few:
            axes.plot(middle, smooth, color=MARKS[colour], linewidth=1.6)
        if log:
            axes.set_yscale("log")
        tidy(axes)
        if axis:
            axes.set_xlabel(axis)
        return svg(figure, name, label)


def points(name: str, label: str, groups: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Points (x, y) of several names on one pair of axes; each name has a colour and a mark of its own."""
    with canvas(5.6, 2.8) as (figure, axes):
        for place, (title, pairs) in enumerate(groups.items()):
            x, y = zip(*pairs)
            mark = "os^Dv"[(place + place // 6) % 5]
            axes.plot(x, y, mark, color=MARKS[COLOURS[place % 6]], markersize=6, label=clip(title, 40).lstrip("_"))
        tidy(axes)
        axes.margins(0.08, 0.1)
        figure.legend(frameon=False, labelcolor=MARKS["ink"], loc="outside right upper")
        return svg(figure, name, label)


def snapshots(
    name: str, figure_name: str, rows: Sequence[tuple[float, float, float | None]], best: float | None
) -> str:
    """Score or agreement of each snapshot, and its accuracy where known. rows: (step, figure, accuracy)."""
    with canvas(5.6, 2.5) as (figure, axes):
        steps = [row[0] for row in rows]
        axes.plot(steps, [row[1] for row in rows], "o-", color=MARKS["blue"], markersize=4, label=figure_name)
        known = [(row[0], row[2]) for row in rows if row[2] is not None]
        if known:
            axes.plot(*zip(*known), "s--", color=MARKS["orange"], markersize=4, label="accuracy (real data)")
        chosen = [row for row in rows if row[0] == best]
        if chosen:
            axes.plot(chosen[0][0], chosen[0][1], "o", markersize=11, markerfacecolor="none",
                      markeredgecolor=MARKS["green"], markeredgewidth=1.8, linestyle="none", label="best")  # fmt: skip
        tidy(axes)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
        axes.set_xlabel("student step")
        axes.margins(y=0.15)
        axes.legend(frameon=False, labelcolor=MARKS["ink"], loc="best")
        return svg(figure, name, f"{figure_name} of each snapshot")


def bars(
    name: str,
    label: str,
    names: Sequence[str],
    values: Sequence[float],
    colour: str,
    line: float,
    shares: bool,
    small: bool = False,
) -> str:
    """A bar per value, with its name where there is room, and a dashed line at their mean. shares: written in per
    cent."""
    total = len(values)
    named = total <= MAX_NAMED
    write = (lambda value: f"{100 * value:.4g} %") if shares else brief
    width = 3.4 if small else 5.6
    with canvas(width, 0.7 + 0.19 * total if named else 0.41 * width) as (figure, axes):
        if named:
            axes.barh(range(total), values, color=MARKS[colour], height=0.72)
            axes.set_yticks(range(total), [clip(text, 16 if small else 22) for text in names])
            axes.invert_yaxis()
            axes.grid(visible=False, axis="y")
        else:  # sorted, as one shape: a thousand bars would be a thousand paths
            axes.stairs(sorted(values, reverse=True), fill=True, color=MARKS[colour], linewidth=0, baseline=0)
            axes.set_xlabel(f"{total:,}, sorted")
            axes.set_xlim(0, total)
        across = axes.xaxis if named else axes.yaxis
        across.set_major_locator(MaxNLocator(4 if small else 5))
        across.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
        high, low = max([*values, line, 1e-9]) * 1.08, min([*values, 0.0]) * 1.08
        (axes.set_xlim if named else axes.set_ylim)(low, min(1.0, high) if shares else high)
        draw = axes.axvline if named else axes.axhline
        draw(line, color=MARKS["ink"], linewidth=1, linestyle=(0, (4, 3)), label="mean")
        figure.legend(frameon=False, labelcolor=MARKS["ink"], loc="outside upper right")
        return svg(figure, name, label)


def heat(name: str, label: str, names: Sequence[str], matrix: np.ndarray) -> str:
    """Heat map, each row (what is true) as shares; many rows are pooled into at most MAX_CELLS blocks a side."""
    total = len(matrix)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1e-12)
    if total > MAX_CELLS:
        edges = np.unique(np.linspace(0, total, MAX_CELLS, endpoint=False).astype(int))
        shares = np.add.reduceat(np.add.reduceat(shares, edges, 0), edges, 1)
        shares = shares / np.maximum(np.diff(np.append(edges, total))[:, None], 1)
    # The blue's alpha carries the value, so zero is the page itself, light or dark. The root shows rare confusions.
    picture = np.empty((*shares.shape, 4))
    picture[..., :3] = _BLUE
    picture[..., 3] = np.sqrt(np.clip(shares, 0, 1))
    with canvas(5.2, 4.9) as (figure, axes):
        axes.imshow(picture, interpolation="none", aspect="equal", extent=(0, total, total, 0))
        axes.grid(visible=False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        if total <= MAX_NAMED:
            ticks, texts = np.arange(total) + 0.5, [clip(text, 14) for text in names]
            axes.set_xticks(ticks, texts, rotation=45, ha="right", rotation_mode="anchor")
            axes.set_yticks(ticks, texts)
        if total <= 12:
            for row, column in np.argwhere(shares >= 0.005):
                share = shares[row, column]
                axes.text(column + 0.5, row + 0.5, f"{100 * share:.0f}", ha="center", va="center", fontsize=7,
                          color="#ffffff" if share > 0.3 else MARKS["ink"])  # fmt: skip
        return svg(figure, name, label)


def reliability(name: str, label: str, bins: Sequence[Mapping[str, float]]) -> str:
    """Accuracy against confidence. bins: with lower, upper, count, confidence and accuracy each, none empty."""
    low, high, number, sure, right = (
        [entry[key] for entry in bins] for key in ("lower", "upper", "count", "confidence", "accuracy")
    )
    with canvas(4.2, 4.4) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=MARKS["ink"], linewidth=1, linestyle=(0, (4, 3)), label="perfectly calibrated")
        axes.bar(low, right, [b - a for a, b in zip(low, high)], align="edge", color=MARKS["blue"],
                 edgecolor=MARKS["paper"], label="accuracy")  # fmt: skip
        axes.scatter(sure, right, zorder=3, color=MARKS["orange"], s=[8 + 60 * n / max(number) for n in number],
                     label="mean confidence; area: how many")  # fmt: skip
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="the student's confidence", ylabel="share that is right")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        # Above the axes: bars stand wherever the student is sure or unsure.
        figure.legend(frameon=False, labelcolor=MARKS["ink"], loc="outside upper left")
        return svg(figure, name, label)


def lines(
    name: str, label: str, curves: Mapping[str, Sequence[tuple[float, float]]], size: tuple[float, float] = (5.6, 2.6),
    colours: Sequence[str] = COLOURS,
) -> str:  # fmt: skip
    """Several named curves (x, y) on one pair of axes. size: width and height, inches."""
    with canvas(*size) as (figure, axes):
        for place, (title, points) in enumerate(curves.items()):
            x, y = zip(*points)
            mark = {"marker": "o", "markersize": 3} if len(x) <= 12 else {}
            colour, dash = MARKS[colours[place % len(colours)]], "-" if place < len(colours) else "--"
            axes.plot(x, y, dash, color=colour, linewidth=1.4, label=clip(title, 40).lstrip("_"), **mark)
        tidy(axes)
        axes.legend(frameon=False, labelcolor=MARKS["ink"], loc="best")
        return svg(figure, name, label)
