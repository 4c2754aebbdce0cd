"""Puts the page together: typed data in, one HTML file out."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from ..errors import RunDirectoryError
from ..figures import Finding
from ..files import reason, write_atomic
from . import facts, plots, sections, words
from .drawings import draw_all
from .findings import ROWS, attack_figures, drawings, earlier_figures, figures, transfer_figures
from .metrics import Metrics, Series
from .paired import paired
from .read import Run, read_run
from .tree import Tree
from .verdict import score_meaning

PICTURE_BYTES = 1_200_000
"""For all sample images of the page together."""
LOSS_PANELS = 72


def write_report(run_dir: Path, evaluation: Mapping[str, Any] | None = None, out: Path | None = None) -> Path:
    """Writes `run_dir`/report.html (or `out`) from the files of the run and returns its path.

    `evaluation` holds the figures on real data; without it, evaluation.json of the run is used where there is one.
    Missing or damaged files leave their section short and are named on the page. Raises RunDirectoryError where
    `run_dir` is no run directory. The same files give the same bytes.
    """
    run = read_run(Path(run_dir), evaluation)
    return write_page(out or run.directory / "report.html", render(run))


def write_page(path: Path, text: str) -> Path:
    """Puts `text` at `path` whole or not at all. Raises RunDirectoryError where it cannot be written."""
    try:
        write_atomic(path, text.encode("utf-8", "replace"))  # JSON can carry half a surrogate pair, which is no letter
    except OSError as fault:
        raise RunDirectoryError(f"{path} cannot be written: {reason(fault)}; name another file with --out") from None
    return path


def environment() -> jinja2.Environment:
    """The templates beside this file; text is escaped unless it is Markup, an unknown name is an error."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("sansdata.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        percent=words.percent, count=words.count, figure=words.figure, duration=words.duration, size=words.size
    )
    return made


SECTIONS = (
    ("reproduce", "How to reproduce", "Reproduce"), ("curves", "Curves", "Curves"),
    ("samples", "Samples over time", "Samples"), ("figures", "What the samples are like", "Figures"),
    ("selection", "Selection without data", "Selection"), ("cost", "Cost", "Cost"),
    ("warnings", "Warnings", "Warnings"), ("evaluation", "On real data", "Real data"),
    ("validation", "On local cases", "Local cases"), ("audit", "Audit", "Audit"),
    ("exports", "Files for other programs", "Exports"), ("ledger", "No-data ledger", "Files read"),
)  # fmt: skip
"""(id, heading, name in the list at the top), in the order of the page."""


def render(run: Run) -> str:
    """The page of a run as HTML text."""
    chosen = selection(run)
    files = exported(run)
    validation, audit = added("validation", run.validation, run.validated), added("audit", run.audit, run.audited)
    optional = (
        ("selection", chosen["table"]), ("exports", files["rows"]), ("validation", validation), ("audit", audit),
    )  # fmt: skip
    left_out = {name for name, content in optional if not content}
    there = [section for section in SECTIONS if section[0] not in left_out]
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            run=run,
            nothing=words.NOTHING,
            unit=facts.unit(run),
            inputs=facts.inputs(run),
            pooled=facts.pooled(run),
            sections=[(number, *section) for number, section in enumerate(there, 1)],
            head=sections.head(run),
            reproduce=sections.reproduce(run),
            curves=curves(run),
            grids=sections.grids(run, PICTURE_BYTES),
            described=described(run),
            selection=chosen,
            cost=sections.cost(run),
            warnings=sections.warnings(run),
            evaluation=evaluated(run.evaluation, run.measured),
            added={"validation": validation, "audit": audit},
            exports=files,
            ledger=sections.ledger(run),
        )
    )


