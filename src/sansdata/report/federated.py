"""The page of a federated run: one self-contained HTML file from the files of its directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from . import plots, words
from .federated_files import FederatedFiles, read_federated
from .page import environment, evaluated, write_page

EACH = {
    "personal_accuracy": "personalised", "local_only_accuracy": "alone", "majority_accuracy": "majority class",
}  # fmt: skip
"""Figures of the last round that each client has, and their columns; in older runs, those with tests only."""


def write_federated_report(run_dir: Path, out: Path | None = None) -> Path:
    """Writes `run_dir`/report.html (or `out`) from run.json, partition.json, metrics.jsonl, summary.json and
    evaluation.json, and gives its path. A missing or damaged file leaves its section short. Raises RunDirectoryError
    where there is no run."""
    files = read_federated(Path(run_dir))
    return write_page(out or files.directory / "report.html", render(files))


def render(files: FederatedFiles) -> str:
    """The page as HTML text."""
    summary, lines, counts = files.summary, files.lines, files.counts
    return (
        environment()
        .get_template("federated.html.j2")
        .render(
            run=files.run,
            left_out=files.faults,
            summary=summary,
            dealt=files.dealt,
            tiles=tiles(summary),
            accuracy=Markup(accuracy_curves(lines)),
            spread=Markup(spread_curves(lines)),
            partition=Markup("" if counts is None else partition_picture(counts)),
            traffic=traffic(summary),
            time=Markup(time_curves(lines)),
            reached=reached(summary["rounds_to"]),
            faults=[
                (line["round"], one["client"], kind, one["reason"])
                for line in lines
                for kind in ("refused", "lost", "unmeasured")
                for one in line[kind]
            ][:200],
            undone=[(line["round"], line["undone"]) for line in lines if line["undone"]],
            clients=clients(files),
            evaluation=evaluated(files.evaluation, files.measured),
            columns=[title for name, title in EACH.items() if name in (lines[-1] if lines else {})],
        )
    )  # fmt: skip


def tiles(summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, note) of the figures at the head of the page."""
    rows = []
    if "accuracy" in summary:
        rows.append(("global accuracy", words.percent(summary["accuracy"]), "whole test set, after the last round"))
    for key, name in (("clients_accuracy", "on the clients' own mixes"), ("personal_accuracy", "personalised")):
        if key in summary:
            one = summary[key]
            note = f"std {100 * one['std']:.1f}, worst tenth {100 * one['worst_tenth']:.1f}"
            beside = {"local_only_accuracy": "alone", "majority_accuracy": "majority class"}
            if key == "personal_accuracy":
                for other in (name for name in beside if name in summary):
                    note += f"; {beside[other]} {100 * summary[other]['mean']:.1f}"
            rows.append((name, words.percent(one["mean"]), note))
    moved = sum(summary["down"].values()) + sum(summary["up"].values())
    rows.append(("traffic", words.size(moved), f"over {summary['rounds']} rounds, both ways"))
    return rows


def clients(files: FederatedFiles) -> list[tuple[str, str, list[str]]]:
    """(owner, images, percent of each figure of the last round that has values by client) of the first 200 clients."""
    last = files.lines[-1] if files.lines else {}
    figures = [last[name]["each"] for name in EACH if name in last]
    images = [] if files.counts is None else files.counts.sum(1).tolist()
    rows = []
    for number in range(max(map(len, figures), default=0))[:200]:
        values = [each[number] if number < len(each) else None for each in figures]
        owner = files.owners[number] if number < len(files.owners) else str(number)
        shown = ["" if value is None else f"{100 * value:.1f}" for value in values]
        rows.append((owner, f"{images[number]:,}" if number < len(images) else "", shown))
    return rows


def reached(rounds_to: dict[str, int | None]) -> list[tuple[str, int]]:
    """(level, round), of several levels first reached in one round the highest."""
    highest = {n: level for level, n in rounds_to.items() if n is not None}
    return [(level, n) for n, level in highest.items()]


