"""A run directory as typed data. Tolerant: a report is wanted most when a run ended badly.

A missing file is nothing; a damaged one is a line in `faults` and otherwise nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import parse_yaml
from ..engine.guard import ledger
from ..errors import SansdataError, UserError
from ..figures import Finding
from ..kinds.index import input_kind, output_kind
from ..tasks import Task, task_from_mapping
from . import findings, old_files, samples
from .metrics import Metrics
from .run_files import RunFiles
from .tree import Tree

MARKS = ("run.json", "config.yaml", "plan.json", "metrics.jsonl", "summary.json")
"""Files of which a run has one at least."""


FILES = {
    "figures": "summary.json", "measured": "evaluation.json", "exported": "exports.json",
    "validated": "validation.json", "audited": "audit.json",
}  # fmt: skip
"""Findings of a run -> the file that holds them."""


@dataclass
class Run:
    """What a run directory says about itself. task: None where run.json names none that is known here."""

    directory: Path
    manifest: Tree = field(default_factory=Tree)
    plan: Tree = field(default_factory=Tree)
    summary: Tree = field(default_factory=Tree)
    ledger: Tree = field(default_factory=Tree)
    evaluation: Tree = field(default_factory=Tree)
    exports: Tree = field(default_factory=Tree)
    validation: Tree = field(default_factory=Tree)
    audit: Tree = field(default_factory=Tree)
    config_text: str = ""
    config: Tree = field(default_factory=Tree)
    metrics: Metrics = field(default_factory=Metrics)
    task: Task | None = None
    figures: list[Finding] = field(default_factory=list)
    """Of the samples."""
    measured: list[Finding] = field(default_factory=list)
    """On real data."""
    exported: list[Finding] = field(default_factory=list)
    """Of files for other programs."""
    validated: list[Finding] = field(default_factory=list)
    """On local cases, last."""
    audited: list[Finding] = field(default_factory=list)
    """By the last audit."""
    grids: list[samples.Grid] = field(default_factory=list)
    grid_files: int = 0
    faults: list[str] = field(default_factory=list)


def read_run(directory: Path, evaluation: Mapping[str, Any] | None = None, grids: int = 6) -> Run:
    """The run in `directory`. `evaluation` stands in for its evaluation.json; `grids` is how many sample files to open.

    Raises RunDirectoryError where there is no such directory, or nothing in it that a run would write.
    """
    files = RunFiles(Path(directory), MARKS)
    run = Run(files.directory, faults=files.faults)
    for name in ("manifest", "plan", "summary", "ledger", "evaluation", "exports"):
        setattr(run, name, files.tree("run.json" if name == "manifest" else f"{name}.json"))
    if run.ledger or os.path.lexists(run.directory / ledger.NAME):
        run.ledger = Tree(ledger.ledger_of(run.ledger.value))
    run.validation = _last(files.tree("validation.json").at("validations"))
    run.audit = _last(files.tree("audit.json").at("audits"))
    if evaluation is not None:
        run.evaluation = Tree(dict(evaluation))
    run.config_text = files.text("config.yaml")
    try:
        run.config = Tree(parse_yaml(run.config_text, "config.yaml"))
    except UserError as fault:
        run.faults.append(str(fault))
    for line in files.lines("metrics.jsonl"):
        run.metrics.lines += 1
        if line is None:
            run.metrics.unreadable += 1
        else:
            run.metrics.add(line)
    if run.metrics.unreadable:
        run.faults.append(f"metrics.jsonl: {run.metrics.unreadable} line(s) could not be read and are left out")
    run.task = _read_task(run)
    _read_findings(run)
    run.grids, run.grid_files = samples.read_grids(run.directory / "samples", run.task, grids, run.faults)
    return run


def _last(entries: Tree) -> Tree:
    """The newest of a list that is added to; nothing where there is none."""
    items = entries.items()
    return items[-1] if items else Tree()


def _read_task(run: Run) -> Task | None:
    """The task that run.json names; None where it names none, or one of kinds that do not load here."""
    fields = run.manifest.at("task").value
    if not fields:
        return None
    try:
        if not isinstance(fields, Mapping):
            raise UserError("no mapping")
        task = task_from_mapping(fields, "its task")
        for load in (input_kind, output_kind):
            load(task)
    except (SansdataError, ImportError) as fault:
        run.faults.append(f"run.json: names no task that is known here, samples are not shown ({str(fault)[:300]})")
        return None
    return task


def _read_findings(run: Run) -> None:
    """The figures of each file of records; of summary.json and evaluation.json their drawings too."""
    names = getattr(run.task.outputs, "class_names", ()) if run.task is not None else ()
    for attribute, tree, entries in (
        ("figures", run.summary, old_files.of_summary(run.summary, names)),
        ("measured", run.evaluation, old_files.of_evaluation(run.evaluation, names)),
        ("exported", run.exports, run.exports.at("figures")),
        ("validated", run.validation, run.validation.at("figures")),
        ("audited", run.audit, run.audit.at("figures")),
    ):
        own_names = tuple(name.text() for name in tree.at("class_names").items())
        several, unreadable = findings.read(entries, own_names or names)
        setattr(run, attribute, several)
        if unreadable:
            run.faults.append(f"{FILES[attribute]}: {unreadable} of its figures could not be read and are left out")
