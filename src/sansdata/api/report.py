"""The page of a run, and of several side by side."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..datasets.load import load_set
from ..deploy import record
from ..engine import selection
from ..errors import RunDirectoryError
from ..evaluate.kept import keep_figures
from ..evaluate.snapshots import accuracy_over_time
from ..files import is_regular, read_record, reason, sha256, user_path
from ..models.modes import usual_modes
from ..network import Network
from ..report import checked_target, read_groups, write_comparison, write_report
from ..report.federated import write_federated_report
from ..report.federated_files import is_federated
from ..tasks import Task
from ..teachers.specs import STUDENT_FILE
from .evaluate import evaluate
from .result import load, split_run


@usual_modes()
def report(
    run_dir: str | Path | Sequence[str | Path], data: str | Path | None = None, out: str | Path | None = None
) -> Path:
    """Writes a run's report.html anew, with figures on real data where `data` is given, and accuracy over time.

    Several runs are put side by side on one page; a federated run has one of its own. out: the page's file instead of
    DIR/report.html, or of comparison.html in this folder for several runs. Gives the page's path.
    Raises RunDirectoryError where a directory holds no run, where runs cannot be compared, or where the page cannot be
    written; DataError, StudentError.
    """
    runs = [run_dir] if isinstance(run_dir, (str, Path)) else list(run_dir)
    paths = [split_run(one)[0] for one in runs]
    target = None if out is None else checked_target(user_path(out))
    federated = [path for path in paths if is_federated(path)]
    if federated and (data is not None or len(paths) > 1):
        raise RunDirectoryError(
            f"{federated[0]} is a federated run: its page stands alone, with the figures that it measured itself. Its "
            f"global model is measured by: sansdata evaluate {federated[0]} --data DATA"
        )
    if len(paths) == 1:
        (path,) = paths
        if target is None and path.is_dir() and not os.access(path, os.W_OK):
            raise RunDirectoryError(f"{path} cannot be written to; name another file for the page with --out")
        if federated:
            return write_federated_report(path, target)
        return write_report(path, None if data is None else _measure(runs[0], data), target)
    if data is not None:
        read_groups(paths)  # what cannot be compared need not be measured
        for run, path in zip(runs, paths):
            if is_regular(path / STUDENT_FILE):
                _measure(run, data)
    return write_comparison(paths, target)


def _measure_exports(run_dir: Path, task: Task, data: str | Path) -> None:
    """Adds to exports.json the accuracy of the run's ONNX files of images, as they stand."""
    if task.pair != ("image", "classes") or not is_regular(run_dir / record.NAME):
        return
    accuracies, source = {}, ""
    try:
        entries = read_record(run_dir / record.NAME, "exports")["exports"]
    except OSError as fault:
        print(f"warning   {run_dir / record.NAME}: {reason(fault)}", file=sys.stderr)
        return
    for entry in entries:
        file = run_dir / Path(str(entry.get("name"))).name
        known = entry.get("sha256")
        if file.suffix == ".onnx" and "accuracy" not in entry and is_regular(file) and sha256(file) == known:
            measured = evaluate(str(file), data, task)
            accuracies[str(known)], source = measured.accuracy, measured.source
    if accuracies and (fault := record.add_accuracy(run_dir, accuracies, source)):
        print(f"warning   {fault}", file=sys.stderr)


def _measure(run: str | Path, data: str | Path) -> dict[str, Any] | None:
    """Adds a run's figures and the accuracy of its snapshots to evaluation.json; gives them where that failed, and a
    page can have them only from here."""
    path, _ = split_run(run)
    measured, result = evaluate(run, data).to_dict(), load(run)
    if result.task.pair[1] == "ways":  # a snapshot says nothing before it is adapted
        return measured
    labelled, snapshots = load_set(str(data), result.task), selection.snapshots(path / "snapshots")
    _measure_exports(path, result.task, data)
    over_time = accuracy_over_time(Network.of(result.student, result.task), snapshots, labelled, result.task)
    figures = measured | {"over_time": over_time}
    return figures if keep_figures(path, figures, data) else None
