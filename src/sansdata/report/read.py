"""A run directory as typed data. Tolerant: a report is wanted most when a run ended badly.

A missing file is nothing; a damaged one is a line in `faults` and otherwise nothing. Nobody vouches for what lies in
the directory: only regular files are read, no link is followed, and no more than a bound of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import parse_yaml
from ..errors import RunDirectoryError, SansdataError, UserError
from ..figures import Finding
from ..kinds.index import input_kind, output_kind
from ..tasks import Task, task_from_mapping
from . import findings, old_files, samples
from .metrics import Metrics
from .regular import open_regular
from .tree import Tree

MAX_JSON_BYTES = 256_000_000
"""A confusion matrix of 5,000 classes is about 100 MB."""
MAX_LINE_BYTES = 4_000_000
MARKS = ("run.json", "config.yaml", "plan.json", "metrics.jsonl", "summary.json")
"""Files of which a run has one at least."""


@dataclass
class Run:
    """What a run directory says about itself. task: None where run.json names none that is known here."""

    directory: Path
    manifest: Tree = field(default_factory=Tree)
    plan: Tree = field(default_factory=Tree)
    summary: Tree = field(default_factory=Tree)
    ledger: Tree = field(default_factory=Tree)
    evaluation: Tree = field(default_factory=Tree)
    config_text: str = ""
    config: Tree = field(default_factory=Tree)
    metrics: Metrics = field(default_factory=Metrics)
    task: Task | None = None
    figures: list[Finding] = field(default_factory=list)
    """Of the samples."""
    measured: list[Finding] = field(default_factory=list)
    """On real data."""
    grids: list[samples.Grid] = field(default_factory=list)
    grid_files: int = 0
    faults: list[str] = field(default_factory=list)


def read_run(directory: Path, evaluation: Mapping[str, Any] | None = None, grids: int = 6) -> Run:
    """The run in `directory`. `evaluation` stands in for its evaluation.json; `grids` is how many sample files to open.

    Raises RunDirectoryError where there is no such directory, or nothing in it that a run would write.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise RunDirectoryError(f"{directory}: expected a run directory, found no directory there")
    if not any((directory / name).is_file() for name in MARKS):
        raise RunDirectoryError(
            f"{directory}: expected a run directory, found none of {', '.join(MARKS)}; "
            "give the directory that `sansdata distill --out` wrote"
        )
    run = Run(directory)
    for name in ("manifest", "plan", "summary", "ledger", "evaluation"):
        file = "run.json" if name == "manifest" else f"{name}.json"
        setattr(run, name, _read_json(run, file))
    if evaluation is not None:
        run.evaluation = Tree(dict(evaluation))
    run.config_text = _read_text(run, "config.yaml")
    try:
        run.config = Tree(parse_yaml(run.config_text, "config.yaml"))
    except UserError as fault:
        run.faults.append(str(fault))
    for line in _json_lines(run, "metrics.jsonl"):
        run.metrics.add(line)
    if run.metrics.unreadable:
        run.faults.append(f"metrics.jsonl: {run.metrics.unreadable} line(s) could not be read and are left out")
    run.task = _read_task(run)
    _read_findings(run)
    run.grids, run.grid_files = samples.read_grids(directory / "samples", run.task, grids, run.faults)
    return run


def _read_text(run: Run, name: str) -> str:
    try:
        file = open_regular(run.directory / name)
        if file is None:
            return ""
        with file:
            data = file.read(MAX_JSON_BYTES + 1)
    except OSError as fault:
        run.faults.append(f"{name}: cannot be read ({fault.strerror})")
        return ""
    if len(data) > MAX_JSON_BYTES:
        run.faults.append(f"{name}: larger than {MAX_JSON_BYTES:,} bytes, not read")
        return ""
    return data.decode("utf-8", "replace")


def _read_json(run: Run, name: str) -> Tree:
    text = _read_text(run, name)
    if not text.strip():
        return Tree()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        run.faults.append(f"{name}: is not valid JSON, left out")
        return Tree()
    if not isinstance(value, dict):
        run.faults.append(f"{name}: expected an object, got {type(value).__name__}, left out")
        return Tree()
    return Tree(value)


def _json_lines(run: Run, name: str) -> Iterator[dict[str, Any]]:
    try:
        file = open_regular(run.directory / name)
        if file is None:
            return
        with file:
            while file.tell() < MAX_JSON_BYTES and (data := file.readline(MAX_LINE_BYTES)):
                run.metrics.lines += 1
                try:
                    line = json.loads(data.decode("utf-8", "replace"))
                except (ValueError, RecursionError):
                    line = None
                if isinstance(line, dict):
                    yield line
                elif data.strip():
                    run.metrics.unreadable += 1
            if file.read(1):
                run.faults.append(f"{name}: larger than {MAX_JSON_BYTES:,} bytes, the rest is left out")
    except OSError as fault:
        run.faults.append(f"{name}: cannot be read ({fault.strerror})")


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
    """Figures and drawings of summary.json and evaluation.json."""
    names = getattr(run.task.outputs, "class_names", ()) if run.task is not None else ()
    for attribute, tree, entries in (
        ("figures", run.summary, old_files.of_summary(run.summary, names)),
        ("measured", run.evaluation, old_files.of_evaluation(run.evaluation, names)),
    ):
        own_names = tuple(name.text() for name in tree.at("class_names").items())
        several, unreadable = findings.read(entries, own_names or names)
        setattr(run, attribute, several)
        if unreadable:
            file = "summary.json" if tree is run.summary else "evaluation.json"
            run.faults.append(f"{file}: {unreadable} of its figures could not be read and are left out")
