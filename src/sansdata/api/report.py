"""The page of a run, and of several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..datasets.load import load_set
from ..engine import selection
from ..engine.run_directory import RunDirectory
from ..evaluate.kept import keep_figures
from ..evaluate.snapshots import accuracy_over_time
from ..network import Network
from ..report import checked_target, read_groups, write_comparison, write_report
from .evaluate import evaluate
from .result import load, split_run


def report(
    run_dir: str | Path | Sequence[str | Path], data: str | Path | None = None, out: str | Path | None = None
) -> Path:
    """Writes a run's report.html anew, with figures on real data where `data` is given, and accuracy over time.

    Several runs are put side by side on one page. out: the page's file instead of DIR/report.html, or of
    comparison.html in this folder for several runs. Gives the page's path.
    Raises RunDirectoryError where a directory holds no run, or where runs cannot be compared, DataError, StudentError.
    """
    runs = [run_dir] if isinstance(run_dir, (str, Path)) else list(run_dir)
    paths = [split_run(one)[0] for one in runs]
    target = None if out is None else checked_target(Path(out))
    if len(paths) == 1:
        RunDirectory(paths[0]).manifest()
        if data is not None:
            _measure(runs[0], data)
        return write_report(paths[0], out=target)
    if data is not None:
        read_groups(paths)  # what cannot be compared need not be measured
        for run, path in zip(runs, paths):
            if (path / "student.safetensors").is_file():
                _measure(run, data)
    return write_comparison(paths, target)


def _measure(run: str | Path, data: str | Path) -> None:
    """Writes evaluation.json of a run, with the accuracy of its snapshots."""
    path, _ = split_run(run)
    measured, result = evaluate(run, data).to_dict(), load(run)
    labelled, snapshots = load_set(str(data), result.task), selection.snapshots(path / "snapshots")
    over_time = accuracy_over_time(Network.of(result.student, result.task), snapshots, labelled, result.task)
    keep_figures(path, measured | {"over_time": over_time})