def traffic(summary: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """(part, [down, up, down per round, up per round]) in bytes, the sum last."""
    names = list(dict.fromkeys([*summary["down"], *summary["up"]]))
    rows = [(name, summary["down"].get(name, 0), summary["up"].get(name, 0)) for name in names]
    rows.append(("all", sum(summary["down"].values()), sum(summary["up"].values())))
    rounds = summary["rounds"]
    return [(name, [f"{n:,.0f}" for n in (down, up, down / rounds, up / rounds)]) for name, down, up in rows]


def time_curves(lines: list[dict[str, Any]]) -> str:
    """Seconds of each round, at the server and at all its clients together."""
    series: dict[str, tuple[list[int], list[float]]] = {}
    for line in lines:
        for name in ("server", "client"):
            _add(series, name if name == "server" else "clients", line, line[f"{name}_seconds"])
    return _lines("time", "seconds of each round", series, unit="s")


def accuracy_curves(lines: list[dict[str, Any]]) -> str:
    """Accuracy over rounds: of the global model, of its other states, of the clients."""
    series: dict[str, tuple[list[int], list[float]]] = {}
    for line in lines:
        for name, value in line.items():
            if name == "accuracy" or name.startswith("accuracy_"):
                _add(series, name.replace("accuracy_", "global, ") if "_" in name else "global", line, 100 * value)
            elif name in ("clients_accuracy", "personal_accuracy"):
                _add(series, "clients' mixes" if name[0] == "c" else "personalised", line, 100 * value["mean"])
    return _lines("accuracy", "accuracy over rounds", series)


def spread_curves(lines: list[dict[str, Any]]) -> str:
    """Mean, lowest and worst tenth over the clients."""
    series: dict[str, tuple[list[int], list[float]]] = {}
    for line in lines:
        one = line.get("clients_accuracy") or line.get("personal_accuracy")
        if one:
            for name in ("mean", "worst_tenth", "lowest"):
                _add(series, name.replace("_", " "), line, 100 * one[name])
    return _lines("spread", "accuracy of the clients over rounds", series)


def _add(series: dict[str, tuple[list[int], list[float]]], name: str, line: dict[str, Any], value: float) -> None:
    rounds, values = series.setdefault(name, ([], []))
    rounds.append(line["round"] + 1)
    values.append(value)


def _lines(name: str, label: str, series: dict[str, tuple[list[int], list[float]]], unit: str = "%") -> str:
    if not series:
        return ""
    with plots.canvas(5.6, 2.6) as (figure, axes):
        for (title, (rounds, values)), colour in zip(series.items(), plots.COLOURS * 4):
            axes.plot(rounds, values, "o-", color=plots.MARKS[colour], markersize=3, linewidth=1.4, label=title)
        axes.set_xlabel("rounds")
        axes.set_ylabel(unit)
        axes.legend(frameon=False, labelcolor=plots.MARKS["ink"], loc="best")
        plots.tidy(axes)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))  # there is no round 7.5
        return plots.svg(figure, name, label)


def partition_picture(counts: np.ndarray) -> str:
    """A disc per client and class whose area is the number of images. counts (clients, K)."""
    clients, classes = counts.shape
    shown = counts[:200]
    across, down = np.meshgrid(np.arange(len(shown)), np.arange(classes), indexing="ij")
    with plots.canvas(min(9.0, 1.2 + 0.26 * len(shown)), 0.9 + 0.22 * min(classes, 40)) as (figure, axes):
        sizes = 150 * shown / max(1, counts.max())
        axes.scatter(across.ravel(), down.ravel(), s=sizes.ravel(), color=plots.MARKS["blue"], linewidths=0)
        axes.set(xlim=(-0.7, len(shown) - 0.3), ylim=(classes - 0.3, -0.7))
        axes.set_xlabel("client" if clients == len(shown) else f"the first {len(shown)} of {clients} clients")
        axes.set_ylabel("class")
        plots.tidy(axes)
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(10, integer=True))
        return plots.svg(figure, "partition", "images of each class at each client")
