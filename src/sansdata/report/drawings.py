"""A drawing of a run's file as one figure of the page, by its shape alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from ..figures import Drawing
from . import plots
from .findings import mean
from .words import brief, clip, count, percent, title

MOST = 40
"""Drawings of one section."""
FEW = 3
"""With more bar charts than this, each is small."""
NAMED = 6


def draw_all(key: str, drawings: Sequence[Drawing], colour: str) -> dict[str, Any]:
    """Figures of a section, small ones apart, and how many drawings are left out. key: begins every id in them."""
    small = sum(drawing.shape == "bars" for drawing in drawings) > FEW
    figures = [_figure(f"{key}{place}", drawing, colour, small) for place, drawing in enumerate(drawings[:MOST])]
    return {
        "large": [figure for figure in figures if not figure["small"]],
        "small": [figure for figure in figures if figure["small"]],
        "left_out": max(0, len(drawings) - MOST),
    }


def _figure(key: str, drawing: Drawing, colour: str, small: bool) -> dict[str, Any]:
    """title, meaning, svg, notes (sentences below it), mistakes (rows of a table below it), small."""
    label = title(drawing.name)
    names = drawing.labels or tuple(str(place) for place in range(len(drawing.data)))
    notes: list[str] = []
    mistakes: list[tuple[str, str, str, str]] = []
    match drawing.shape:
        case "bars":
            known = [(name, value) for name, value in zip(names, drawing.data) if value is not None]
            labels, values = zip(*known)
            shares = _are_shares(values) if drawing.unit == "" else drawing.unit == "share"
            svg = plots.bars(key, label, labels, values, colour, mean(values), shares, small)
            notes = _notes(known, len(names) - len(known), shares)
        case "heat":
            svg = plots.heat(key, f"{label}, in per cent of each row", names, drawing.data)
            mistakes = _mistakes(drawing.data, names)
            notes = [f"{count(len(names))} rows, pooled into blocks."] if len(names) > plots.MAX_CELLS else []
        case "curve":
            svg = plots.lines(key, label, drawing.data)
        case "points":
            svg = plots.points(key, label, drawing.data)
        case "reliability":
            svg = plots.reliability(key, f"{label} diagram", drawing.data)
            notes = ["Bars below the dashed line: surer than right."]
    return {
        "title": label, "meaning": drawing.meaning, "svg": Markup(svg), "notes": notes, "mistakes": mistakes,
        "small": small and drawing.shape == "bars",
    }  # fmt: skip


def _are_shares(values: Sequence[float]) -> bool:
    """Whether bars without a unit are shares: fractions, none outside 0..1."""
    return min(values) >= 0 and max(values) <= 1 and not all(isinstance(value, int) for value in values)


def _notes(known: Sequence[tuple[str, float]], absent: int, shares: bool) -> list[str]:
    """What a chart without names does not show, and how many bars have no value."""
    notes = [f"{count(absent)} without a value {'is' if absent == 1 else 'are'} left out."] if absent else []
    if len(known) <= plots.MAX_NAMED:
        return notes
    write = percent if shares else brief
    order = sorted(known, key=lambda pair: -pair[1])
    highest, lowest = order[:NAMED], order[: -NAMED - 1 : -1]
    for word, pairs in (("Highest", highest), ("Lowest", lowest)):
        notes.append(f"{word}: " + ", ".join(f"{clip(name, 40)} {write(value)}" for name, value in pairs) + ".")
    zero = sum(value == 0 for _, value in known)
    return notes + ([f"{count(zero)} of {count(len(known))} are 0."] if zero else [])


def _mistakes(matrix: np.ndarray, names: tuple[str, ...], most: int = 8) -> list[tuple[str, str, str, str]]:
    """The most frequent values off the diagonal: (row, column, how often, share of the row)."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(order, wrong.shape)
    of = np.maximum(matrix.sum(1), 1e-12)
    return [
        (names[row], names[column], count(float(wrong[row, column])), percent(float(wrong[row, column] / of[row])))
        for row, column in zip(rows.tolist(), columns.tolist()) if wrong[row, column] > 0
    ]  # fmt: skip
