"""A finished run in the hand of a user, and any other network that a verb is asked about."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..code_named import code_of
from ..compress.quant_relu import put_stairs_of, resolutions
from ..deploy.bundle import Deployable
from ..engine.run_directory import RunDirectory
from ..errors import ConfigError, RunDirectoryError, SansdataError, StudentError, TaskError, TeacherError
from ..files import absolute, exists, is_regular
from ..models.copying import unwrapped, without_shape
from ..models.modes import usual_modes, writing_mode
from ..models.saved import read_model
from ..network import Network
from ..tasks import Task, load_task
from ..teachers.base import Teacher
from ..teachers.bundle import is_bundle, task_of_bundle
from ..teachers.fill import fill
from ..teachers.formats import format_of
from ..teachers.specs import STUDENT_FILE, load_teacher, resolve
from ..teachers.student_file import restore, same_job
from ..teachers.students import materialised

BEST_FILE = "student.best.safetensors"

TaskLike = Task | str | Path | Mapping[str, Any] | None


@dataclass
class Result:
    """A finished run: the student, ready to use, and where everything about it lies."""

    student: nn.Module
    """Takes what its preprocessing gives (normalised images), as the teacher's module does; gives logits. In eval
    mode."""
    task: Task
    """With the student's own preprocessing."""
    run_dir: Path
    """Whole, so that it leads to this run after a change of folder too."""

    def __post_init__(self) -> None:
        self.run_dir = absolute(Path(self.run_dir))

    @cached_property
    def model(self) -> nn.Module:
        """Deployable: takes inputs as they travel (images (B, C, H, W) in 0..1), with the preprocessing inside."""
        with usual_modes():
            return Deployable(self.student, self.task).eval()

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return RunDirectory(self.run_dir).lines("metrics.jsonl")

    @cached_property
    def summary(self) -> dict[str, Any]:
        return RunDirectory(self.run_dir).read_json("summary.json")

    @property
    def cost(self) -> dict[str, Any]:
        """Seconds by phase, samples, teacher and student passes, peak memory."""
        cost = self.summary.get("cost")
        if not isinstance(cost, dict):
            raise RunDirectoryError(f"{self.run_dir / 'summary.json'}: expected its cost as an object")
        return cost


@usual_modes()
def load(run_dir: str | Path, student: nn.Module | str | None = None, best: bool = False) -> Result:
    """The result of a run, later. best: the snapshot that agreed most, where it is not the last.

    student: a module of the right architecture, needed where the student was a module in Python; or the code that made
    it, 'package.module:function', which may also stand before the directory: 'package.module:function@DIR'.
    Raises RunDirectoryError, TeacherError or StudentError, UnsafeFileError for code that was not named.
    """
    path, code = split_run(run_dir)
    if not path.is_dir():
        raise RunDirectoryError(f"{path}: expected a run directory, found no directory there")
    file = path / BEST_FILE if best and _stands(path / BEST_FILE) else path / STUDENT_FILE
    if not _stands(file):
        raise RunDirectoryError(f"{path} has no {STUDENT_FILE}: it is no run, or not a finished one")
    module, task = read_student(file, code if student is None else student)
    return Result(module, task, path)


def read_student(file: Path, student: nn.Module | str = "") -> tuple[nn.Module, Task]:
    """(the network of a student file, in eval mode; its task). student: as in `load`."""
    saved = read_model(file)
    if isinstance(student, nn.Module):
        with generator_kept():
            student = materialised(unwrapped(student), saved.task)
        if not any(True for _ in resolutions(student)):
            put_stairs_of(saved.provenance, student)
        try:
            with writing_mode(student):
                fill(student, saved.tensors, saved.task, type(student).__name__, str(file))
        except (TeacherError, RuntimeError) as fault:  # torch's own: a module that cannot be written to
            raise StudentError(f"{file} does not fit {type(student).__name__}: {fault}") from None
        return student.eval(), saved.task
    if saved.architecture is None:
        raise StudentError(
            f"{file} holds the weights of a module that was made in Python; give one: "
            "sansdata.load(run_dir, student=MyModel())"
        )
    with generator_kept():
        return restore(saved, file, student).eval(), saved.task


def split_run(run: str | Path) -> tuple[Path, str]:
    """(the directory, the code that the user named or '') of 'DIR' or 'package.module:function@DIR'. Raises
    RunDirectoryError for what cannot be a path."""
    code, at, directory = str(run).partition("@")
    whole, after = (Path(os.path.expanduser(text)) for text in (str(run), directory))
    if exists(whole) or not (at and code_of(code)):
        return whole, ""
    exists(after)
    return after, code


def _stands(file: Path) -> bool:
    """Whether something stands there. Raises RunDirectoryError where it is no file of its own."""
    if not os.path.lexists(file):
        return False
    if not is_regular(file):
        raise RunDirectoryError(f"{file}: a link, or no regular file; nothing is read through it")
    return True


def generator_kept() -> contextlib.AbstractContextManager:
    """Networks are built with random weights before a file fills them: that is not the caller's business."""
    return torch.random.fork_rng(devices=[])


def task_field(task: TaskLike) -> Any:
    """A task as settings hold it: a mapping, or the name that the user gave. Raises TaskError for anything else."""
    if isinstance(task, Task):
        return task.model_dump(mode="json")
    if task is None or isinstance(task, str):
        return task or ""
    if isinstance(task, Path):
        return str(task)
    if not isinstance(task, Mapping):
        raise TaskError(f"task is {task!r:.80}: expected a Task, its fields as a mapping, a known name, or a YAML file")
    return dict(task)


