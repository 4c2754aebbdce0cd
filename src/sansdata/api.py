"""What `import sansdata` shows: distill, load, check, evaluate, export, report."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .audit import backdoor
from .audit.attacks import find_attack
from .audit.backdoor import AttackSuccess
from .compress.rebuild import rebuild
from .contracts import Streams
from .datasets.images import load_images
from .deploy.bundle import Deployable
from .deploy.export import ExportReport, Format
from .deploy.export import export as export_model
from .engine import selection
from .engine.prepare import prepare
from .engine.run import resolved, run
from .engine.run_directory import RunDirectory
from .errors import ConfigError, RunDirectoryError, StudentError, TeacherError
from .evaluate.images import Evaluation, evaluate_model
from .evaluate.kept import keep_by_name, keep_figures
from .evaluate.snapshots import accuracy_over_time, predictor
from .evaluate.transferability import FINE_TUNE_STEPS, Transferability, measure_transfer
from .methods.index import choose_method, find_method, method_config, method_names
from .models.modes import fixed
from .models.saved import SavedModel, read_model
from .report import checked_target, read_groups, write_comparison, write_report
from .runtime import Runtime, is_first_process, resolve_device
from .settings import RunSettings
from .tasks import ImageTask, load_task
from .teachers.base import Teacher
from .teachers.preflight import preflight, unmet
from .teachers.specs import load_student, load_teacher, resolve


@dataclass
class Result:
    """A finished run: the student, ready to use, and where everything about it lies."""

    student: nn.Module
    """Takes normalised images (B, C, H, W), as the teacher's module does; gives logits (B, K). In eval mode."""
    task: ImageTask
    run_dir: Path

    @cached_property
    def model(self) -> nn.Module:
        """Deployable: takes images (B, C, H, W) in 0..1, normalises inside, gives logits."""
        return Deployable(self.student, self.task).eval()

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        text = (self.run_dir / "metrics.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    @cached_property
    def summary(self) -> dict[str, Any]:
        return RunDirectory(self.run_dir).read_json("summary.json")

    @property
    def cost(self) -> dict[str, Any]:
        """Seconds by phase, samples, teacher and student passes, peak memory."""
        return self.summary["cost"]


def distill(
    teacher: Teacher | str,
    student: nn.Module | str = "shrink:0.5",
    method: str = "auto",
    budget: str | None = None,
    out: str | Path = "run",
    seed: int = 0,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
    *,
    task: ImageTask | str | Mapping[str, Any] | None = None,
    helpers: Sequence[str] = (),
    resume: bool = False,
    strict: bool = False,
    force: bool = False,
    preset: str = "default",
    inherit: bool = False,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    options: Mapping[str, Any] | None = None,
    features: Mapping[str, Any] | None = None,
    update: str = "plain",
    pool: str | Path | None = None,
    retain: Mapping[str, Any] | None = None,
    defence: str = "none",
    vaccine: Mapping[str, Any] | None = None,
    retrospect: Mapping[str, Any] | None = None,
    engine: Mapping[str, Any] | None = None,
) -> Result:
    """Distils `teacher` into `student` without data, into the directory `out`.

    teacher: a Teacher, or a SPEC (then `task` is needed). helpers: SPECs of further models that help to make the
    inputs (see Teacher.helped_by); a Teacher brings its own. student: a module, which is left as it is and copied,
    or a SPEC. budget: '10m', '2000steps', '1e5queries'; None is the method's own size. on_step(step, losses) is called
    after each student step. inherit: start a student of the teacher's kind from its layers. options: the method's own
    settings. features: feature alignment (settings.FeatureTerms). update: 'plain', or 'retain' with its settings
    `retain` (settings.RetainSettings). pool: a folder of unrelated images, or an .npz file, for methods that
    choose from one. defence: against a poisoned teacher, 'vaccine', 'retrospect' or 'abd' for both, with their
    settings `vaccine` and `retrospect` (settings.VaccineSettings, RetrospectSettings). engine: settings.EngineSettings.

    Raises UserError before step 0 for wrong input, Interrupted after a signal (then `resume=True` continues).
    """
    import copy

    from .config import validate

    given: dict[str, Any] = {
        "method": method, "preset": preset, "inherit": inherit, "budget": budget, "seed": seed, "device": device,
        "precision": precision, "threads": threads, "strict": strict, "options": dict(options or {}),
        "features": dict(features or {}), "engine": dict(engine or {}), "update": update, "retain": dict(retain or {}),
        "helpers": list(helpers),
        "pool": None if pool is None else str(pool),
        "defence": defence, "vaccine": dict(vaccine or {}), "retrospect": dict(retrospect or {}),
    }  # fmt: skip
    if isinstance(teacher, str):
        given |= {"teacher": teacher, "task": _task_field(task)}
    if isinstance(student, str):
        given["student"] = student
    else:
        given["student"] = f"a {type(student).__name__} in Python"
        student = copy.deepcopy(student)
    settings = validate(RunSettings, given, "distill")
    command = f"sansdata.distill(method={method!r}, budget={budget!r}, seed={seed})"
    source = None if isinstance(teacher, str) else teacher
    module = None if isinstance(student, str) else student
    if (
        source is not None
        and source.architecture is None
        and isinstance(student, str)
        and student.startswith("shrink:")
    ):
        # Shrunk from a module that only the caller can make: no file could say how to build it again.
        with Streams(seed).as_global("student", shared=True):
            module = load_student(student, source, source.task).module
    return distill_settings(settings, out, source, module, resume=resume, force=force, command=command, on_step=on_step)


def distill_settings(
    settings: RunSettings, out: str | Path, teacher: Teacher | None = None, student: nn.Module | None = None, **how: Any
) -> Result:
    """As `distill`, from settings as a file or the command gives them; `how` goes to engine.run.run."""
    directory = run(settings, Path(out), teacher, student, **how)
    if is_first_process():
        write_report(directory)
    return load(directory, student)


def _task_field(task: ImageTask | str | Mapping[str, Any] | None) -> Any:
    if isinstance(task, ImageTask):
        return task.model_dump(mode="json")
    return "" if task is None else task if isinstance(task, str) else dict(task)


def load(run_dir: str | Path, student: nn.Module | None = None, best: bool = False) -> Result:
    """The result of a run, later. best: the snapshot that agreed most, where it is not the last.

    student: a module of the right architecture, needed where the student was a module in Python.
    Raises RunDirectoryError, TeacherError or StudentError.
    """
    path = Path(run_dir)
    file = path / "student.best.safetensors" if best else path / "student.safetensors"
    if best and not file.is_file():
        file = path / "student.safetensors"
    if not file.is_file():
        raise RunDirectoryError(f"{path} has no student.safetensors: it is no run, or not a finished one")
    saved = read_model(file)
    return Result(_fill(saved, student, file).eval(), saved.task, path)


def _fill(saved: SavedModel, module: nn.Module | None, file: Path) -> nn.Module:
    if module is None:
        if saved.architecture is None:
            raise StudentError(
                f"{file} holds the weights of a module that was made in Python; give one: "
                "sansdata.load(run_dir, student=MyModel())"
            )
        with _generator_kept():
            module = rebuild(saved.architecture)
    try:
        module.load_state_dict(saved.tensors)
    except RuntimeError as fault:
        raise StudentError(f"{file} does not fit {type(module).__name__}: {fault}") from None
    return module


def _generator_kept() -> contextlib.AbstractContextManager:
    """Networks are built with random weights before a file fills them: that is not the caller's business."""
    return torch.random.fork_rng(devices=[])


def check(teacher: str | Teacher, task: Any = None, student: str | nn.Module | None = None) -> dict[str, Any]:
    """The preflight verdict: what the teacher takes and gives, its faults, and which methods can work.

    The dict has 'teacher', 'student', 'faults', 'warnings' and 'methods' {name: [reasons why not]}.
    """
    with _generator_kept():
        if isinstance(teacher, str):
            teacher = load_teacher(teacher, load_task(_task_field(task)))
        module = None if student is None else load_student(student, teacher, teacher.task).module
    found = preflight(teacher, module)
    methods: dict[str, list[str]] = {}
    if not found.faults:
        for name in method_names():
            cls = find_method(name)
            methods[name] = unmet(cls.requires(cls.Config()), teacher)
    auto = None
    if not found.faults:
        anatomy = teacher.anatomy
        on_cpu = resolve_device("auto") == "cpu"
        auto = choose_method(bool(anatomy.batch_norms), anatomy.head is not None, on_cpu).why
    return found.to_dict() | {"methods": methods, "auto": auto}


def evaluate(
    model: str | Path | Result | nn.Module,
    data: str | Path,
    task: Any = None,
    teacher: str | Teacher | None = None,
    device: str = "auto",
) -> Evaluation:
    """Accuracy, per class, calibration and, with a teacher, agreement, on real data.

    model: a run directory, a Result, a SPEC with its task, or a module that takes normalised images (with a task).
    For a run directory, evaluation.json is written into it. Raises DataError, TeacherError, TaskError.
    """
    module, job, run_dir = _network(model, task)
    runtime = Runtime(resolve_device(device))
    images = load_images(str(data), job)
    with _generator_kept():
        asked = load_teacher(teacher, job) if isinstance(teacher, str) else teacher
    with fixed(module):
        measured = evaluate_model(predictor(module, job, runtime), images, job, asked)
    if run_dir is not None:
        keep_figures(run_dir, measured.to_dict())
    return measured


def transferability(
    model: str | Path | Result | nn.Module,
    data: str | Path,
    task: Any = None,
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
    module, job, run_dir = _network(model, task)
    runtime = Runtime(resolve_device(device))
    with _generator_kept():
        asked = load_teacher(teacher, job) if isinstance(teacher, str) else teacher
    if asked is not None and asked.task.shape != job.shape:
        raise TeacherError(
            f"the ceiling takes images of {list(asked.task.shape)} and the model of {list(job.shape)}; both must see "
            "the same images, so give a teacher of the model's shape"
        )
    ceiling = None if asked is None else (asked.module, asked.task)
    found = measure_transfer(module, job, str(data), ceiling, runtime, steps)
    if run_dir is not None:
        keep_by_name(run_dir, "transfer", str(data), found.to_dict())
    return found


def attack_success(
    model: str | Path | Result | nn.Module,
    data: str | Path,
    attack: str,
    target: int = 0,
    task: Any = None,
    device: str = "auto",
) -> AttackSuccess:
    """How often a trigger makes `model` answer class `target` on images of other classes, and how often it does anyway.

    attack: a name of `audit.attacks.ATTACKS`. For a run directory, the figures go into evaluation.json.
    Raises DataError, ConfigError for an unknown attack, TaskError.
    """
    known = find_attack(attack)
    module, job, run_dir = _network(model, task)
    images, runtime = load_images(str(data), job), Runtime(resolve_device(device))
    with fixed(module):
        found = backdoor.attack_success(predictor(module, job, runtime), images, job.classes, known, target)
    if run_dir is not None:
        keep_by_name(run_dir, "attacks", attack, found.to_dict())
    return found


def _network(model: str | Path | Result | nn.Module, task: Any) -> tuple[nn.Module, ImageTask, Path | None]:
    """The module, its task, and the run directory where `model` names one."""
    run_dir: Path | None = None
    if isinstance(model, (str, Path)) and (Path(model) / "run.json").is_file():
        run_dir = Path(model)
        model = load(run_dir)
    if isinstance(model, Result):
        return model.student, model.task, run_dir
    job = load_task(_task_field(task))
    if isinstance(model, nn.Module):
        return model, job, None
    with _generator_kept():
        return resolve(str(model), job, pretrained=True).module, job, None


def export(run_dir: str | Path | Result, to: Format = "onnx", path: str | Path | None = None) -> ExportReport:
    """Writes the deployable student as 'onnx' or 'pt2' and checks that it answers like the original."""
    result = run_dir if isinstance(run_dir, Result) else load(run_dir)
    target = Path(path) if path else result.run_dir / f"student.{to}"
    return export_model(result.student, result.task, target, to)


def report(
    run_dir: str | Path | Sequence[str | Path], data: str | Path | None = None, out: str | Path | None = None
) -> Path:
    """Writes a run's report.html anew, with figures on real data where `data` is given, and accuracy over time.

    Several runs are put side by side on one page. out: the page's file instead of DIR/report.html, or of
    comparison.html in this folder for several runs. Gives the page's path.
    Raises RunDirectoryError where a directory holds no run, or where runs cannot be compared, DataError, StudentError.
    """
    paths = [Path(run_dir)] if isinstance(run_dir, (str, Path)) else [Path(one) for one in run_dir]
    target = None if out is None else checked_target(Path(out))
    if len(paths) == 1:
        RunDirectory(paths[0]).manifest()
        if data is not None:
            _measure(paths[0], data)
        return write_report(paths[0], out=target)
    if data is not None:
        read_groups(paths)  # what cannot be compared need not be measured
        for path in paths:
            if (path / "student.safetensors").is_file():
                _measure(path, data)
    return write_comparison(paths, target)


def _measure(path: Path, data: str | Path) -> None:
    """Writes evaluation.json of a run, with the accuracy of its snapshots."""
    measured, result = evaluate(path, data).to_dict(), load(path)
    images, snapshots = load_images(str(data), result.task), selection.snapshots(path / "snapshots")
    over_time = accuracy_over_time(result.student, snapshots, images, result.task)
    keep_figures(path, measured | {"over_time": over_time})


def plan_only(settings: RunSettings) -> dict[str, Any]:
    """What a run would do: resolved settings and plan, nothing written (`--dry-run`)."""
    prepared = prepare(settings)
    return {"settings": resolved(prepared), "plan": prepared.plan().to_dict(), "notes": prepared.notes}


def resolve_options(settings: RunSettings) -> dict[str, Any]:
    """The settings with the method's defaults filled in, without reading a model (`--print-config`)."""
    tree = settings.model_dump(mode="json")
    if settings.method != "auto":
        tree["options"] = method_config(settings.method, settings.preset, settings.options).model_dump(mode="json")
    return tree


__all__: Sequence[str] = [
    "Result",
    "attack_success",
    "check",
    "distill",
    "evaluate",
    "export",
    "load",
    "report",
    "transferability",
]
