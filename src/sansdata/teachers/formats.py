"""What is a teacher by itself, without a network of ours to fill: files, folders and addresses, each with its reader.
One table, which says of a SPEC who reads it, what that opens and what it imports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import TeacherError
from ..tasks import Task
from .autoencoder import is_autoencoder, is_picture_autoencoder, load_autoencoder_teacher, load_picture_teacher
from .base import Teacher
from .bundle import bundle_files, is_bundle, load_bundle
from .onnx_file import external_files, is_onnx, load_onnx
from .panel_file import is_panel, load_panel, specs_in
from .pipeline import is_pipeline, load_pipeline, pipeline_files
from .pocketsphinx import NAME, is_pocketsphinx, load_pocketsphinx, pocketsphinx_files
from .scores import load_skops
from .service.load import load_service
from .service.offer import is_offer, load_offer
from .transformer import is_transformer, load_transformer, transformer_files
from .whisper import is_whisper, load_whisper, whisper_files
from .writers.endpoint import is_endpoint
from .writers.local_model import is_causal_folder, is_gguf
from .writers.prompted import require_texts
from .writers.sources import is_writer, load_writer
from .writers.teacher import teacher_of

Load = Callable[[str, Task], Teacher]
Files = Callable[[str], list[Path]]
HUB = ("transformers", "tokenizers")


@dataclass(frozen=True)
class Format:
    """names: whether a spec is one. load: (spec, task, what loads any spec, for those that stand for others) ->
    teacher. files: (spec, the files of any spec) -> what reading it opens. libraries: what reading it imports."""

    names: Callable[[str], bool]
    load: Callable[[str, Task, Load], Teacher]
    files: Callable[[str, Files], list[Path]]
    libraries: Callable[[str], Sequence[str]] = lambda spec: ()


def format_of(spec: str) -> Format | None:
    """The first format that takes the spec for its own; None for a network of ours, a student file or a module."""
    return next((one for one in FORMATS if one.names(spec)), None)


def _is_skops(spec: str) -> bool:
    return Path(spec).suffix.lower() == ".skops"


def _load_writer(spec: str, task: Task, load: Load) -> Teacher:
    require_texts(spec, task)
    return teacher_of(load_writer(spec), task)


def _files_of_writer(spec: str, files: Files) -> list[Path]:
    if is_endpoint(spec):
        return []
    return transformer_files(Path(spec)) if is_causal_folder(Path(spec)) else [Path(spec)]


def _libraries_of_writer(spec: str) -> Sequence[str]:
    if is_gguf(Path(spec)):
        return (*HUB, "gguf")
    return HUB if is_causal_folder(Path(spec)) else ()


def _files_of_service(spec: str, files: Files) -> list[Path]:
    """With what a network opens that stands in for it; an offer that cannot be read is refused when it is loaded."""
    try:
        model = load_offer(spec).model
    except TeacherError:
        model = None
    return [Path(spec), *([] if model is None or is_offer(model) else files(model))]


def _at(reads: Callable[[Path], bool]) -> Callable[[str], bool]:
    return lambda spec: reads(Path(spec))


def _from(load: Callable[[Path, Task], Teacher]) -> Callable[[str, Task, Load], Teacher]:
    return lambda spec, task, _: load(Path(spec), task)


def _itself(spec: str, files: Files) -> list[Path]:
    return [Path(spec)]


def _files_of_panel(spec: str, files: Files) -> list[Path]:
    return [Path(spec), *(file for one in specs_in(spec) for file in files(one))]


def _in(files: Callable[[Path], list[Path]]) -> Callable[[str, Files], list[Path]]:
    return lambda spec, _: files(Path(spec))


def _of_package(load: Callable[[str, Task], Teacher]) -> Callable[[str, Task, Load], Teacher]:
    return lambda spec, task, _: load(spec, task)


def _with_external(file: Path) -> list[Path]:
    return [file, *external_files(file)]


def _imports(*names: str) -> Callable[[str], Sequence[str]]:
    return lambda spec: names


FORMATS = (
    Format(is_panel, load_panel, _files_of_panel),
    Format(is_bundle, _from(load_bundle), _in(bundle_files)),
    Format(_is_skops, _from(load_skops), _itself, _imports("skops.io", "sklearn.ensemble", "pandas")),
    Format(is_pocketsphinx, _of_package(load_pocketsphinx), lambda spec, _: pocketsphinx_files(spec), _imports(NAME)),
    Format(is_offer, load_service, _files_of_service),
    Format(is_writer, _load_writer, _files_of_writer, _libraries_of_writer),
    Format(_at(is_autoencoder), _from(load_autoencoder_teacher), _itself),
    Format(_at(is_picture_autoencoder), _from(load_picture_teacher), _itself),
    Format(is_onnx, _from(load_onnx), _in(_with_external), _imports("onnx", "onnxruntime")),
    Format(_at(is_pipeline), _from(load_pipeline), _in(pipeline_files), _imports("diffusers")),
    Format(_at(is_whisper), _from(load_whisper), _in(whisper_files), _imports(*HUB)),
    Format(_at(is_transformer), _from(load_transformer), _in(transformer_files), _imports(*HUB)),
)
"""In the order in which they are asked: a language model and Whisper are folders of transformers too."""
