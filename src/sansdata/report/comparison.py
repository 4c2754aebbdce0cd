"""Several runs on one page: typed data in, one HTML file out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from ..errors import RunDirectoryError
from . import overlays, words
from .groups import Group, Member, Spread, notes, read_groups
from .page import environment, write_page
from .pictures import data_uri
from .published import PUBLISHED
from .read import Series

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
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace")[:2000]:
        raise RunDirectoryError(f"--out {path} exists and is no page of sansdata; give another file")
    return path


def render(groups: Sequence[Group]) -> str:
    """The page as HTML text."""
    members = [member for group in groups for member in group.members]
    drawn = groups[: overlays.MAX_GROUPS]
    everywhere = all(member.figure("cpu_seconds") is not None for member in members)
    return environment().get_template("comparison.html.j2").render(
        score_meaning=words.SCORE_MEANING,
        title=f"{len(members)} runs of {words.joined(sorted({group.method for group in groups}))}",
        headline=headline(groups),
        task=members[0].run.manifest.at("task"),
        notes=notes(groups),
        groups=[group_row(group, place, everywhere) for place, group in enumerate(groups)],
        cpu=everywhere,
        single=all(len(group.members) == 1 for group in groups),
        has={name: any(member.figure(name) is not None for member in members) for name in ("score", "accuracy")},
        ladders=ladders(drawn),
        panels=panels(drawn),
        left_out=len(groups) - len(drawn),
        runs=[run_row(group, place, member, everywhere) for place, group in enumerate(groups)
              for member in group.members],
        samples=samples(groups, PICTURE_BYTES),
        published=published(groups),
    )  # fmt: skip


def headline(groups: Sequence[Group]) -> str:
    """How much is compared, in a sentence."""
    runs = sum(len(group.members) for group in groups)
    if len(groups) == 1:
        return f"{runs} runs of one setting: what the seed alone changes"
    settings = "settings" if len({group.method for group in groups}) == 1 else "methods or settings"
    return f"{len(groups)} {settings} in {runs} runs"


def spread(found: Spread | None, kind: str) -> tuple[str, str]:
    """Mean and '± deviation' as text; kind: 'percent', 'count', 'seconds' or 'ratio'."""
    if found is None:
        return words.NOTHING, ""
    write = {
        "percent": lambda v: f"{100 * v:.1f}", "count": words.count, "ratio": lambda v: f"{v:.3g}",
        "seconds": lambda v: words.figure(v, 3) if v < 100 else words.count(v),
    }[kind]  # fmt: skip
    unit = {"percent": "\u00a0%", "ratio": "×"}.get(kind, "")
    return write(found.mean) + unit, "" if not found.deviation else f"± {write(found.deviation)}"


COLUMNS = (
    ("compression", "ratio"), ("steps", "count"), ("seconds", "seconds"), ("samples", "count"), ("queries", "count"),
    ("score", "percent"), ("agreement", "percent"), ("accuracy", "percent"),
)  # fmt: skip
"""Figures of the table, and how they are written."""


def group_row(group: Group, place: int, cpu: bool) -> Row:
    student = group.members[0].run.manifest.at("student")
    figures = {
        name: spread(group.spread("cpu_seconds" if name == "seconds" and cpu else name), kind) for name, kind in COLUMNS
    }
    return {
        **_badge(group, place), "method": group.method, "preset": group.preset, "settings": group.settings,
        "seeds": ", ".join(member.seed for member in group.members), "count": len(group.members), "figures": figures,
        "student": student.at("spec").text(words.NOTHING), "parameters": words.brief(student.at("parameters").number()),
    }  # fmt: skip


def _badge(group: Group, place: int) -> Row:
    colour, dash = overlays.style(place)
    return {"letter": group.letter, "label": group.label, "colour": colour, "dashed": dash != "-"}


def run_row(group: Group, place: int, member: Member, cpu: bool) -> Row:
    """One run: its figures, how it ended, and its warnings by name."""
    status, tone, _ = words.status(member.run)
    figures = {}
    for name, kind in COLUMNS:
        value = member.figure("cpu_seconds" if name == "seconds" and cpu else name)
        figures[name] = spread(None if value is None else Spread(value, None, 1), kind)[0]
    warned = [one.at("name").text() for one in member.run.summary.at("warnings").items()]
    return {
        **_badge(group, place), "name": member.name, "seed": member.seed, "status": status, "tone": tone,
        "figures": figures, "warnings": ", ".join(name for name in dict.fromkeys(warned) if name),
        "measured_on": member.run.evaluation.at("source").text() if figures["accuracy"] != words.NOTHING else "",
    }  # fmt: skip


def ladders(groups: Sequence[Group]) -> list[Row]:
    """Accuracy, where measured, and the score: a line per group, best mean first."""
    found = []
    for name, title in (("accuracy", "Accuracy on real data"), ("score", "Score without data")):
        rows = []
        for place, group in enumerate(groups):
            values = [value for member in group.members if (value := member.figure(name)) is not None]
            if values:
                text = f"{group.letter}  {words.clip(group.label, 46)}"
                rows.append((text, place, [min(max(value, 0.0), 1.0) for value in values]))
        rows.sort(key=lambda row: -sum(row[2]) / len(row[2]))
        if rows:
            found.append({"title": title, "svg": Markup(overlays.ladder(f"ladder-{name}", title, rows))})
    return found


def panels(groups: Sequence[Group]) -> list[Row]:
    """Agreement, then losses (those of the student first), each over steps and over seconds."""
    names = list(dict.fromkeys(name for group in groups for m in group.members for name in m.run.metrics.losses))
    names.sort(key=lambda name: not name.startswith("transfer/"))
    found = [_panel("agreement", "agreement", groups)]
    found += [_panel(f"loss{place}", name, groups) for place, name in enumerate(names[:LOSS_NAMES])]
    more = len(names) - LOSS_NAMES
    return [one | {"more": max(0, more)} for one in found if one["drawn"]]


def _panel(key: str, name: str, groups: Sequence[Group]) -> Row:
    by_step, by_second = [], []
    for place, group in enumerate(groups):
        series = [(member, _series(member, name)) for member in group.members]
        there = [(member, one) for member, one in series if one is not None and len(one.values)]
        if there:
            by_step.append((place, [(one.steps, one.values) for _, one in there]))
            timed = [(_seconds(member, one), one.values) for member, one in there]
            by_second.append((place, [(x, y) for x, y in timed if len(x)]))
    share = name == "agreement"
    drawings = [
        overlays.overlay(f"{key}-{unit}", f"{name} by {axis}", curves, axis, share)
        for unit, axis, curves in (("step", "student step", by_step), ("second", "seconds", by_second))
        if any(runs for _, runs in curves)
    ]
    return {"title": words.clip(name, 120), "drawn": [Markup(one) for one in drawings]}


def _series(member: Member, name: str) -> Series | None:
    metrics = member.run.metrics
    return metrics.agreement if name == "agreement" else metrics.losses.get(name)


def _seconds(member: Member, series: Series) -> Sequence[float]:
    """When each value of `series` was logged; empty where the run kept no times."""
    clock = member.run.metrics.clock
    return np.interp(series.steps, clock.steps, clock.values).tolist() if len(clock.values) else ()


def samples(groups: Sequence[Group], total_bytes: int) -> list[Row]:
    """The last grid of each run, with what the teacher takes each image for."""
    shown = [
        (group, place, member, member.run.grids[-1])
        for place, group in enumerate(groups) for member in group.members if member.run.grids
    ]  # fmt: skip
    rows = []
    for group, place, member, grid in shown:
        images = []
        for i, image in enumerate(grid.images[:PER_RUN]):
            name = member.run.class_name(int(grid.labels[i])) if grid.labels is not None else ""
            images.append({"uri": data_uri(image, total_bytes // (len(shown) * PER_RUN)), "name": name})
        rows.append({**_badge(group, place), "name": member.name, "step": grid.step, "images": images})
    return rows


def published(groups: Sequence[Group]) -> list[Row]:
    """The papers' figures for the methods on the page."""
    methods = dict.fromkeys(group.method for group in groups)
    return [{"method": method, "figures": PUBLISHED[method]} for method in methods if method in PUBLISHED]
