"""From what a user writes to a network: the grammar of SPEC.

ARCH@FILE                  resnet56@resnet56.th, timm:resnet18@w.safetensors, my.module:factory@w.pt
ARCH@FILE#KEY              of the networks in one file the one under KEY: resnet18@checkpoint.pth#state_dict_ema
timm:NAME, torchvision:NAME    with the library's weights for a teacher, random ones for a student
package.module:function    a module of yours as the function returns it
NAME                       a zoo network, random weights: students only
layers:D                   the teacher's network with D layers of its decoder: students of recognisers only
shrink:R                   the teacher's network with every hidden width times R: students only
one-step                   the network of a teacher that denoises, with its weights, as a generator: students only
latents:NAME               a network of latents before the decoder of an autoencoder of pictures: students only
lora:R, lora@FILE          the same, frozen, beside adapters of rank R, or of a file, which alone learn: students only
RUN or STUDENT.safetensors a run directory, or a student file that sansdata wrote
MODEL.skops                an estimator of scikit-learn's, only asked: teachers of tables only
WRITER.safetensors         a language model that sansdata wrote: teachers that write texts
AUTOENCODER.safetensors    a fair autoencoder that sansdata wrote: teachers that draw latents, or pictures of them
MODEL.onnx                 a model that onnxruntime runs, only asked: teachers only
MODEL.gguf                 a quantised causal language model: teachers that write texts
openai:MODEL@URL           a language model behind an OpenAI-compatible address: teachers that write texts
pocketsphinx               the recogniser of the package of that name, only asked: teachers of sounds only
SERVICE.yaml               a model behind an API, or one that answers as if it were: teachers only (docs/black-box.md)
BUNDLE                     a bundle, a folder or BUNDLE.zip, as `sansdata bundle create` writes it
PANEL.yaml                 several classifiers with label sets of their own, see panel_file: teachers only
FOLDER                     a classifier of texts or images of the library transformers, one that writes texts, or one of
                           timm's, as hubs have them: config.json and model.safetensors; or a pipeline of diffusers,
                           model_index.json, for generators
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..compress.rebuild import rebuild
from ..errors import MissingLibraryError, StudentError, TeacherError
from ..files import sha256
from ..models.build import architecture_of, build
from ..models.diffusion.unets import library
from ..models.saved import KEY, SavedModel, read_model
from ..models.tensor_file import read_metadata
from ..models.zoo import DOORS, ZOO
from ..network import Network
from ..tasks import Task
from .base import Teacher, plain_copy
from .bundle import is_bundle, task_of_bundle
from .choice import choose
from .fill import fill
from .folder import CONFIG, WEIGHTS, is_folder, is_timm_folder, read_json, weight_files
from .foreign import refuse_foreign
from .formats import format_of
from .panel_file import is_panel, read_panel
from .student_file import restore, root_name, same_job
from .trained_with import of_library, of_timm
from .transformer import transformer_files
from .weights import check_tensors, read_weights

STUDENT_FILE = "student.safetensors"
WEIGHT_SUFFIXES = (".pt", ".pth", ".th", ".tar", ".bin", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class Model:
    """A network as a spec named it. architecture: how to build it again, None where only the caller knows."""

    module: nn.Module
    architecture: dict[str, Any] | None
    source: str
    sha256: str | None
    task: Task
    """The task with the preprocessing of this model: that of its file where it has one."""
    notes: tuple[str, ...] = ()
    """What was decided in reading it that its spec does not say."""

    @property
    def network(self) -> Network:
        return Network.of(self.module, self.task)


def load_teacher(spec: str, task: Task) -> Teacher:
    """The teacher that `spec` names, frozen. Raises TeacherError or MissingLibraryError with the mend."""
    if spec.startswith("shrink:"):
        raise TeacherError(
            f"'{spec[:40]}' is a student's spec; a teacher needs trained weights, for instance resnet56@FILE"
        )
    if spec in ZOO:
        raise TeacherError(
            f"'{spec}' alone has random weights, which teach nothing. Name the file of its weights: {spec}@FILE"
        )
    if (own := format_of(spec)) is not None:
        return own.load(spec, task, load_teacher)
    try:
        model = resolve(spec, task, pretrained=True)
    except StudentError as fault:
        raise TeacherError(str(fault)) from fault
    module = plain_copy(model.module)
    return Teacher(module, model.task, model.architecture, model.source, model.sha256, notes=model.notes)


def task_of(spec: str) -> Task | None:
    """The job that a teacher's SPEC names by itself, as a panel or a bundle does; None where it names none. Raises
    TeacherError for one that cannot be read, TaskError for a panel whose images cannot be."""
    if is_bundle(spec):
        return task_of_bundle(spec)
    return read_panel(spec).task if is_panel(spec) else None


def resolve(spec: str, task: Task, pretrained: bool) -> Model:
    """The network of any spec but shrink:R. `pretrained` asks timm and torchvision for their weights.

    Raises StudentError for what cannot be built, TeacherError for files that cannot be read or do not fit.
    """
    if is_timm_folder(Path(spec)):
        return _timm_folder(Path(spec), task)
    name, file, key = _split(spec)
    if door := DOORS.get(name or spec):
        task = task.seen_through(door(task.own_preprocessing))
    if file is not None and name:
        return _with_weights(name, file, key, task, spec)
    if key:
        raise TeacherError(
            f"{file}: '#{key}' chooses weights of a network that is named before them: ARCH@{file}#{key}"
        )
    if file is not None:
        return _saved(file, task, spec)
    _explain_unknown(spec)
    architecture = architecture_of(spec, task)
    library = architecture["kind"] in ("timm", "torchvision")
    module = build(architecture, pretrained and library, code=[spec])
    notes: list[str] = []
    if pretrained and library and (training := of_library(architecture, module)):
        task, notes = training.applied_to(task)
    return Model(module, architecture, spec, None, task, tuple(notes))


def declared_files(spec: str) -> list[Path]:
    """Every file that reading this spec opens, but the pretrained weights of `cached_weights`."""
    if (own := format_of(spec)) is not None:
        return own.files(spec, declared_files)
    if is_folder(Path(spec)):
        return transformer_files(Path(spec))
    _, file, _ = _split(spec)
    if file is None:
        return []
    beside = file.parent / CONFIG
    return [file, beside] if file.name == WEIGHTS and beside.is_file() else [file]


def import_libraries(specs: Iterable[str]) -> None:
    """Imports what reading these specs needs of other libraries. They open files of their own at that moment, style
    sheets and the like, which is nothing that a no-data run should have to judge. What is not there is said when it is
    used."""
    for spec in specs:
        own = format_of(spec)
        for name in () if own is None else own.libraries(spec):
            with contextlib.suppress(ImportError, MissingLibraryError):
                import_module(name) if name != "diffusers" else library(name)


def _split(spec: str) -> tuple[str, Path | None, str]:
    """(architecture's name or '', file or None, key in the file or ''). Texts too long for a path are no path: os.path
    says so without raising."""
    if "\0" in spec:
        raise TeacherError(f"'{spec[:100]!r}' holds a NUL, which no name of a file can: a file or a name of a network")
    name, at, rest = spec.partition("@")
    if at and rest and name and not os.path.exists(spec):
        path, key = _without_key(rest)
        return name, _student_of(path) if os.path.isdir(path) else path, key
    if spec in ZOO:
        return spec, None, ""
    path, key = _without_key(spec)
    if spec and os.path.isdir(path):  # Path("") is the current folder
        return "", _student_of(path), key
    if path.suffix.lower() in (".safetensors", ".skops"):
        return "", path, key
    return spec, None, ""


def _student_of(folder: Path) -> Path:
    """The student of a run directory, which anybody may have made: a link in it may lead anywhere."""
    file = folder / STUDENT_FILE
    if os.path.islink(file):
        raise TeacherError(f"{file}: a link, which is not followed; name the file that it leads to")
    return file


def _without_key(text: str) -> tuple[Path, str]:
    """FILE#KEY in its two parts; a file whose own name has a '#' is found as it is."""
    file, mark, key = text.rpartition("#")
    return (Path(file), key) if mark and file and not os.path.exists(text) else (Path(text), "")


def _explain_unknown(spec: str) -> None:
    if spec in ZOO or (":" in spec and not os.path.exists(spec)):
        return
    file, _ = _without_key(spec)
    refuse_foreign(file)
    if file.suffix.lower() in WEIGHT_SUFFIXES or os.path.isfile(file):
        raise TeacherError(
            f"'{spec[:100]}' is a file of weights; say which network they belong to: ARCH@{spec[:100]}, for instance "
            f"resnet20@{spec[:100]}, timm:NAME@FILE or package.module:function@FILE"
        )
    if "/" in spec or "\\" in spec:
        raise TeacherError(
            f"'{spec[:100]}' does not exist. Expected a run directory, a student file, ARCH@FILE or a name"
        )


def _saved(file: Path, task: Task, spec: str) -> Model:
    if file.name == STUDENT_FILE and not os.path.exists(file):
        refuse_foreign(file.parent)
        if is_folder(file.parent):
            raise TeacherError(f"{file.parent}: a model of the library transformers can be a teacher, no student")
        raise TeacherError(f"{file.parent}: has no {STUDENT_FILE}; is it a finished run directory?")
    saved = read_model(file)
    return _restore(saved, same_job(saved.task, task, file), spec, file)


def _with_weights(name: str, file: Path, key: str, task: Task, spec: str) -> Model:
    if file.suffix.lower() == ".safetensors" and KEY in read_metadata(file):
        if key:
            raise TeacherError(f"{file}: holds one network; leave '#{key}' out")
        saved = read_model(file)
        if saved.architecture is not None:
            own_name = root_name(saved.architecture)
            if own_name != name:
                raise TeacherError(
                    f"{file}: holds a '{own_name}', not a '{name}'. Write {own_name}@{file}, or {file} alone"
                )
            return _restore(saved, same_job(saved.task, task, file), spec, file)
        states, task = {"": saved.tensors}, same_job(saved.task, task, file)
    else:
        states = read_weights(file)
    return _chosen(name, file, states, key, task, spec)


def _chosen(
    name: str,
    file: Path,
    states: Mapping[str, Mapping[str, Tensor]],
    key: str,
    task: Task,
    spec: str,
    elements: int | None = None,
) -> Model:
    """The network `name` with those of the weights in `file` that are it. elements: as for `rebuild`, where the
    name too is from a file."""
    architecture = architecture_of(name, task)
    module = rebuild(architecture, [name], elements, f"{file}: a file of {elements} numbers whose network")
    choice = choose(states, module, key, name, str(file))
    check_tensors(file, choice.tensors)
    fill(module, choice.tensors, task, name, str(file), choice.notes)
    task, notes = _as_its_folder_says(name, file, task)
    return Model(module, architecture, spec, sha256(file), task, (*choice.notes, *notes))


def _as_its_folder_says(name: str, file: Path, task: Task) -> tuple[Task, list[str]]:
    """The task with the mean and std of timm's config beside a file that it belongs to."""
    folder = file.parent
    if not (file.name == WEIGHTS and is_timm_folder(folder)):
        return task, []
    config = read_json(folder / CONFIG)
    training = of_timm(str(folder / CONFIG), config.get("pretrained_cfg"))
    if training is None or name != f"timm:{config['architecture']}":
        return task, []
    return training.applied_to(task)


def _timm_folder(folder: Path, task: Task) -> Model:
    """A network as timm puts it on a hub: its config names the architecture, which is one of the library's own."""
    name = str(read_json(folder / CONFIG)["architecture"])[:100]
    weight_files(folder)
    states = read_weights(folder / WEIGHTS)
    elements = sum(value.numel() for value in states[""].values())
    return _chosen(f"timm:{name}", folder / WEIGHTS, states, "", task, str(folder), elements)


def _restore(saved: SavedModel, task: Task, spec: str, file: Path) -> Model:
    module = restore(saved, file, spec)
    return Model(module, dict(saved.architecture or {}), spec, sha256(file), task)
