"""Figures and drawings as the files of a run have them, checked: what cannot be shown is counted, not shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from ..figures import Drawing, Figure, Finding, Unit
from .metrics import MAX_VALUE
from .tree import Tree
from .words import NOTHING, clip, count, percent

MOST = 2_000
"""Findings of one file."""
MAX_VALUES = 100_000
"""Of one drawing's bars, or points of a curve."""
MAX_CURVES = 20
ROWS = 100
"""Of each table of figures that has a row for a set, or for an attack."""
UNITS = get_args(Unit)


def read(entries: Tree, names: Sequence[str] = ()) -> tuple[list[Finding], int]:
    """(the findings in a list of `Figure.to_dict()` and `Drawing.to_dict()`, how many entries are none).

    names: labels of a drawing of as many values that has none of its own.
    """
    items = entries.items()
    several = [finding for item in items[:MOST] if (finding := _finding(item, names)) is not None]
    return several, len(items) - len(several)


def figures(several: Sequence[Finding]) -> dict[str, Figure]:
    """The numbers among findings, by name, in their order."""
    return {finding.name: finding for finding in several if isinstance(finding, Figure)}


def drawings(several: Sequence[Finding]) -> list[Drawing]:
    """Those that are drawn, in their order."""
    return [finding for finding in several if isinstance(finding, Drawing)]


def _finding(item: Tree, names: Sequence[str]) -> Finding | None:
    name, meaning = clip(item.at("name").text(), 80), clip(item.at("meaning").text(), 300)
    if not name:
        return None
    if item.at("shape").value is None:
        return _figure(item, name, meaning)
    read_data = DATA.get(item.at("shape").text())
    data = None if read_data is None else read_data(item.at("data").value)
    if data is None:
        return None
    labels = tuple(clip(label.text(), 80) for label in item.at("labels").items()) or tuple(names)
    fits = isinstance(data, list | np.ndarray) and len(labels) == len(data)
    unit = item.at("unit").text()
    return Drawing(
        name, item.at("shape").value, data, meaning, labels if fits else (),
        unit if unit in UNITS else "",  # type: ignore[arg-type]
    )  # fmt: skip


def _figure(item: Tree, name: str, meaning: str) -> Figure | None:
    value, unit, better = item.at("value").number(), item.at("unit").text(), item.at("better").text()
    if value is None:
        return None
    ends = [end.number() for end in item.at("interval").items()]
    low, high = ends if len(ends) == 2 else (None, None)
    return Figure(
        name, value, unit if unit in UNITS else "number", meaning,  # type: ignore[arg-type]
        better if better in ("higher", "lower") else "",  # type: ignore[arg-type]
        None if low is None or high is None else (low, high),
    )  # fmt: skip


# -- what an evaluation has beside the figures of the set that was measured last


def transfer_figures(evaluation: Tree) -> list[Figure]:
    """Of each set of another task: the linear probe on the student's features, between its floor and its ceiling."""
    several = []
    for data, entry in list(evaluation.at("transfer").fields().items())[:ROWS]:
        probe = entry.at("model", "probe").number()
        if probe is None:
            continue
        ends = [(end, entry.at(end, "probe").number()) for end in ("floor", "ceiling")]
        parts = [f"{name} {percent(value)}" for name, value in ends if value is not None]
        share, tuned = entry.at("normalised").number(), entry.at("model", "fine_tune").number()
        parts += [f"{percent(share)} of the way"] if share is not None else []
        parts += [f"fine-tuned {percent(tuned)}"] if tuned is not None else []
        meaning = f"{clip(entry.at('measure').text('score'), 40)} of a linear probe; {', '.join(parts)}"
        several.append(Figure(f"transfer to {clip(data, 80)}", probe, "share", meaning, "higher"))
    return several


