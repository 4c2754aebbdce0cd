"""From what a user writes to a network: the grammar of SPEC.

ARCH@FILE                  resnet56@resnet56.th, timm:resnet18@w.safetensors, my.module:factory@w.pt
timm:NAME, torchvision:NAME    with the library's weights for a teacher, random ones for a student
package.module:function    a module of yours as the function returns it
NAME                       a zoo network, random weights: students only
shrink:R                   the teacher's network with every hidden width times R: students only
RUN or STUDENT.safetensors a run directory, or a student file that sansdata wrote
MODEL.skops                an estimator of scikit-learn's, only asked: teachers of tables only
FOLDER                     a text classifier of the library transformers: config.json and model.safetensors
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..compress.rebuild import factories_in, rebuild
from ..compress.shrink import shrink
from ..contracts import Access
from ..errors import StudentError, TeacherError, UnsafeFileError
from ..files import sha256
from ..models.build import DOORS, ZOO, ZOO_OF, architecture_of, build
from ..models.saved import KEY, read_model
from ..models.tensor_file import read_metadata
from ..network import Network
from ..tasks import Task
from .base import Teacher, plain_copy
from .scores import load_skops
from .transformer import is_transformer, load_transformer, transformer_files
from .weights import read_weights

STUDENT_FILE = "student.safetensors"
PICKLES = (".joblib", ".pkl", ".pickle")
WEIGHT_SUFFIXES = (".pt", ".pth", ".th", ".tar", ".bin", ".ckpt", ".safetensors")
SHOWN = 4
LIBRARIES = {".skops": ("skops.io", "sklearn.ensemble", "pandas"), "": ("transformers", "tokenizers")}
"""Ending of a teacher's file, or '' for a folder of transformers -> libraries that reading it imports."""


@dataclass(frozen=True)
class Model:
    """A network as a spec named it. architecture: how to build it again, None where only the caller knows."""

    module: nn.Module
    architecture: dict[str, Any] | None
    source: str
    sha256: str | None
    task: Task
    """The task with the preprocessing of this model: that of its file where it has one."""

    @property
    def network(self) -> Network:
        return Network.of(self.module, self.task)


def load_teacher(spec: str, task: Task) -> Teacher:
    """The teacher that `spec` names, frozen. Raises TeacherError or MissingLibraryError with the mend."""
    if spec.startswith("shrink:"):
        raise TeacherError(f"'{spec}' is a student's spec; a teacher needs trained weights, for instance resnet56@FILE")
    if spec in ZOO:
        raise TeacherError(
            f"'{spec}' alone has random weights, which teach nothing. Name the file of its weights: {spec}@FILE"
        )
    if is_skops(spec):
        return load_skops(Path(spec), task)
    if is_transformer(Path(spec)):
        return load_transformer(Path(spec), task)
    try:
        model = resolve(spec, task, pretrained=True)
    except StudentError as fault:
        raise TeacherError(str(fault)) from fault
    return Teacher(plain_copy(model.module), model.task, model.architecture, model.source, model.sha256)


def is_skops(spec: str) -> bool:
    return Path(spec).suffix.lower() == ".skops"


def is_foreign(spec: str) -> bool:
    """Whether it names a model of another library, which can be a teacher and be evaluated, and is no student."""
    return is_skops(spec) or is_transformer(Path(spec))


def load_student(spec: str | nn.Module, teacher: Teacher, task: Task) -> Model:
    """The student that `spec` names, or a module as it is. Random weights come from torch's global generator.

    It has the preprocessing of its own file, else the teacher's where that can be had without the teacher, else the
    task's. Raises StudentError, or TeacherError where a file cannot be read.
    """
    taught = task
    if teacher.network.preprocessor.passes_on:
        taught = task.seen_through(teacher.task.own_preprocessing)
    elif task.own_preprocessing == teacher.task.own_preprocessing:  # the job was read off the teacher
        taught = task.seen_through({})
    if isinstance(spec, nn.Module):
        return Model(spec, None, "a module in Python", None, taught)
    if spec.startswith("shrink:"):
        ratio = _ratio(spec)
        if teacher.most < Access.WEIGHTS:
            raise StudentError(f"'{spec}': the teacher is no network that could be shrunk. Name a student (--student).")
        module, architecture = shrink(teacher.module, ratio, taught, teacher.architecture)
        return Model(module, architecture, f"{spec} of {teacher.source}", None, taught)
    model = resolve(spec, taught, pretrained=False)
    model.module.requires_grad_(True).train()
    return model