def teacher_or_spec(teacher: Any, task: TaskLike) -> Teacher | str:
    """A Teacher, or the SPEC that a text or a path is. Raises TeacherError for anything else, and for a task beside a
    Teacher that is another than its own."""
    if isinstance(teacher, (str, Path)):
        return str(teacher)
    if not isinstance(teacher, Teacher):
        raise TeacherError(
            f"expected a Teacher or its SPEC as a text or a path, got {type(teacher).__name__}. Of a module make one: "
            "sansdata.Teacher.from_module(module, task)"
        )
    if task is not None:
        own, given = teacher.task, load_task(task_field(task))
        mend = "Leave task out: a Teacher has its own"
        same_job(own, given, f"the teacher '{teacher.source}'", mend)
        if given.own_preprocessing != own.own_preprocessing:
            raise TeacherError(f"the teacher '{teacher.source}' has another preprocessing than the task. {mend}")
    return teacher


@dataclass(frozen=True)
class Asked:
    """The network that a verb is asked about."""

    module: nn.Module
    task: Task
    """With the network's own preprocessing."""
    run_dir: Path | None = None
    """Of the run whose student it still is."""
    given: Task | Path | None = None
    """The task that the user gave, or the run whose settings have it; None where there is the network's own only."""

    @property
    def network(self) -> Network:
        return Network.of(self.module, self.task)

    def teacher(self, teacher: Any) -> Teacher:
        """A Teacher, or the one of a SPEC, which is asked as the task says that was given: the student beside it may
        take its inputs in another form. Raises what `teacher_or_spec` and reading it raise, and RunDirectoryError."""
        source = teacher_or_spec(teacher, None)
        if not isinstance(source, str):
            return source
        given = self.given if isinstance(self.given, Task) else self.task
        return load_teacher(source, _as_in_settings(given, self.given) if isinstance(self.given, Path) else given)


PREPROCESSING = ("mean", "std", "preprocessing")
"""What a task says of how a network takes its inputs: of images the first two, of any other kind the last."""


def _as_in_settings(task: Task, run_dir: Path) -> Task:
    """The task with the preprocessing that the run was given. Raises RunDirectoryError, TaskError."""
    settings = RunDirectory(run_dir).settings()
    run = settings.get("task") if isinstance(settings, Mapping) else None
    if not isinstance(run, Mapping):
        return task
    fields = {name: value for name, value in task.model_dump(mode="json").items() if name not in PREPROCESSING}
    return load_task(fields | {name: run[name] for name in PREPROCESSING if name in run})


def _is_the_last(result: Result) -> bool:
    """Whether the student is still the one that the run wrote: figures of another would be recorded as that one's."""
    try:
        written = read_model(result.run_dir / STUDENT_FILE).tensors
    except SansdataError:
        return False
    own = result.student.state_dict()
    return own.keys() == written.keys() and all(torch.equal(own[name].cpu(), written[name]) for name in own)


def is_student_file(model: str | Path) -> bool:
    """Whether `model` names a file that may say its own architecture and task."""
    return Path(model).suffix == ".safetensors" and os.path.isfile(model)  # a text too long for a path is none


def _require_its_job(run: Result, task: TaskLike) -> None:
    """Raises TeacherError where a task is given beside a run that is of another job."""
    if task is not None:
        same_job(run.task, load_task(task_field(task)), run.run_dir, "Leave --task out: a run names its own")


def asked(model: str | Path | Result | nn.Module, task: TaskLike) -> Asked:
    """model: a run directory, 'package.module:function@DIR' of one whose student is made by code, a Result, a student
    file, a bundle, a SPEC with its task, or a module that takes normalised images (with a task)."""
    if isinstance(model, (str, Path)) and os.path.lexists(split_run(model)[0] / "run.json"):
        run = load(model)
        _require_its_job(run, task)
        return Asked(run.student, run.task, run.run_dir, run.run_dir)
    if isinstance(model, (str, Path)) and task is None and is_student_file(model):
        return Asked(*read_student(Path(model)))
    if isinstance(model, Result):
        _require_its_job(model, task)
        return Asked(model.student, model.task, model.run_dir if _is_the_last(model) else None, model.run_dir)
    if task is None and not isinstance(model, nn.Module) and is_bundle(str(model)):
        task = task_of_bundle(str(model))
    if task is None and not isinstance(model, nn.Module):
        name, there = str(model)[:200], os.path.lexists(model)
        if there and is_regular(Path(model) / STUDENT_FILE):  # what finetune writes
            raise ConfigError(f"'{name}' is no run directory, but a student lies there: give {name}/{STUDENT_FILE}")
        raise ConfigError(
            f"'{name}' is no run directory and no student file; for anything else say the task (--task)" if there else
            f"'{name}': there is no such directory; expected a run directory, or a SPEC and its task (--task)"
        )  # fmt: skip
    job = load_task(task_field(task))
    if isinstance(model, nn.Module):
        if name := without_shape(model):
            raise StudentError(
                f"'{name}' has no shape yet (a lazy layer): run the module once on an input, then give it"
            )
        return Asked(model, job)
    with generator_kept():
        if format_of(str(model)) is not None:
            teacher = load_teacher(str(model), job)
            return Asked(teacher.network.module, teacher.task, given=job)
        resolved = resolve(str(model), job, pretrained=True)
    return Asked(resolved.module, resolved.task, given=job)
