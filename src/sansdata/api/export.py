"""A finished student as a file for other programs."""

from __future__ import annotations

from pathlib import Path

from ..deploy.export import ExportReport, Format
from ..deploy.export import export as export_model
from ..models.modes import single_precision
from .result import Result, load


@single_precision()
def export(run_dir: str | Path | Result, to: Format = "onnx", path: str | Path | None = None) -> ExportReport:
    """Writes the deployable student as 'onnx' or 'pt2' and checks that it answers like the original."""
    result = run_dir if isinstance(run_dir, Result) else load(run_dir)
    target = Path(path) if path else result.run_dir / f"student.{to}"
    return export_model(result.student, result.task, target, to)