def resolve(spec: str, task: Task, pretrained: bool) -> Model:
    """The network of any spec but shrink:R. `pretrained` asks timm and torchvision for their weights.

    Raises StudentError for what cannot be built, TeacherError for files that cannot be read or do not fit.
    """
    name, file = _split(spec)
    if door := DOORS.get(name or spec):
        task = task.seen_through({**task.own_preprocessing, "door": door})
    if file is not None and name:
        return _with_weights(name, file, task, spec)
    if file is not None:
        return _saved(file, task, spec)
    _explain_unknown(spec)
    architecture = architecture_of(spec, task)
    library = architecture["kind"] in ("timm", "torchvision")
    return Model(build(architecture, pretrained and library), architecture, spec, None, task)


def declared_files(spec: str) -> list[Path]:
    """Every file that reading this spec opens, but the pretrained weights of `cached_weights`."""
    if is_transformer(Path(spec)):
        return transformer_files(Path(spec))
    file = _split(spec)[1]
    return [] if file is None else [file]


def import_libraries(specs: Iterable[str]) -> None:
    """Imports what reading these specs needs of other libraries. They open files of their own at that moment, style
    sheets and the like, which is nothing that a no-data run should have to judge. What is not there is said when it is
    used."""
    for spec in specs:
        for ending, names in LIBRARIES.items():
            if Path(spec).suffix.lower() == ending and (ending or is_transformer(Path(spec))):
                for name in names:
                    with contextlib.suppress(ImportError):
                        import_module(name)


def _split(spec: str) -> tuple[str, Path | None]:
    """(architecture's name or '', file or None)."""
    name, at, file = spec.partition("@")
    if at and file and name and not Path(spec).exists():
        path = Path(file)
        return name, path / STUDENT_FILE if path.is_dir() else path
    if spec in ZOO:
        return spec, None
    path = Path(spec)
    if spec and path.is_dir():  # Path("") is the current folder
        return "", path / STUDENT_FILE
    if path.suffix.lower() in (".safetensors", ".skops"):
        return "", path
    return spec, None


def _ratio(spec: str) -> float:
    text = spec.removeprefix("shrink:")
    try:
        ratio = float(text)
    except ValueError:
        ratio = 0.0
    if not 0 < ratio <= 1:
        raise StudentError(
            f"'{spec}': shrink needs a ratio above 0 and at most 1, for instance shrink:0.5; got '{text}'"
        )
    return ratio


def _explain_unknown(spec: str) -> None:
    if spec in ZOO or (":" in spec and not Path(spec).exists()):
        return
    if Path(spec).suffix.lower() in PICKLES:
        raise TeacherError(
            f"'{spec}' is a pickle, which runs code when it is read. Save the estimator with skops.io.dump(model, "
            "'model.skops'), or give it in Python to sansdata.Teacher.from_scores"
        )
    if Path(spec).suffix.lower() in WEIGHT_SUFFIXES or Path(spec).is_file():
        raise TeacherError(
            f"'{spec}' is a file of weights; say which network they belong to: ARCH@{spec}, for instance "
            f"resnet20@{spec}, timm:NAME@FILE or package.module:function@FILE"
        )
    if "/" in spec or "\\" in spec:
        raise TeacherError(f"'{spec}' does not exist. Expected a run directory, a student file, ARCH@FILE or a name")


def _saved(file: Path, task: Task, spec: str) -> Model:
    """A student file of ours, whose architecture may not name code: a data file must not choose what is imported."""
    if file.name == STUDENT_FILE and not file.exists():
        raise TeacherError(f"{file.parent}: has no {STUDENT_FILE}; is it a finished run directory?")
    saved = read_model(file)
    if saved.architecture is None:
        raise TeacherError(
            f"{file}: its network was given as a module in Python, so only your code can build it: "
            f"package.module:function@{file}"
        )
    code = factories_in(saved.architecture)
    if code:
        raise UnsafeFileError(
            f"{file}: its network is made by the code {code[0]}. If you trust it, say so: {code[0]}@{file}"
        )
    return _restore(saved.architecture, saved.tensors, _same_job(saved.task, task, file), spec, file)


def _with_weights(name: str, file: Path, task: Task, spec: str) -> Model:
    if file.suffix.lower() == ".safetensors" and KEY in read_metadata(file):
        saved = read_model(file)
        own = saved.architecture or architecture_of(name, task)
        own_name = _root_name(own)
        if own_name != name:
            raise TeacherError(
                f"{file}: holds a '{own_name}', not a '{name}'. Write {own_name}@{file}, or {file} alone"
            )
        return _restore(own, saved.tensors, _same_job(saved.task, task, file), spec, file)
    architecture = architecture_of(name, task)
    return _restore(architecture, read_weights(file), task, spec, file)


