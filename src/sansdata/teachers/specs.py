"""From what a user writes to a network: the grammar of SPEC.

ARCH@FILE                  resnet56@resnet56.th, timm:resnet18@w.safetensors, my.module:factory@w.pt
ARCH@FILE#KEY              of the networks in one file the one under KEY: resnet18@checkpoint.pth#state_dict_ema
timm:NAME, torchvision:NAME    with the library's weights for a teacher, random ones for a student
package.module:function    a module of yours as the function returns it
NAME                       a zoo network, random weights: students only
layers:D                   the teacher's network with D layers of its decoder: students of recognisers only
shrink:R                   the teacher's network with every hidden width times R: students only
one-step                   the network of a teacher that denoises, with its weights, as a generator: students only
RUN or STUDENT.safetensors a run directory, or a student file that sansdata wrote
MODEL.skops                an estimator of scikit-learn's, only asked: teachers of tables only
WRITER.safetensors         a language model that sansdata wrote: teachers that write texts
AUTOENCODER.safetensors    a fair autoencoder that sansdata wrote: teachers that draw latents
MODEL.onnx                 a model that onnxruntime runs, only asked: teachers only
MODEL.gguf                 a quantised causal language model: teachers that write texts
openai:MODEL@URL           a language model behind an OpenAI-compatible address: teachers that write texts
SERVICE.yaml               a model behind an API, or one that answers as if it were: teachers only (docs/black-box.md)
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

import torch
from torch import Tensor, nn

from ..compress.rebuild import rebuild
from ..compress.shrink import shrink
from ..contracts import Access
from ..errors import MissingLibraryError, StudentError, TeacherError, first_line
from ..files import sha256
from ..kinds.index import input_kind
from ..models.build import DOORS, ZOO, architecture_of, build
from ..models.copying import without_shape
from ..models.diffusion.unets import library
from ..models.modes import in_mode
from ..models.recogniser import Recogniser, with_fewer_layers
from ..models.saved import KEY, SavedModel, read_model
from ..models.tensor_file import read_metadata
from ..network import Network
from ..tasks import Task
from .autoencoder import is_autoencoder, load_autoencoder_teacher
from .base import Teacher, plain_copy
from .choice import choose
from .denoiser import ONE_STEP, in_one_step
from .fill import fill
from .folder import CONFIG, WEIGHTS, is_folder, is_timm_folder, read_json, weight_files
from .foreign import refuse_foreign
from .onnx_file import external_files, is_onnx, load_onnx
from .panel_file import is_panel, load_panel, read_panel, specs_in
from .pipeline import is_pipeline, load_pipeline, pipeline_files
from .scores import load_skops
from .service.load import load_service
from .service.offer import is_offer, load_offer
from .student_file import restore, root_name, same_job
from .trained_with import of_library, of_timm
from .transformer import is_transformer, load_transformer, transformer_files
from .weights import check_tensors, read_weights
from .whisper import architecture_of as recogniser_architecture
from .whisper import is_whisper, load_whisper, whisper_files
from .writers.endpoint import is_endpoint
from .writers.local_model import is_gguf
from .writers.prompted import require_texts, teacher_of
from .writers.sources import is_writer, load_writer

STUDENT_FILE = "student.safetensors"
WEIGHT_SUFFIXES = (".pt", ".pth", ".th", ".tar", ".bin", ".ckpt", ".safetensors")
LIBRARIES = {
    ".skops": ("skops.io", "sklearn.ensemble", "pandas"), ".onnx": ("onnx", "onnxruntime"),
    ".gguf": ("transformers", "tokenizers", "gguf"),
    "": ("transformers", "tokenizers"),
}  # fmt: skip
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
    if is_panel(spec):
        return load_panel(spec, task, load_teacher)
    if is_skops(spec):
        return load_skops(Path(spec), task)
    if is_offer(spec):
        return load_service(spec, task, load_teacher)
    if is_writer(spec):
        require_texts(spec, task)
        return teacher_of(load_writer(spec), task)
    if is_autoencoder(Path(spec)):
        return load_autoencoder_teacher(Path(spec), task)
    if is_onnx(spec):
        return load_onnx(Path(spec), task)
    if is_pipeline(Path(spec)):
        return load_pipeline(Path(spec), task)
    if is_whisper(Path(spec)):
        return load_whisper(Path(spec), task)
    if is_transformer(Path(spec)):
        return load_transformer(Path(spec), task)
    try:
        model = resolve(spec, task, pretrained=True)
    except StudentError as fault:
        raise TeacherError(str(fault)) from fault
    module = plain_copy(model.module)
    return Teacher(module, model.task, model.architecture, model.source, model.sha256, notes=model.notes)


def task_of(spec: str) -> Task | None:
    """The job that a teacher's SPEC names by itself, as a panel does; None where it names none. Raises TeacherError for
    a panel that cannot be read, TaskError for one whose images cannot be."""
    return read_panel(spec).task if is_panel(spec) else None


def is_skops(spec: str) -> bool:
    return Path(spec).suffix.lower() == ".skops"


def is_foreign(spec: str) -> bool:
    """Whether it names a model of another library, which can be a teacher and be evaluated, and is no student."""
    path = Path(spec)
    readers = (is_autoencoder, is_transformer, is_pipeline)
    named = is_skops(spec) or is_onnx(spec) or is_offer(spec) or is_writer(spec)
    return named or any(reads(path) for reads in readers)


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
        return Model(materialised(spec, taught), None, "a module in Python", None, taught)
    if spec == ONE_STEP:
        module, architecture = in_one_step(teacher.module, teacher.architecture)
        return Model(module, architecture, f"{spec} of {teacher.source}", None, taught)
    if spec.startswith("layers:"):
        return _fewer_layers(spec, teacher, taught)
    if spec.startswith("shrink:"):
        ratio = _ratio(spec)
        if teacher.most < Access.WEIGHTS:
            raise StudentError(f"'{spec}': the teacher is no network that could be shrunk. Name a student (--student).")
        module, architecture = shrink(teacher.module, ratio, taught, teacher.architecture)
        return Model(module, architecture, f"{spec} of {teacher.source}", None, taught)
    model = resolve(spec, taught, pretrained=False)
    model.module.requires_grad_(True).train()
    return model


def _fewer_layers(spec: str, teacher: Teacher, task: Task) -> Model:
    """'layers:D', or 'layers:E-D' with fewer layers of the encoder too: begun from layers of the teacher."""
    numbers = spec.removeprefix("layers:").split("-")
    if teacher.most < Access.WEIGHTS or not isinstance(teacher.module, Recogniser):
        raise StudentError(f"'{spec[:40]}': the teacher is no recogniser of encoder and decoder. Name a student.")
    if not 1 <= len(numbers) <= 2 or not all(number.isdecimal() for number in numbers):
        raise StudentError(f"'{spec[:40]}': give layers:2 for two layers of the decoder, or layers:4-2")
    layers, decoder_layers = [None, *map(int, numbers)][-2:]
    try:
        module = with_fewer_layers(teacher.module, int(decoder_layers or 0), layers)
    except ValueError as fault:
        raise StudentError(f"'{spec[:40]}': {fault}") from None
    note = "the student starts from layers of the teacher, evenly spread; the last is the last"
    return Model(module, recogniser_architecture(module), f"{spec} of {teacher.source}", None, task, (note,))


def materialised(module: nn.Module, task: Task) -> nn.Module:
    """`module`, in which a lazy layer takes its shape from the first inputs that it sees. Raises StudentError."""
    if name := without_shape(module):
        inputs = input_kind(task).draw(2, torch.Generator().manual_seed(0))
        try:
            with torch.no_grad(), in_mode(module, train=False):
                Network.of(module, task)(inputs)
        except Exception as fault:
            raise StudentError(
                f"the student's '{name}' has no shape yet (a lazy layer), and a pass on "
                f"{input_kind(task).describe()} does not give it one ({first_line(fault)})"
            ) from None
    return module


def resolve(spec: str, task: Task, pretrained: bool) -> Model:
    """The network of any spec but shrink:R. `pretrained` asks timm and torchvision for their weights.

    Raises StudentError for what cannot be built, TeacherError for files that cannot be read or do not fit.
    """
    if is_timm_folder(Path(spec)):
        return _timm_folder(Path(spec), task)
    name, file, key = _split(spec)
    if door := DOORS.get(name or spec):
        task = task.seen_through({**task.own_preprocessing, "door": door})
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
    if is_endpoint(spec):
        return []
    if is_pipeline(Path(spec)):
        return pipeline_files(Path(spec))
    if is_offer(spec):
        return [Path(spec), *_files_of_stand_in(spec)]
    if is_panel(spec):
        return [Path(spec), *(file for one in specs_in(spec) for file in declared_files(one))]
    if is_whisper(Path(spec)):
        return whisper_files(Path(spec))
    if is_folder(Path(spec)):
        return transformer_files(Path(spec))
    if is_onnx(spec):
        return [Path(spec), *external_files(Path(spec))]
    if is_gguf(Path(spec)):
        return [Path(spec)]
    _, file, _ = _split(spec)
    if file is None:
        return []
    beside = file.parent / CONFIG
    return [file, beside] if file.name == WEIGHTS and beside.is_file() else [file]


def _files_of_stand_in(spec: str) -> list[Path]:
    """What a network opens that stands in for a service; none where its file cannot be read, which is said later."""
    try:
        model = load_offer(spec).model
    except TeacherError:
        return []
    return [] if model is None or is_offer(model) else declared_files(model)


def import_libraries(specs: Iterable[str]) -> None:
    """Imports what reading these specs needs of other libraries. They open files of their own at that moment, style
    sheets and the like, which is nothing that a no-data run should have to judge. What is not there is said when it is
    used."""
    for spec in specs:
        if is_pipeline(Path(spec)):
            with contextlib.suppress(MissingLibraryError):
                library("diffusers")
        for ending, names in LIBRARIES.items():
            if Path(spec).suffix.lower() == ending and (ending or is_transformer(Path(spec))):
                for name in names:
                    with contextlib.suppress(ImportError):
                        import_module(name)


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


def _ratio(spec: str) -> float:
    text = spec.removeprefix("shrink:")
    try:
        ratio = float(text)
    except ValueError:
        ratio = 0.0
    if not 0 < ratio <= 1:
        raise StudentError(
            f"'{spec[:100]}': shrink needs a ratio above 0 and at most 1, for instance shrink:0.5; got '{text[:40]}'"
        )
    return ratio


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
