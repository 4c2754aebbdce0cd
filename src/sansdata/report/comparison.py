"""Several runs on one page: typed data in, one HTML file out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from ..errors import RunDirectoryError
from ..files import open_regular
from . import facts, overlays, words
from .groups import Group, Member, Spread, notes, read_groups
from .metrics import Series
from .page import environment, write_page
from .published import PUBLISHED
from .samples import rows_of
from .table_columns import Column, of_runs, on_real_data, write, write_deviation
from .verdict import score_meaning, status

FILE = "comparison.html"
MARK = '<meta name="generator" content="sansdata">'
"""Stands in every page of ours; a file without it is somebody's own."""
PICTURE_BYTES = 1_200_000
PER_RUN = 8
LOSS_NAMES = 12
Row = dict[str, Any]


def write_comparison(directories: Sequence[Path], out: Path | None = None) -> Path:
    """Writes the runs side by side to `out` (comparison.html in this folder) and returns its path.

    Raises RunDirectoryError where a directory holds no run, a run is given twice, the runs have different tasks, or
    `out` cannot be written or is a file that we did not write. The same files give the same bytes.
    """
    path = checked_target(Path(FILE) if out is None else out)
    return write_page(path, render(read_groups(directories)))


def checked_target(path: Path) -> Path:
    """`path`, if a page may be written there; raises RunDirectoryError before anything is read or measured."""
    if path.is_dir():
        raise RunDirectoryError(f"--out {path} is a directory; give the file to write, for instance {path / FILE}")
    if not path.parent.is_dir():
        raise RunDirectoryError(f"--out {path}: there is no directory {path.parent}")
    if path.exists() and not _is_ours(path):
        raise RunDirectoryError(f"--out {path} exists and is no page of sansdata; give another file")
    return path


def _is_ours(path: Path) -> bool:
    try:
        with open_regular(path.resolve(), 1 << 62) as file:
            return MARK in file.read(2000).decode("utf-8", "replace")
    except OSError:
        return False


def render(groups: Sequence[Group]) -> str:
    """The page as HTML text."""
    members = [member for group in groups for member in group.members]
    runs = [member.run for member in members]
    shown = groups[: overlays.MAX_GROUPS]
    known, real = of_runs(runs), on_real_data(runs)
    columns, rows = [*known, *real[:1]], samples(groups, PICTURE_BYTES)
    return environment().get_template("comparison.html.j2").render(
        score_meaning=score_meaning(facts.unit(runs[0])),
        title=f"{len(members)} runs of {words.joined(sorted({group.method for group in groups}))}",
        headline=headline(groups),
        unit=facts.unit(runs[0]),
        notes=notes(groups),
        columns=columns,
        groups=group_rows(groups, columns),
        real=real[0].title if real else "",
        real_columns=real,
        real_groups=group_rows(groups, real) if len(real) > 1 else [],
        cpu=any(column.name == "cpu_seconds" for column in columns),
        scored=any(column.name == "score" for column in columns),
        single=all(len(group.members) == 1 for group in groups),
        ladders=ladders(shown, columns),
        panels=panels(shown),
        left_out=len(groups) - len(shown),
        runs=[run_row(group, place, member, columns) for place, group in enumerate(groups)
              for member in group.members],
        samples=rows,
        legend=next((row["legend"] for row in rows if row["legend"]), ""),
        published=published(groups),
    )  # fmt: skip


def headline(groups: Sequence[Group]) -> str:
    """How much is compared, in a sentence."""
    runs = sum(len(group.members) for group in groups)
    if len(groups) == 1:
        return f"{runs} runs of one setting: what the seed alone changes"
    settings = "settings" if len({group.method for group in groups}) == 1 else "methods or settings"
    return f"{len(groups)} {settings} in {runs} runs"


def group_rows(groups: Sequence[Group], columns: Sequence[Column]) -> list[Row]:
    """A row per group, with a cell per column: mean, '± deviation (2 of 3)', where not all runs have it, and whether no
    other group of which all have does better."""
    cells = [_column_cells(column, [group.spread(column) for group in groups]) for column in columns]
    rows = []
    for place, group in enumerate(groups):
        student = group.members[0].run.manifest.at("student")
        rows.append({
            **_badge(group, place), "method": group.method, "preset": group.preset, "settings": group.settings,
            "seeds": ", ".join(member.seed for member in group.members), "cells": [own[place] for own in cells],
            "student": student.at("spec").text(words.NOTHING),
            "parameters": words.brief(student.at("parameters").number()),
        })  # fmt: skip
    return rows


def _column_cells(column: Column, spreads: Sequence[Spread | None]) -> list[tuple[str, str, bool]]:
    """Of all groups. The best is marked among several on real data; a score ranks runs of one teacher only."""
    means = [spread.mean for spread in spreads if spread is not None and spread.whole]
    best = None
    if column.real and column.better and len(set(means)) > 1:
        best = max(means) if column.better == "higher" else min(means)
    return [
        (words.NOTHING, "", False) if spread is None else
        (write(spread.mean, column.unit), _beside(spread, column.unit), spread.whole and spread.mean == best)
        for spread in spreads
    ]  # fmt: skip


def _beside(spread: Spread, unit: str) -> str:
    """'± 1.2 (2 of 3)': what there is of it."""
    count = "" if spread.whole else f"({spread.count} of {spread.runs})"
    return " ".join(filter(None, [write_deviation(spread.deviation, unit), count]))