def _root_name(architecture: Mapping[str, Any]) -> str:
    while isinstance(architecture.get("of"), Mapping):
        architecture = architecture["of"]
    kind, name = architecture.get("kind"), str(architecture.get("name"))
    return f"{kind}:{name}" if kind in ("timm", "torchvision") else name


def _same_job(saved: Task, task: Task, file: Path) -> Task:
    """The run's task with the file's preprocessing."""
    if saved.pair != task.pair:
        raise TeacherError(f"{file}: was made for {' x '.join(saved.pair)}, the task is {' x '.join(task.pair)}")
    for side in ("inputs", "outputs"):
        came, expected = (getattr(one, side).model_dump() for one in (saved, task))
        may_differ = ("class_names", "column", *getattr(saved, side).files)
        for field in came:
            if came[field] != expected.get(field) and field not in may_differ:
                shown, wanted = (str(one[field])[:80] for one in (came, expected))
                raise TeacherError(
                    f"{file}: was made for {field} {shown}, the task has {wanted}. Choose the other task"
                )
    return task.seen_through(saved.own_preprocessing)


def _restore(architecture: Mapping[str, Any], tensors: dict[str, Tensor], task: Task, spec: str, file: Path) -> Model:
    module = rebuild(architecture)
    fill(module, tensors, task, spec.partition("@")[0] or spec, str(file))
    return Model(module, dict(architecture), spec, sha256(file), task)


# -- weights into a network


def fill(module: nn.Module, tensors: Mapping[str, Tensor], task: Task, name: str, file: str) -> None:
    """Loads all of `tensors`, converted to the module's types. Raises TeacherError that says what does not fit."""
    own = {key: value for key, value in module.state_dict().items() if isinstance(value, Tensor)}
    missing = [key for key in own if key not in tensors and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in tensors if key not in own and not key.endswith("num_batches_tracked")]
    shapes = [
        (k, tuple(tensors[k].shape), tuple(own[k].shape))
        for k in own
        if k in tensors and tensors[k].shape != own[k].shape
    ]
    if not (missing or unexpected or shapes):
        module.load_state_dict({key: tensors[key] for key in own if key in tensors}, strict=False)
        return
    lines = [f"{file}: these weights do not fit '{name}'."]
    lines += _what_differs(shapes, task)
    if shapes:
        lines.append(
            "shapes: " + _some([f"{key} is {list(came)}, expected {list(want)}" for key, came, want in shapes], "; ")
        )
    if missing:
        lines.append("missing: " + _some(missing))
    if unexpected:
        lines.append("not expected: " + _some(unexpected))
    fits = _fitting_zoo(tensors, task)
    if fits and fits != name:
        lines.append(f"They fit the zoo's '{fits}': write {fits}@{file}")
    raise TeacherError("\n  ".join(lines))


def _some(items: list[str], separator: str = ", ") -> str:
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return separator.join(items[:SHOWN]) + more


def _what_differs(shapes: list[tuple[str, tuple[int, ...], tuple[int, ...]]], task: Task) -> list[str]:
    """The two causes a user can mend in the task: the number of classes and of channels."""
    classes = getattr(task.outputs, "classes", -1)
    heads = {came[0] for _, came, want in shapes if came and want and want[0] == classes and came[1:] == want[1:]}
    if len(heads) == 1 and len([s for s in shapes if s[2] and s[2][0] == classes]) <= 2:
        return [f"This looks like {heads.pop()} classes but the task has {classes}: choose the task of these weights."]
    channels = task.shape[0] if task.pair[0] == "image" else -1
    stems = [came for _, came, want in shapes if len(came) == 4 and len(want) == 4 and want[1] == channels != came[1]]
    if stems and shapes[0][1] == stems[0]:
        return [f"They take {stems[0][1]} channel(s) and the task has {channels}."]
    return []


def _fitting_zoo(tensors: Mapping[str, Tensor], task: Task) -> str | None:
    """The zoo network whose hidden weights all have these names and shapes."""
    given = {key: tuple(value.shape) for key, value in tensors.items() if not key.endswith("num_batches_tracked")}
    for name in ZOO_OF.get(task.pair[0], {}):
        with torch.device("meta"):  # shapes only, nothing is allocated
            own = build(architecture_of(name, task)).state_dict()
        want = {key: tuple(value.shape) for key, value in own.items() if not key.endswith("num_batches_tracked")}
        if want.keys() == given.keys() and sum(want[key] != given[key] for key in want) <= 2:
            return name
    return None
