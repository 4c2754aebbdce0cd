"""The model card of a run, and its exported model as a directory of MLflow's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import Strict, validate
from ..deploy.mlflow_folder import write_mlflow
from ..engine.run_directory import RunDirectory
from ..engine.seal.phases import record_phase
from ..errors import ConfigError, RunDirectoryError
from ..files import reason, user_path, write_atomic
from ..report.card import card_of, is_card
from .outputs import require_free

NAME = "README.md"


class CardSettings(Strict):
    """What only its maker knows of a model. license: its short name, such as apache-2.0."""

    name: str = ""
    license: str = ""
    intended_use: str = ""
    privacy: str = ""
    authors: str = ""
    copyright: str = ""


def write_card(
    run_dir: str | Path,
    out: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    mlflow: str | Path | None = None,
) -> Path:
    """Writes the card of a run's student as README.md into its directory, or to the file `out`, and gives its path.

    settings: by the names of CardSettings. mlflow: a new folder for the run's ONNX file as MLflow has its models.
    An earlier card gives way. Raises RunDirectoryError where there is no run, ConfigError where any other file stands
    there, where nothing can be written, or where there is no ONNX file.
    """
    path = Path(run_dir)
    word = validate(CardSettings, settings or {}, "card")
    text = card_of(path, word.model_dump())
    target = path / NAME if out is None else user_path(out)
    require_free(target, ours=is_card)
    try:
        write_atomic(target, text.encode("utf-8", "replace"))
    except OSError as fault:
        raise RunDirectoryError(f"{target} cannot be written: {reason(fault)}; name another file with --out") from None
    if mlflow is not None:
        _write_mlflow(path, user_path(mlflow, "mlflow"), text)
    if fault := record_phase(path, "REPORT", "carded"):
        raise ConfigError(f"{target} was written, but {fault}")
    return target


def _write_mlflow(run: Path, folder: Path, card: str) -> None:
    from .result import load

    RunDirectory(run).manifest()
    write_mlflow(run / "student.onnx", load(run).task, folder, card)
