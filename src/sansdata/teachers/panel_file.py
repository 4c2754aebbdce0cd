"""A panel as a file: panel.yaml names its APIs, their label sets and what is true of the images.

    shape: [3, 32, 32]
    mean: [0.507, 0.487, 0.441]
    std: [0.267, 0.256, 0.276]
    apis:
      - {name: pets, teacher: conv4@pets.safetensors, classes: [cat, dog, hamster]}
      - {name: cars, teacher: resnet10@cars.safetensors, classes: [bus, lorry, tram], shape: [3, 64, 64]}

Each `teacher` is a SPEC, whose file lies beside the panel unless its path says otherwise.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pydantic

from ..code_named import code_of
from ..config import MAX_YAML_BYTES, Strict, read_yaml, validate
from ..contracts import Access
from ..errors import SansdataError, TeacherError, UnsafeFileError
from ..files import open_regular, sha256
from ..tasks import ImageTask, PairTask, Task
from ..tasks.classes import names_as_text
from .base import Teacher
from .panel import Api, Panel

MOST_APIS = 1000
SUFFIXES = (".yaml", ".yml")


class ApiSettings(Strict):
    """teacher: a SPEC. classes: the global class id of each of its answers. shape, mean, std: its own, where they are
    not the panel's."""

    wrong = TeacherError

    name: str = pydantic.Field(min_length=1, max_length=80)
    teacher: str
    classes: tuple[str, ...] = pydantic.Field(min_length=2)
    shape: tuple[int, int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @pydantic.field_validator("classes", mode="before")
    @classmethod
    def _as_text(cls, names: object) -> object:
        return names_as_text(names)


class PanelSettings(Strict):
    """shape, mean, std: of the images that are made for the panel and of its student. access: how far a method may look
    into the APIs; scores is what a service gives, gradients is for baselines on files of one's own."""

    wrong = TeacherError

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    access: Literal["scores", "gradients"] = "scores"
    apis: tuple[ApiSettings, ...] = pydantic.Field(min_length=1, max_length=MOST_APIS)

    @property
    def task(self) -> PairTask:
        """The job of the panel's student. Raises TaskError for a shape, mean or std that cannot be."""
        ways = len(self.apis[0].classes)
        image = ImageTask(shape=self.shape, classes=ways, mean=self.mean, std=self.std)
        return PairTask(
            inputs=image.inputs.model_dump(), outputs={"kind": "ways", "classes": ways},
            preprocessing=image.own_preprocessing,
        )  # type: ignore[arg-type]  # fmt: skip


def is_panel(spec: str) -> bool:
    """Whether a teacher's SPEC names a panel's file: YAML with a line `apis:`."""
    path = Path(spec)
    if path.suffix.lower() not in SUFFIXES:
        return False
    with contextlib.suppress(OSError, ValueError), open_regular(path, MAX_YAML_BYTES) as file:
        return re.search(rb"^apis\s*:", file.read(MAX_YAML_BYTES), re.MULTILINE) is not None
    return False


def read_panel(spec: str) -> PanelSettings:
    """Raises TeacherError for a file that is missing, too large or no panel."""
    return validate(PanelSettings, read_yaml(spec, error=TeacherError), spec, error=TeacherError)


def specs_in(spec: str) -> list[str]:
    """The SPECs that a teacher's SPEC stands for: of a panel those of its APIs, else itself. A file that is no panel
    has none; who loads it says why."""
    if not is_panel(spec):
        return [spec]
    try:
        return [_beside(Path(spec), one.teacher) for one in read_panel(spec).apis]
    except SansdataError:
        return []


def load_panel(spec: str, task: Task, load: Callable[[str, Task], Teacher]) -> Panel:
    """The panel of a file for the job `task`. load: what loads the teacher of each API.

    Raises TeacherError for a file or an API that cannot be used, UnsafeFileError where it names code: a panel's file
    may be anybody's.
    """
    settings = read_panel(spec)
    if (settings.task.inputs, settings.task.outputs) != (task.inputs, task.outputs):
        raise TeacherError(
            f"{spec}: is of {settings.task.classes} ways on images {list(settings.shape)}, and the task is "
            "another. Leave --task out: a panel names its own"
        )
    apis = [_api(one, settings, Path(spec), load) for one in settings.apis]
    most = Access.GRADIENTS if settings.access == "gradients" else Access.SCORES
    return Panel(apis, settings.shape, settings.mean, settings.std, most, spec, sha256(Path(spec)))


def _api(
    own: ApiSettings, panel: PanelSettings, file: Path, load: Callable[[str, Task], Teacher]
) -> Api:  # fmt: skip
    where = f"{file}: API '{own.name}'"
    if code := code_of(own.teacher):
        raise UnsafeFileError(
            f"{where} names the code {code[:200]}, which a panel's file may not: load it in Python and give a "
            "sansdata.teachers.panel.Panel"
        )
    fields: dict[str, Any] = {
        "shape": own.shape or panel.shape, "classes": len(own.classes), "class_names": own.classes,
        "mean": own.mean or panel.mean, "std": own.std or panel.std,
    }  # fmt: skip
    task = validate(ImageTask, fields, where, error=TeacherError)
    try:
        teacher = load(_beside(file, own.teacher), task)
    except TeacherError as fault:
        raise TeacherError(f"{where}: {fault}") from None
    return Api(own.name, teacher, own.classes)


def _beside(file: Path, spec: str) -> str:
    """`spec` with its file beside the panel's, where there is one."""
    name, at, path = spec.rpartition("@")
    beside = file.parent / path
    return f"{name}{at}{beside}" if not os.path.isabs(path) and os.path.exists(beside) else spec