def attack_figures(evaluation: Tree) -> list[Figure]:
    """Of each attack that was measured: how often its trigger works, beside how often its class is answered anyway."""
    several = []
    for name, entry in list(evaluation.at("attacks").fields().items())[:ROWS]:
        rate = entry.at("rate").number()
        if rate is None:
            continue
        base, many = entry.at("base_rate").number(), entry.at("count").number()
        meaning = (
            f"of {count(many)} images of other classes answered as class {clip(entry.at('target').text(NOTHING), 20)}"
        )
        meaning += f"; {percent(base)} without the trigger" if base is not None else ""
        ends = [end.number() for end in entry.at("interval").items()]
        low, high = ends if len(ends) == 2 else (None, None)
        interval = None if low is None or high is None else (low, high)
        several.append(Figure(f"attack {clip(name, 80)}", rate, "share", meaning, "lower", interval))
    return several


def earlier_figures(evaluation: Tree) -> list[Figure]:
    """Of each other set of the task that was measured before: its first figure that has a better side."""
    several = []
    for name, entry in list(evaluation.at("earlier").fields().items())[:ROWS]:
        measured, _ = read(entry.at("figures"))
        lead = next((one for one in figures(measured).values() if one.better), None)
        if lead is not None:
            several.append(replace(lead, name=f"{lead.name} on {clip(name, 80)}"))
    return several


# -- the data of each shape, or None


def _bars(data: Any) -> list[float | None] | None:
    """A value each, None where there is none."""
    if not isinstance(data, list | tuple) or not 0 < len(data) <= MAX_VALUES:
        return None
    values = [_bounded(value) for value in data]
    if all(value is None for value in values) or any(
        value is None and raw is not None for value, raw in zip(values, data)
    ):
        return None
    return [raw if isinstance(raw, int) else value for value, raw in zip(values, data)]


def _bounded(value: Any) -> float | None:
    number = Tree(value).number()
    return None if number is None or abs(number) > MAX_VALUE else number


def _heat(data: Any) -> np.ndarray | None:
    """(K, K) float64, at least 0."""
    if not isinstance(data, list | tuple) or not data:
        return None
    if any(not isinstance(row, list | tuple) or len(row) != len(data) for row in data):
        return None
    if any(isinstance(value, bool) or not isinstance(value, int | float) for row in data for value in row):
        return None
    try:
        matrix = np.asarray(data, dtype=np.float64)
    except (ValueError, OverflowError):
        return None
    matrix = np.clip(np.nan_to_num(matrix, posinf=0.0), 0, MAX_VALUE)
    return matrix if matrix.sum() > 0 else None


def _curves(data: Any) -> dict[str, list[tuple[float, float]]] | None:
    """name -> its points (x, y)."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for name, points in list(Tree(data).fields().items())[:MAX_CURVES]:
        pairs = [[_bounded(end.value) for end in point.items()] for point in points.items()[:MAX_VALUES]]
        sound = [(p[0], p[1]) for p in pairs if len(p) == 2 and p[0] is not None and p[1] is not None]
        if sound:
            curves[clip(name, 80)] = sound
    return curves or None


def _reliability(data: Any) -> list[dict[str, float]] | None:
    """The bins that hold something: lower, upper, count, confidence and accuracy of each, all but count 0..1."""
    bins = []
    for item in Tree(data).items()[:MAX_VALUES]:
        values = {name: item.at(name).number() for name in ("lower", "upper", "count", "confidence", "accuracy")}
        sound = {name: value for name, value in values.items() if value is not None}
        if len(sound) == len(values) and sound["count"] > 0:
            shares = {name: min(max(value, 0.0), 1.0) for name, value in sound.items()}
            bins.append(shares | {"count": min(sound["count"], MAX_VALUE)})
    return bins or None


DATA = {"bars": _bars, "heat": _heat, "curve": _curves, "points": _curves, "reliability": _reliability}
"""shape -> what reads its data."""


def mean(values: Sequence[float | None]) -> float:
    """Of those that are there."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known)
