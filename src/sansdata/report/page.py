"""Puts the page together: typed data in, one HTML file out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ..errors import RunDirectoryError
from . import plots, sections, words
from .read import Run, Series, read_run

PICTURE_BYTES = 1_200_000  # for all sample images of the page together
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
    temporary = path.with_name(f".report-{os.getpid()}.html")
    try:
        # "replace": JSON can carry half a surrogate pair, which no encoding has
        temporary.write_bytes(text.encode("utf-8", "replace"))
        temporary.replace(path)
    except OSError as fault:
        raise RunDirectoryError(f"{path} cannot be written: {fault.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
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


def render(run: Run) -> str:
    """The page of a run as HTML text."""
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            run=run,
            nothing=words.NOTHING,
            inputs=words.inputs(run),
            head=sections.head(run),
            reproduce=sections.reproduce(run),
            curves=curves(run),
            grids=sections.grids(run, PICTURE_BYTES),
            seen=seen(run),
            selection=selection(run),
            cost=sections.cost(run),
            warnings=sections.warnings(run),
            evaluation=evaluated(run),
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
    others = []
    if metrics.agreement.steps or metrics.agreement.lost:
        others.append(_panel("agree", "agreement with the teacher", metrics.agreement, "green", 150))
    for place, (name, series) in enumerate(list(metrics.rates.items())[:8]):
        others.append(_panel(f"rate{place}", f"learning rate, {name}", series, "purple", 150))
    return {
        "groups": groups,
        "others": others,
        "left_out": len(names) - len(shown) + len(metrics.dropped),
        "lines": metrics.lines,
    }


def _panel(key: str, title: str, series: Series, colour: str, bins: int, log: bool = False) -> dict[str, Any]:
    values = series.values
    log = log and plots.wants_log(values)
    drawn = plots.curve(key, "curve", series.steps, values, colour, bins, log) if len(values) else ""
    return {
        "title": words.clip(title, 200),
        "svg": Markup(drawn),
        "colour": colour,
        "last": words.figure(values[-1], 3) if len(values) else words.NOTHING,
        "log": log,
        "lost": series.lost,
    }


def seen(run: Run) -> dict[str, Any]:
    """The samples as the teacher sees them; counted on the kept grids where the run left no summary."""
    samples = run.summary.at("samples")
    histogram, origin = samples.at("class_histogram").numbers(), "pool"
    if sum(histogram) <= 0:
        histogram, origin = sections.histogram_of_grids(run), "grids"
    total = sum(histogram)
    if total <= 0 or min(histogram) < 0:
        return {"svg": "", "origin": "", "rows": sections.sample_rows(samples, []), "sentence": ""}
    shares = [value / total for value in histogram]
    names = [run.class_name(label) for label in range(len(shares))]
    drawn = plots.bars(
        "classes", "share of samples in each class", names, shares, "blue", 1 / len(shares), "evenly spread"
    )
    return {
        "svg": Markup(drawn),
        "origin": origin,
        "rows": sections.sample_rows(samples, shares),
        "sentence": sections.spread(shares, names),
    }


def selection(run: Run) -> dict[str, Any]:
    """Score and agreement of each snapshot, with accuracy beside them where the run was evaluated."""
    table = []
    best = run.summary.at("selection", "best_step").number()
    for one in run.summary.at("selection", "snapshots").items():
        step = one.at("step").number()
        if step is not None:
            figures = {name: one.at(name).number() for name in ("score", "agreement", "kl")}
            accuracy = run.evaluation.at("over_time", str(int(step))).number()
            table.append({"step": step, **figures, "accuracy": accuracy, "best": step == best})
    table.sort(key=lambda row: row["step"])
    chosen_by = "score" if run.summary.at("score", "last").number() is not None else "agreement"
    drawable = [(row["step"], row[chosen_by], row["accuracy"]) for row in table if row[chosen_by] is not None]
    return {
        "svg": Markup(plots.snapshots("select", chosen_by, drawable, best)) if len(drawable) > 1 else "",
        "table": table,
        "chosen_by": chosen_by,
        "meaning": words.SCORE_MEANING,
        "accuracies": any(row["accuracy"] is not None for row in table),
        "scored_on": run.summary.at("selection", "scored_on").number(),
        "probes": run.summary.at("score", "probes").number(),
        "last": run.summary.at(chosen_by, "last").number(),
        "best": run.summary.at(chosen_by, "best").number(),
        "best_step": best,
    }


def evaluated(run: Run) -> dict[str, Any] | None:
    """The figures on real data with their drawings, or None where nothing was evaluated."""
    tree = run.evaluation
    if not tree:
        return None
    matrix = sections.square(tree.at("confusion"))
    per_class = sections.class_accuracies(run)
    names = [run.class_name(label) for label in range(len(matrix))]
    accuracy = tree.at("accuracy").number()
    bins = sections.reliability_bins(tree.at("reliability"))
    confusion = plots.confusion("confusion", names, matrix) if len(matrix) and matrix.sum() > 0 else ""
    per_class_svg = ""
    if per_class:
        labels, shares = zip(*per_class)
        per_class_svg = plots.bars("perclass", "accuracy by class", labels, shares, "green", accuracy, "all classes")
    return {
        "rows": sections.evaluation_rows(tree),
        "notes": [note.text() for note in tree.at("notes").items() if note.text()],
        "confusion": Markup(confusion),
        "mistakes": sections.mistakes(matrix, names) if len(matrix) else [],
        "per_class": Markup(per_class_svg),
        "unseen": len(tree.at("per_class").items()) - len(per_class),
        "worst": sections.worst(per_class),
        "reliability": Markup(plots.reliability("reliable", bins)) if bins else "",
        "ece": tree.at("ece").number(),
        "pooled": len(matrix) > plots.MAX_CELLS,
        "classes": len(matrix),
    }
