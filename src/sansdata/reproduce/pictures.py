"""The arms of a recipe on a plane of two measures, as an SVG beside the page."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from statistics import mean, stdev
from typing import Any

import matplotlib
from matplotlib.figure import Figure

COLOURS = {
    "method": "#0072b2", "floor": "#7f7f7f", "ceiling": "#000000", "ablation": "#d55e00", "combination": "#009e73",
}  # fmt: skip
WIDE = 20.0
"""Largest over smallest value from which an axis is one of logarithms."""
GAP = 0.045
"""Between the names of two arms beside the axes, of the axes' height."""
_STYLE: Any = {
    "svg.hashsalt": "sansdata",
    "svg.fonttype": "none",
    "font.size": 8,
    "axes.grid": True,
    "grid.color": "#dddddd",
}


def plane(
    across: str,
    up: str,
    arms: Mapping[str, tuple[str, list[tuple[float, float]]]],
    papers: Mapping[str, tuple[float, float]],
) -> bytes | None:
    """An SVG with the mean of each arm and, of several seeds, its standard error; None where no arm has both measures.
    Names stand beside the axes, joined to their points by lines: where arms are alike, names at the points would cover
    each other.

    arms: name -> (role, a pair of both measures for each seed). papers: name -> such a pair that was published.
    """
    members = {name: (role, pairs) for name, (role, pairs) in arms.items() if pairs}
    if not members:
        return None
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        axes = figure.add_subplot()
        places = {name: [_mean(side) for side in zip(*pairs)] for name, (_, pairs) in members.items()}
        for name, ((x, x_error), (y, y_error)) in places.items():
            colour = COLOURS[members[name][0]]
            axes.errorbar(x, y, y_error, x_error, fmt="o", color=colour, markersize=4, elinewidth=1)
        for x, y in papers.values():
            axes.plot(x, y, "D", color="#000000", fillstyle="none", markersize=4)
        across_all = [x for _, pairs in members.values() for x, _ in pairs]
        if min(across_all) > 0 and max(across_all) > WIDE * min(across_all):
            axes.set_xscale("log")
        axes.set_axisbelow(True)
        low, high = axes.get_ylim()
        order = sorted(places, key=lambda name: (places[name][1], name))
        heights = apart([(places[name][1][0] - low) / (high - low) for name in order], GAP)
        for name, height in zip(order, heights):
            colour = COLOURS[members[name][0]]
            axes.annotate(
                name, (places[name][0][0], places[name][1][0]), xytext=(1.03, height), textcoords="axes fraction",
                fontsize=7, color=colour, va="center",
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.5, "shrinkB": 3,
                            "relpos": (0, 0.5)},
            )  # fmt: skip
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        roles = [role for role in COLOURS if role in {role for role, _ in members.values()}]
        marks = [axes.plot([], [], "o", color=COLOURS[role], label=role)[0] for role in roles]
        if papers:
            marks += axes.plot([], [], "D", color="#000000", fillstyle="none", label="published")
        figure.legend(handles=marks, fontsize=7, frameon=False, loc="outside lower center", ncols=len(marks))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def apart(heights: list[float], gap: float) -> list[float]:
    """Heights in rising order, moved so that neighbours are `gap` apart and none is above 1, where there is room."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + gap) if moved else height)
    top = 1.0
    for place in reversed(range(len(moved))):
        moved[place] = min(moved[place], top)
        top = moved[place] - gap
    return moved


def _mean(values: tuple[float, ...]) -> tuple[float, float]:
    """(the mean, its standard error, 0 of one value)."""
    return mean(values), stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