def curves(run: Run) -> dict[str, Any]:
    """Loss panels by phase, then agreement and learning rates."""
    metrics = run.metrics
    names = list(metrics.losses)
    shown = names[:LOSS_PANELS]
    bins = 150 if len(shown) <= 24 else 60
    colours = ["blue", "orange", "green", "purple"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for place, name in enumerate(shown):
        phase, slash, short = name.partition("/")
        panels = groups.setdefault(phase if slash else "loss", [])
        colour = panels[0]["colour"] if panels else colours[(len(groups) - 1) % len(colours)]
        panels.append(_panel(f"l{place}", short if slash else name, metrics.losses[name], colour, bins, log=True))
    others = _agreement_panels(metrics)
    for place, (name, series) in enumerate(list(metrics.rates.items())[:8]):
        others.append(_panel(f"rate{place}", f"learning rate, {name}", series, "purple", 150))
    return {
        "groups": groups,
        "others": others,
        "left_out": len(names) - len(shown) + len(metrics.dropped),
        "lines": metrics.lines,
    }


def _agreement_panels(metrics: Metrics) -> list[dict[str, Any]]:
    """Over steps and, where they were logged, over what the teacher was asked; one point is no curve."""
    agreement, queries = metrics.agreement, metrics.queries
    if len(agreement.values) < 2:
        return []
    panels = [_panel("agree", "agreement with the teacher", agreement, "green", 150)]
    if len(queries.values):
        forwards = np.interp(agreement.steps, queries.steps, queries.values)
        over = Series(array("d", forwards.tolist()), agreement.values)
        panels.append(_panel("queries", "agreement by teacher queries", over, "green", 150, axis="teacher forwards"))
    return panels


def _panel(
    key: str, title: str, series: Series, colour: str, bins: int, log: bool = False, axis: str = ""
) -> dict[str, Any]:
    values = series.values
    log = log and plots.wants_log(values)
    svg = plots.curve(key, "curve", series.steps, values, colour, bins, log, axis) if len(values) else ""
    return {
        "title": words.clip(title, 200),
        "svg": Markup(svg),
        "colour": colour,
        "last": words.figure(values[-1], 3) if len(values) else words.NOTHING,
        "log": log,
        "lost": series.lost,
    }


def described(run: Run) -> dict[str, Any]:
    """What the samples of the run are like."""
    return {
        "rows": sections.figure_rows(list(figures(run.figures).values())),
        "drawings": draw_all("sample", drawings(run.figures), "blue"),
        "scored": run.summary.at("samples", "scored").number(),
    }


CRITERIA = ("validation", "score", "agreement")
"""What a snapshot may be chosen by. A score that tells nothing of a teacher is written too, and chooses nothing."""


def selection(run: Run) -> dict[str, Any]:
    """What each snapshot was chosen by and its agreement, with accuracy beside them where the run was evaluated."""
    table = []
    best = run.summary.at("selection", "best_step").number()
    for entry in run.summary.at("selection", "snapshots").items():
        step = entry.at("step").number()
        row = {name: entry.at(name).number() for name in (*CRITERIA, "kl")}
        if step is not None and any(value is not None for value in row.values()):
            accuracy = run.evaluation.at("over_time", str(int(step))).number()
            table.append({"step": step, **row, "accuracy": accuracy, "best": step == best})
    table.sort(key=lambda row: row["step"])
    by, telling = run.summary.at("selection", "by").text(), run.summary.at("score", "last").number() is not None
    chosen_by = by if by == "validation" else "score" if telling else "agreement"
    drawable = [(row["step"], row[chosen_by], row["accuracy"]) for row in table if row[chosen_by] is not None]
    return {
        "svg": Markup(plots.snapshots("select", chosen_by, drawable, best)) if len(drawable) > 1 else "",
        "table": table,
        "chosen_by": chosen_by,
        "meaning": score_meaning(facts.unit(run)),
        "accuracies": any(row["accuracy"] is not None for row in table),
        "scored_on": run.summary.at("selection", "scored_on").number(),
        "probes": run.summary.at("score", "probes").number(),
        "last": table[-1][chosen_by] if table else None,
        "best": next((row[chosen_by] for row in table if row["best"]), None),
        "best_step": best,
    }


def evaluated(evaluation: Tree, measured: Sequence[Finding]) -> dict[str, Any] | None:
    """The figures of an evaluation.json, those `measured` on the last set first, with their drawings; None where
    nothing was evaluated."""
    if not evaluation:
        return None
    several = [
        *figures(measured).values(), *earlier_figures(evaluation), *transfer_figures(evaluation),
        *attack_figures(evaluation),
    ]  # fmt: skip
    return {
        "rows": sections.figure_rows(several, 2),
        "count": evaluation.at("count").number(),
        "source": evaluation.at("source").text(),
        "notes": [note.text() for note in evaluation.at("notes").items() if note.text()],
        "drawings": draw_all("real", drawings(measured), "green"),
    }


def added(key: str, tree: Tree, several: Sequence[Finding]) -> dict[str, Any] | None:
    """What a command added to a run later: figures, drawings, warnings, and what it could not show; None where it did
    not."""
    if not tree:
        return None
    beside, others = paired(figures(several))
    rows, most = sections.figure_rows(others, 2), ROWS
    return {
        "lead": sections.added_lead(tree), "beside": beside[:most], "rows": rows[:most],
        "more": max(0, len(rows) - most) + max(0, len(beside) - most),
        "drawings": draw_all(key, drawings(several), "green"), "warnings": sections.warning_rows(tree),
        "absent": sections.absent_rows(tree),
        "notes": [note.text() for note in tree.at("notes").items()[:most] if note.text()],
    }  # fmt: skip


def exported(run: Run) -> dict[str, Any]:
    """What was measured of files for other programs, the newest first."""
    return {"rows": sections.export_rows(run.exports), "drawings": draw_all("file", drawings(run.exported), "purple")}
