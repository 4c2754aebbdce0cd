"""The files of a federated run as typed data: what does not have the form in which a run writes it is left out, and a
line in `faults` says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..figures import Finding
from . import findings
from .metrics import MAX_VALUE
from .old_files import of_evaluation
from .run_files import RunFiles
from .tree import Tree
from .words import NOTHING, clip

KIND = "federated"
TEXTS = ("status", "method", "reveals", "command", "seed", "torch", "threads", "device")
SPREADS = ("clients_accuracy", "personal_accuracy", "local_only_accuracy", "majority_accuracy")
MAX_CLIENTS, MAX_CLASSES, MAX_NOTES = 10_000, 1_000, 200


@dataclass
class FederatedFiles:
    """run: texts of run.json. summary: as api.federate.summary makes it, without what is none. counts: int64 (clients,
    K), None where partition.json has none. owners: names of the clients, their numbers where they have none. lines: of
    metrics.jsonl."""

    directory: Path
    run: dict[str, Any]
    summary: dict[str, Any]
    dealt: dict[str, str]
    counts: np.ndarray | None
    owners: list[str]
    lines: list[dict[str, Any]]
    evaluation: Tree
    measured: list[Finding]
    """What `evaluation` says of the set that was measured last."""
    faults: list[str] = field(default_factory=list)


def is_federated(directory: Path) -> bool:
    """Whether run.json says so; False where there is no run."""
    return directory.is_dir() and RunFiles(directory).tree("run.json").at("kind").value == KIND


def read_federated(directory: Path) -> FederatedFiles:
    """Raises RunDirectoryError where there is no run."""
    files = RunFiles(directory, ("run.json",))
    names = ("run", "partition", "summary", "evaluation")
    manifest, dealt, summary, evaluation = (files.tree(f"{name}.json") for name in names)
    run: dict[str, Any] = {name: clip(manifest.at(name).text(NOTHING), 4_000) for name in TEXTS}
    for name in ("notes", "resumed"):
        run[name] = [clip(note.text(), 400) for note in manifest.at(name).items()[:MAX_NOTES] if note.text()]
    lines, broken = [], 0
    for raw in files.lines("metrics.jsonl"):
        line = _line(Tree(raw))
        broken += line is None
        lines += [] if line is None else [line]
    if broken:
        files.faults.append(f"metrics.jsonl: {broken} line(s) could not be read and are left out")
    counts = _counts(dealt)
    if counts is None and dealt:
        files.faults.append("partition.json: does not say how many images of each class a client has, left out")
    owners = [clip(one.at("owner").text(str(n)), 60) for n, one in enumerate(dealt.at("clients").items()[:MAX_CLIENTS])]
    facts = {name: tree.text() for name, tree in dealt.fields().items() if name != "clients" and tree.text()}
    shown = {clip(name, 40): clip(text, 40) for name, text in list(facts.items())[:20]}
    measured, unreadable = findings.read(of_evaluation(evaluation, ()))
    if unreadable:
        files.faults.append(f"evaluation.json: {unreadable} of its figures could not be read and are left out")
    return FederatedFiles(
        directory, run, _summary(summary), shown, counts, owners, lines, evaluation, measured, files.faults
    )  # fmt: skip


def _line(tree: Tree) -> dict[str, Any] | None:
    number = _number(tree.at("round"))
    if number is None:
        return None
    line: dict[str, Any] = {"round": int(number), **_accuracies(tree)}
    for name in ("server_seconds", "client_seconds"):
        line[name] = _number(tree.at(name)) or 0.0
    line["undone"] = clip(tree.at("undone").text(), 400)
    for name in ("refused", "lost", "unmeasured"):
        line[name] = [
            {"client": clip(one.at("client").text(NOTHING), 20), "reason": clip(one.at("reason").text(NOTHING), 400)}
            for one in tree.at(name).items()[:MAX_NOTES]
        ]
    return line


def _summary(tree: Tree) -> dict[str, Any]:
    levels = {name: _number(value) for name, value in tree.at("rounds_to").fields().items() if _is_share(name)}
    return {
        "rounds": max(1, int(_number(tree.at("rounds")) or 1)),
        **_accuracies(tree),
        "rounds_to": {name: None if value is None else int(value) for name, value in levels.items()},
        **{name: _numbers(tree.at(name)) for name in ("down", "up")},
        **{name: _number(tree.at(name)) for name in ("server_seconds", "client_seconds")},
    }


def _accuracies(tree: Tree) -> dict[str, Any]:
    """Those of the global model and its other states, 0..1, and the spread over the clients."""
    several: dict[str, Any] = {}
    for name, value in tree.fields().items():
        if name in SPREADS:
            spread = _numbers(value)
            if {"mean", "std", "lowest", "worst_tenth"} <= spread.keys():
                each = [_number(one) for one in value.at("each").items()[:MAX_CLIENTS]]
                several[name] = {**spread, "each": each}
        elif name == "accuracy" or name.startswith("accuracy_"):
            share = _number(value)
            if share is not None and len(several) < 20:
                several[clip(name, 40)] = share
    return several


def _counts(dealt: Tree) -> np.ndarray | None:
    rows = [[_number(one) for one in client.at("classes").items()[:MAX_CLASSES]]
            for client in dealt.at("clients").items()[:MAX_CLIENTS]]  # fmt: skip
    if not rows or not rows[0] or any(len(row) != len(rows[0]) or None in row for row in rows):
        return None
    return np.array(rows, dtype=np.float64).astype(np.int64)


def _numbers(tree: Tree, most: int = 100) -> dict[str, float]:
    pairs = [(clip(name, 60), _number(value)) for name, value in list(tree.fields().items())[:most]]
    return {name: value for name, value in pairs if value is not None}


def _number(tree: Tree) -> float | None:
    """At least 0, and small enough for an integer of 64 bits."""
    value = tree.number()
    return value if value is not None and 0 <= value <= min(MAX_VALUE, 1e18) else None


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