def _badge(group: Group, place: int) -> Row:
    colour, dash = overlays.style(place)
    return {"letter": group.letter, "label": group.label, "colour": colour, "dashed": dash != "-"}


def run_row(group: Group, place: int, member: Member, columns: Sequence[Column]) -> Row:
    """One run: its figures, how it ended, and its warnings by name."""
    name, tone, _ = status(member.run)
    warned = [warning.at("name").text() for warning in member.run.summary.at("warnings").items()]
    return {
        **_badge(group, place), "name": member.name, "seed": member.seed, "status": name, "tone": tone,
        "cells": [write(column.value(member.run), column.unit) for column in columns],
        "warnings": ", ".join(name for name in dict.fromkeys(warned) if name),
        "measured_on": member.run.evaluation.at("source").text(),
    }  # fmt: skip


def ladders(groups: Sequence[Group], columns: Sequence[Column]) -> list[Row]:
    """What was measured on real data, and the score, where they are shares: a line per group, best mean first."""
    pictures = []
    for column in reversed(columns):
        if not column.better or column.unit != "share":
            continue
        name = f"{column.title[:1].upper()}{column.title[1:]}"
        title = f"{name} on real data" if column.real else f"{name} without data"
        rows = []
        for place, group in enumerate(groups):
            values = [value for member in group.members if (value := column.value(member.run)) is not None]
            if values:
                text = f"{group.letter}  {words.clip(group.label, 46)}"
                rows.append((text, place, [min(max(value, 0.0), 1.0) for value in values]))
        sign = -1 if column.better == "higher" else 1
        rows.sort(key=lambda row: sign * sum(row[2]) / len(row[2]))
        if rows:
            svg = overlays.ladder(f"ladder-{len(pictures)}", title, rows)
            pictures.append({"title": title, "svg": Markup(svg)})
    return pictures


def panels(groups: Sequence[Group]) -> list[Row]:
    """Agreement, over queries too, then losses (those of the student first), each over steps and over seconds."""
    names = list(dict.fromkeys(name for group in groups for m in group.members for name in m.run.metrics.losses))
    names.sort(key=lambda name: not name.startswith("transfer/"))
    several = [_panel("agreement", "agreement", groups)]
    several += [_panel(f"loss{place}", name, groups) for place, name in enumerate(names[:LOSS_NAMES])]
    more = len(names) - LOSS_NAMES
    return [panel | {"more": max(0, more)} for panel in several if panel["drawings"]]


def _panel(key: str, name: str, groups: Sequence[Group]) -> Row:
    share = name == "agreement"
    by_step, by_second, by_query = [], [], []
    least = 2 if share else 1  # one point of agreement is no curve
    for place, group in enumerate(groups):
        series = [(member, _series(member, name)) for member in group.members]
        there = [(member, logged) for member, logged in series if logged is not None and len(logged.values) >= least]
        if there:
            by_step.append((place, [(logged.steps, logged.values) for _, logged in there]))
            timed = [(_seconds(member, logged), logged.values) for member, logged in there]
            by_second.append((place, [(x, y) for x, y in timed if len(x)]))
            if share:
                counted = [(_queries(member, logged), logged.values) for member, logged in there]
                by_query.append((place, [(x, y) for x, y in counted if len(x)]))
    axes = (("step", "student step", by_step), ("second", "seconds", by_second), ("query", "teacher queries", by_query))
    drawings = [
        overlays.overlay(f"{key}-{unit}", f"{name} by {axis}", curves, axis, share)
        for unit, axis, curves in axes
        if any(runs for _, runs in curves)
    ]
    return {"title": words.clip(name, 120), "drawings": [Markup(drawing) for drawing in drawings]}


def _series(member: Member, name: str) -> Series | None:
    metrics = member.run.metrics
    return metrics.agreement if name == "agreement" else metrics.losses.get(name)


def _seconds(member: Member, series: Series) -> Sequence[float]:
    """When each value of `series` was logged; empty where the run kept no times."""
    clock = member.run.metrics.clock
    return np.interp(series.steps, clock.steps, clock.values).tolist() if len(clock.values) else ()


def _queries(member: Member, series: Series) -> Sequence[float]:
    """What the teacher had been asked when each value of `series` was logged; empty where the run kept no counts."""
    queries = member.run.metrics.queries
    return np.interp(series.steps, queries.steps, queries.values).tolist() if len(queries.values) else ()


def samples(groups: Sequence[Group], total_bytes: int) -> list[Row]:
    """The last samples of each run, with the teacher's answer to each."""
    shown = [
        (group, place, member, member.run.grids[-1])
        for place, group in enumerate(groups) for member in group.members if member.run.grids
    ]  # fmt: skip
    each = total_bytes // max(1, len(shown) * PER_RUN)
    return [
        {**_badge(group, place), "name": member.name, "step": grid.step, "legend": grid.legend,
         "shown": rows_of(grid.samples[:PER_RUN], each)}
        for group, place, member, grid in shown
    ]  # fmt: skip


def published(groups: Sequence[Group]) -> list[Row]:
    """The papers' figures for the methods on the page."""
    methods = dict.fromkeys(group.method for group in groups)
    return [{"method": method, "figures": PUBLISHED[method]} for method in methods if method in PUBLISHED]
