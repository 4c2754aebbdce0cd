"""A finished student as a file for other programs."""

from __future__ import annotations

from pathlib import Path

from ..deploy.export import ExportReport, Format
from ..deploy.export import export as export_model
from ..errors import ConfigError
from ..models.modes import single_precision
from .compress import Compressed
from .result import Result, asked, is_student_file, load


@single_precision()
def export(
    model: str | Path | Result | Compressed, to: Format = "onnx", path: str | Path | None = None
) -> ExportReport:
    """Writes the deployable student as 'onnx' or 'pt2' and checks that it answers like the original.

    model: a run directory, a Result, a Compressed, or a student file such as `compress` writes; its zeros and its
    rounded weights are those of the exported file. path: default `student.onnx` in the run directory, or beside a file
    under its name. Raises ConfigError where there is no such place, and what `deploy.export` raises.
    """
    if isinstance(model, Compressed):
        module, task, target = model.student, model.task, _beside(model.file, to)
    elif isinstance(model, (str, Path)) and is_student_file(model):
        about = asked(model, None)
        module, task, target = about.module, about.task, _beside(Path(model), to)
    else:
        result = model if isinstance(model, Result) else load(model)
        module, task, target = result.student, result.task, result.run_dir / f"student.{to}"
    if path is None and target is None:
        raise ConfigError("this network was not written to a file: say where the export goes (path=...)")
    return export_model(module, task, path or target, to)  # type: ignore[arg-type]


def _beside(file: Path | None, to: Format) -> Path | None:
    return None if file is None else file.with_suffix(f".{to}")
