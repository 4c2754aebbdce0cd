"""A student beside its teacher on local cases: `sansdata.validate`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from ..audit.evidence import as_kind_set, synthetic_inputs
from ..datasets import known, tables
from ..decoding.images import Background
from ..engine.monitor import announce
from ..engine.seal.phases import record_phase
from ..errors import ConfigError, DataError, TeacherError
from ..evaluate.head_inputs import head_inputs
from ..evaluate.labelled import answers
from ..evaluate.snapshots import predictor
from ..files import user_path
from ..models.modes import borrowed, usual_modes
from ..runtime import Runtime, resolve_device
from ..teachers.base import Teacher, fingerprint
from ..validation import record
from ..validation.aggregates import require_aggregates
from ..validation.answers import Who
from ..validation.cases import Cases, load_cases
from ..validation.coverage import outside
from ..validation.manifest import read_manifest
from ..validation.noninferiority import MARGIN, Declaration, declared_before
from ..validation.recalibration import Recalibration, set_apart
from ..validation.resampling import COUNT
from ..validation.subgroups import fairness_library
from ..validation.summary import Validation, summarise
from .result import Result, TaskLike, asked, generator_kept


@usual_modes()
def validate(
    student: str | Path | Result | nn.Module,
    teacher: str | Teacher,
    data: str | Path,
    manifest: str | Path,
    task: TaskLike = None,
    *,
    groups: Sequence[str] | None = None,
    measure: str = "auroc",
    margin: float = MARGIN,
    threshold: float | None = None,
    recalibrate: bool = False,
    resamples: int = COUNT,
    out: str | Path | None = None,
    device: str = "auto",
    background: Background | None = None,
) -> Validation:
    """Student and teacher on the same local cases: per class and group, with intervals by patient, and whether the
    student is as good as its teacher.

    student: as `model` of `evaluate`. data: a folder of images, or a set as `evaluate` reads it, of which `manifest`
    names files or rows: see validation.manifest. groups: columns of it that are groups; None takes all that are left.
    measure, margin: what counts, and how far the student may be below its teacher; they are written into `out`, or
    validation.json of the run, before the data are opened. threshold: of two classes, class 1 is named from this
    probability on. recalibrate: a temperature, offsets of the classes and, of two classes, a threshold are fitted for
    both on a quarter of the patients; all figures are of the others, as they come and recalibrated, and the verdict is
    of the latter. Only aggregates are written. Raises ConfigError, DataError, StudentError, TeacherError,
    MissingLibraryError, and DisclosureError where something else would have been written.
    """
    about = asked(student, task)
    target = _target(about.run_dir, out)
    if about.task.pair[1] != "classes":
        raise ConfigError(f"validation is of classifiers, and this task is {' x '.join(about.task.pair)}")
    declared = Declaration.now(measure, margin, resamples, threshold, recalibrate, about.task.classes)
    with generator_kept():
        beside = about.teacher(teacher)
    if beside.task.inputs != about.task.inputs or beside.task.classes != about.task.classes:
        raise TeacherError("teacher and student are of different tasks; both must answer the same cases")
    require_there(data, manifest)
    prints = {"student": fingerprint(about.module), "teacher": beside.fingerprint()}
    before = record.declare(target, declared, prints)
    _record(about.run_dir, target, "declared", declared, {}, data)  # what fails from here on was a look at the data too
    listed = read_manifest(manifest, None if groups is None else tuple(groups))
    if listed.groups:
        fairness_library()
    cases = load_cases(data, about.task, listed, background)
    cases = replace(cases, notes=(*cases.notes, *declared_before(before, declared)))
    runtime = Runtime(resolve_device(device))
    with borrowed(about.module):
        own = answers(predictor(about.network, about.task, runtime), cases.data, about.task)
    theirs = answers(beside, cases.data, about.task)
    logits: dict[Who, np.ndarray] = {"student": own, "teacher": theirs}
    recalibrations: dict[Who, Recalibration] = {}
    if recalibrate:
        fitted_on, rest = set_apart(cases)
        recalibrations = {who: Recalibration.of(of[fitted_on], cases.labels[fitted_on]) for who, of in logits.items()}
        cases = cases.at(rest)
        logits = {who: of[rest] for who, of in logits.items()}
    validation = summarise(logits, cases, declared, recalibrations, _unlike_synthetic(cases, beside, about.run_dir))
    entry = validation.to_dict() | prints
    require_aggregates(entry, cases)
    record.keep(target, entry)
    _record(about.run_dir, target, "validated", declared, {"verdict": validation.verdict.outcome}, data)
    return validation


def _record(
    run_dir: Path | None, target: Path, event: str, declared: Declaration, facts: Mapping[str, str], data: str | Path
) -> None:
    """Into the record of a sealed run; a warning where that cannot be."""
    if run_dir is None:
        return
    here = [target.name] if target.parent.resolve() == run_dir.resolve() else []
    whole = {"measure": declared.measure, "margin": declared.margin, **facts}
    if fault := record_phase(run_dir, "LOCAL", event, whole, here, data):
        announce(f"warning   {fault}")


def _unlike_synthetic(cases: Cases, teacher: Teacher, run_dir: Path | None) -> np.ndarray | None:
    """(N,) bool: cases far from what the run kept of what it made, in the teacher's features; None where either is not
    to be seen."""
    try:
        made = None if run_dir is None else head_inputs(teacher, synthetic_inputs(run_dir, teacher.task).packed)
    except DataError:
        made = None
    local = None if made is None else head_inputs(teacher, as_kind_set(cases.data, teacher.task).packed)
    return None if made is None or local is None else outside(made, local)


def require_there(data: str | Path, manifest: str | Path) -> None:
    """A name that is mistyped is no look at the data, and needs no declaration. Raises DataError."""
    if not os.path.isfile(manifest):
        raise DataError(f"{str(manifest)[:200]}: there is no such manifest")
    if not (os.path.exists(data) or str(data) in (*known.NAMES, *tables.KNOWN)):
        raise DataError(f"'{str(data)[:200]}' is neither a known set nor a file or folder")


def _target(run_dir: Path | None, out: str | Path | None) -> Path:
    """Where it is recorded. Raises ConfigError."""
    if out is None and run_dir is None:
        raise ConfigError("the student is no run directory, so say where the validation is recorded: --out FILE.json")
    path = user_path(out) if out is not None else Path(str(run_dir)) / record.NAME
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{path}: its folder is not there, or cannot be written to; give another file with --out")
    if path.is_dir():
        raise ConfigError(f"{path}: a folder; give the name of a file, such as validation.json")
    return path
