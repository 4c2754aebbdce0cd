"""Figures on real data, after a run: of the model's own task, of another, and under attack."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from ..audit import backdoor
from ..audit.attacks import find_attack
from ..audit.backdoor import AttackSuccess
from ..config import validate
from ..datasets.images import load_images, load_own_classes
from ..datasets.imageset import ImageSet
from ..datasets.labelled import KindSet
from ..datasets.load import load_set
from ..decoding.images import Background
from ..errors import ConfigError, TeacherError
from ..evaluate.few_shot import FewShotSettings, evaluate_few_shot
from ..evaluate.generated_rows import evaluate_rows
from ..evaluate.kept import keep_by_name, keep_figures
from ..evaluate.labelled import Evaluation, LabelledSet, evaluate_model
from ..evaluate.overlap import overlap_with
from ..evaluate.snapshots import predictor
from ..evaluate.transferability import FINE_TUNE_STEPS, Transferability, measure_transfer
from ..kinds.index import input_kind
from ..kinds.inputs.tokens import Tokens
from ..manner import suited
from ..models.modes import borrowed, usual_modes
from ..runtime import Runtime, resolve_device
from ..tasks import KNOWN_TASKS
from ..teachers.base import Teacher
from .result import Asked, Result, TaskLike, asked, generator_kept
from .rows import draw_latents, encoder_of


@usual_modes()
def evaluate(
    model: str | Path | Result | nn.Module,
    data: str | Path | LabelledSet,
    task: TaskLike = None,
    teacher: str | Teacher | None = None,
    device: str = "auto",
    background: Background | None = None,
    few_shot: FewShotSettings | Mapping[str, Any] | None = None,
) -> Evaluation:
    """Accuracy, per class, ranking, calibration and, with a teacher, agreement, on real data. Of a few-shot model, the
    accuracy over tasks of a few labelled images each, beside that of random weights.

    model: a run directory, a Result, a SPEC with its task, or a module that takes what its preprocessing gives, such
    as normalised images (with a task). data: a set as datasets.load names them, or a labelled one in Python, such as a
    datasets.labelled.KindSet. background: 'white' or 'black', what the transparent pictures of a folder are seen on;
    without one their transparency is dropped. Of a generator of an autoencoder's latents, data are real rows of the
    table and the teacher makes rows of its latents: see evaluate.generated_rows. few_shot: how the tasks are drawn, for
    a model of `ways`. The figures of a run's last student are added to its evaluation.json; where that cannot be
    written, a line on stderr says so. Raises DataError, TeacherError, TaskError.
    """
    about, runtime = asked(model, task), Runtime(resolve_device(device))
    if of_rows(about, data):
        return evaluate_generated_rows(about, data, teacher)
    if about.task.pair == ("image", "ways"):
        return _few_shot(about, runtime, data, background, few_shot, teacher)
    if few_shot is not None:
        raise ConfigError(f"few-shot tasks are for a model of ways, and this is one of {' x '.join(about.task.pair)}")
    labelled = load_set(data, about.task, background=background) if isinstance(data, (str, Path)) else data
    with generator_kept():
        beside = None if teacher is None else about.teacher(teacher)
    with borrowed(about.module):
        measured = evaluate_model(predictor(about.network, about.task, runtime), labelled, about.task, beside)
    if about.run_dir is not None:
        kind = input_kind(about.task)
        if isinstance(kind, Tokens) and isinstance(labelled, KindSet):
            copies = overlap_with(about.run_dir, labelled.packed, kind)
            measured = replace(measured, figures=(*measured.figures, *copies))
        _say(keep_figures(about.run_dir, measured.to_dict(), _path(data)))
    return measured


def _path(data: Any) -> str | Path | None:
    """Where the data lie, for the record of a sealed run; None for a set in memory, of which that is not known."""
    return data if isinstance(data, (str, Path)) else None


def of_rows(about: Asked, data: str | Path | LabelledSet) -> bool:
    """Whether what is measured are rows that a decoder makes of the network's latents."""
    if about.task.pair != ("noise", "vectors"):
        return False
    return data.task.pair[0] == "table" if isinstance(data, KindSet) else not str(data).lower().endswith(".npz")


def evaluate_generated_rows(about: Asked, data: Any, teacher: str | Teacher | None) -> Evaluation:
    """Raises ConfigError without a teacher, and what evaluate.generated_rows raises."""
    if teacher is None:
        raise ConfigError("latents become rows by their autoencoder's decoder: give it with --teacher")
    encoder = encoder_of(teacher, about.task, about.run_dir)
    task = encoder.bins.task
    training = load_set(data, task, "train") if isinstance(data, str) and data in KNOWN_TASKS else None
    real: Any = load_set(data, task) if isinstance(data, (str, Path)) else data
    with borrowed(about.module):
        measured = evaluate_rows(
            lambda count, stream: draw_latents(about.network, about.task, count, stream),
            encoder,
            real,
            training,  # type: ignore[arg-type]
        )
    if about.run_dir is not None:
        _say(keep_figures(about.run_dir, measured.to_dict(), _path(data)))
    return measured


