"""A student taught further on few local cases, as a new version: `sansdata.finetune`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import __version__
from ..audit.evidence import as_kind_set, synthetic_inputs
from ..config import validate
from ..datasets.labelled import KindSet
from ..datasets.load import load_set
from ..decoding.arrays import read_array
from ..decoding.images import Background
from ..engine.monitor import announce
from ..engine.seal.phases import record_phase
from ..errors import ConfigError, DataError, StudentError
from ..files import reason, sha256, user_path, utc_now, write_json
from ..finetuning.comparison import Comparison, compare
from ..finetuning.folds import three_folds
from ..finetuning.loop import Synthetic, fidelity, fine_tune
from ..finetuning.settings import FineTuneSettings
from ..kinds.index import input_kind
from ..models.copying import private_copy
from ..models.modes import usual_modes
from ..models.saved import read_model, write_model
from ..network import Network
from ..tasks import Task
from ..teachers.specs import STUDENT_FILE
from ..validation.aggregates import require_aggregates
from ..validation.answers import Answers
from ..validation.cases import Cases, load_cases
from ..validation.manifest import read_manifest
from .result import is_student_file, load, read_student, split_run
from .validate import require_there

RECORD = "finetune.json"


@dataclass(frozen=True)
class FineTuned:
    """The new version. folder: where it lies. parent: SHA-256 of the student's file that it came from."""

    student: nn.Module
    task: Task
    comparison: Comparison
    parent: str
    folder: Path


@usual_modes()
def finetune(
    student: str | Path,
    data: str | Path,
    manifest: str | Path,
    out: str | Path,
    *,
    synthetic: str | Path | None = None,
    groups: Sequence[str] | None = None,
    settings: FineTuneSettings | Mapping[str, Any] | None = None,
    seed: int = 0,
    background: Background | None = None,
) -> FineTuned:
    """Teaches a distilled student on labelled local cases: half of the patients tune, a quarter stop, a quarter test.

    student: a run directory or a student file; it stays as it is. data, manifest, groups: as in `validate`. out: a new
    directory for student.safetensors, whose provenance names its parent, and finetune.json, which holds aggregates
    alone. synthetic: a run, or an .npz file such as its images.npz, with the teacher's logits; None takes the run's
    own. Raises ConfigError, DataError, StudentError, and DivergedError.
    """
    if not isinstance(settings, FineTuneSettings):
        settings = validate(FineTuneSettings, settings or {}, "finetune")
    folder = user_path(out)
    if os.path.lexists(folder):
        raise ConfigError(f"{folder} is there already; give the name of a new directory: the distilled student stays")
    if not folder.parent.is_dir():
        raise ConfigError(f"{folder}: the folder that it is to lie in is not there")
    module, task, file, run = _student(student)
    if task.pair[1] != "classes":
        raise ConfigError(f"fine-tuning is of classifiers, and this task is {' x '.join(task.pair)}")
    made = synthetic_answers(run if synthetic is None else synthetic, task) if settings.synthetic else None
    require_there(data, manifest)
    _record(run, "fine-tuning begun", folder, data)  # what fails from here on was a look at the data too
    cases = load_cases(data, task, read_manifest(manifest, None if groups is None else tuple(groups)), background)
    folds = three_folds(cases, seed)
    parent, before = sha256(file), Network.of(module, task)
    after = before.around(private_copy(module, StudentError).eval())
    kept = [None if made is None else fidelity(before, task, made)]
    stages = fine_tune(
        after, task, _part(cases, folds.tune, task), _part(cases, folds.stop, task), made, settings, seed
    )
    kept.append(None if made is None else fidelity(after, task, made))
    test = cases.at(folds.test)
    answers = [Answers.of(_answers(one, _part(cases, folds.test, task))) for one in (before, after)]
    pair = None if kept[0] is None or kept[1] is None else (kept[0], kept[1])
    comparison = compare(answers[0], answers[1], test, stages, pair)
    _write(folder, file, after.module, task, parent, comparison, cases, test, settings, seed)
    _record(run, "fine-tuned", folder, data)
    return FineTuned(after.module, task, comparison, parent, folder)


def _record(run: Path | None, event: str, folder: Path, data: str | Path) -> None:
    """Into the record of a sealed run; a warning where that cannot be."""
    if run is not None and (fault := record_phase(run, "LOCAL", event, {"into": folder.name}, (), data)):
        announce(f"warning   {fault}")


def _student(student: str | Path) -> tuple[nn.Module, Task, Path, Path | None]:
    """(network, task, its file, its run or None). Raises ConfigError for anything else."""
    if is_student_file(student):
        return *read_student(Path(student)), Path(student), None
    run = load(student)
    return run.student, run.task, split_run(student)[0] / STUDENT_FILE, run.run_dir


def synthetic_answers(source: str | Path | None, task: Task) -> Synthetic:
    """Inputs and the teacher's answers to them, as a run keeps them. Raises DataError."""
    if source is None:
        raise DataError(
            "a student file alone has no synthetic inputs, which keep it from forgetting: name a run, or its "
            "images.npz, with --synthetic; or leave them out with synthetic=0"
        )
    path = Path(source)
    if path.is_dir():
        path = path / input_kind(task).samples_file
        inputs = synthetic_inputs(path.parent, task)
    else:
        inputs = as_kind_set(load_set(str(path), task), task)
    logits = read_array(path, "logits")
    whole = logits.ndim == 2 and logits.shape[1] == task.classes and np.isfinite(logits).all()
    if not whole or logits.dtype.kind != "f":
        raise DataError(f"{path}: its 'logits' are no answers to {task.classes} classes, got {logits.shape}")
    if len(logits) != len(inputs):
        chosen = np.linspace(0, len(logits) - 1, len(inputs)).round().astype(np.int64)
        logits = logits[chosen]
    return Synthetic(inputs.packed, torch.from_numpy(logits.astype(np.float32)))


def _part(cases: Cases, index: np.ndarray, task: Task) -> KindSet:
    return as_kind_set(cases.data.subset(index, ""), task)


def _answers(network: Network, data: KindSet) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate([network(inputs).value.numpy() for inputs, _ in data.batches(256)])


def _write(
    folder: Path, file: Path, module: nn.Module, task: Task, parent: str, comparison: Comparison, cases: Cases,
    test: Cases, settings: FineTuneSettings, seed: int,
) -> None:  # fmt: skip
    """Both files, or none. Raises DataError where they cannot be written, DisclosureError where they should not be."""
    saved = read_model(file)
    about = {
        "parent": parent, "at": utc_now(), "seed": seed, "settings": settings.model_dump(mode="json"),
        "all cases": len(cases), "all patients": cases.patient_count,
    }  # fmt: skip
    record = about | {"test": comparison.to_dict(), "notes": list(cases.notes)}
    require_aggregates(record, test)
    try:
        folder.mkdir()
        write_json(folder / RECORD, record)
        origin = {"sansdata": __version__, "fine-tuned": about, "parent provenance": saved.provenance}
        write_model(folder / STUDENT_FILE, module, saved.architecture, task, origin)
    except OSError as fault:
        raise DataError(f"{folder} cannot be written ({reason(fault)})") from None