def _few_shot(
    about: Asked,
    runtime: Runtime,
    data: str | Path | LabelledSet,
    background: Background | None,
    settings: FewShotSettings | Mapping[str, Any] | None,
    teacher: str | Teacher | None,
) -> Evaluation:
    if teacher is not None:
        raise ConfigError("a few-shot model has no teacher beside it: each of its tasks has classes of its own")
    if not isinstance(settings, FewShotSettings):
        settings = validate(FewShotSettings, settings or {}, "few_shot")
    if isinstance(data, (str, Path)):
        data = load_own_classes(data, about.task.shape, background=background)
    if not isinstance(data, ImageSet):
        raise ConfigError("few-shot tasks are drawn from a set of images: give a known set, a folder or an .npz file")
    with borrowed(about.module):
        measured = evaluate_few_shot(about.network, about.task, data, settings, runtime)
    if about.run_dir is not None:
        _say(keep_figures(about.run_dir, measured.to_dict(), _path(data)))
    return measured


@usual_modes()
def transferability(
    model: str | Path | Result | nn.Module,
    data: str | Path,
    task: TaskLike = None,
    teacher: str | Teacher | None = None,
    device: str = "auto",
    steps: int = FINE_TUNE_STEPS,
) -> Transferability:
    """What the features of `model` are worth on another task's set `data`: a linear probe and a short fine-tune.

    Beside those of random weights (the floor) and, where given, of `teacher` (the ceiling), which may be any network of
    the same input shape. data: a known set, a folder of class folders, an .npz file; for segmentation 'seg_em',
    'seg_camvid', or an .npz file whose y is (N, H, W). steps: of the fine-tune; 0 leaves it out. For a run directory,
    the figures go into evaluation.json. Raises DataError, StudentError, TeacherError, TaskError, ConfigError.
    """
    if steps < 0:
        raise ConfigError(f"steps of the fine-tune must be 0 or above, got {steps}")
    about, runtime = asked(model, task), Runtime(resolve_device(device))
    _require_images(about.task.pair, "transferability")
    with generator_kept():
        beside = None if teacher is None else about.teacher(teacher)
    if beside is not None and beside.task.shape != about.task.shape:
        raise TeacherError(
            f"the ceiling takes images of {list(beside.task.shape)} and the model of {list(about.task.shape)}; both "
            "must see the same images, so give a teacher of the model's shape"
        )
    networks = {"the model": about.network} | ({} if beside is None else {"the ceiling": beside.network})
    ceiling = None if beside is None else (beside.module, beside.task)
    with borrowed(about.module):
        runtime, _ = suited(runtime, networks, about.task)
        measured = measure_transfer(about.module, about.task, str(data), ceiling, runtime, steps)
    if about.run_dir is not None:
        _say(keep_by_name(about.run_dir, "transfer", str(data), measured.to_dict()))
    return measured


@usual_modes()
def attack_success(
    model: str | Path | Result | nn.Module,
    data: str | Path,
    attack: str,
    target: int = 0,
    task: TaskLike = None,
    device: str = "auto",
    background: Background | None = None,
) -> AttackSuccess:
    """How often a trigger makes `model` answer class `target` on images of other classes, and how often it does anyway.

    attack: a name of `audit.attacks.ATTACKS`. background: as in `evaluate`. For a run directory, the
    figures go into evaluation.json. Raises DataError, ConfigError for an unknown attack, TaskError.
    """
    known = find_attack(attack)
    about = asked(model, task)
    _require_images(about.task.pair, "attack_success")
    images, runtime = load_images(str(data), about.task, background=background), Runtime(resolve_device(device))
    with borrowed(about.module):
        predict = predictor(about.network, about.task, runtime)
        measured = backdoor.attack_success(predict, images, about.task, known, target)
    if about.run_dir is not None:
        name = f"{attack} to class {target} on {images.source}"
        _say(keep_by_name(about.run_dir, "attacks", name, measured.to_dict()))
    return measured


def _say(fault: str) -> None:
    """That evaluation.json could not be written ends nothing: the figures are measured, and the caller has them."""
    if fault:
        print(f"warning   {fault}", file=sys.stderr)


def _require_images(pair: tuple[str, str], verb: str) -> None:
    if pair != ("image", "classes"):
        raise ConfigError(f"{verb} is of classifiers of images, and this is a task of {' x '.join(pair)}")
