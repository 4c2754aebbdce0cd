"""A model as a bundle: made, checked, and given new weights out of a pickled file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..config import validate
from ..deploy.bundle_store import RolledBack, rollback
from ..deploy.bundle_writer import BundleSettings, Source, write_bundle
from ..errors import ConfigError, TeacherError
from ..files import is_folder, is_regular, remove, temporary_name, user_path
from ..models.modes import usual_modes
from ..models.saved import read_model
from ..report.card import card_of
from ..signing import private_key, public_key
from ..tasks import load_task
from ..teachers.bundle import archive, is_bundle, layout
from ..teachers.bundle.verify import Bundle
from ..teachers.bundle.verify import verify as checked
from ..teachers.formats import format_of
from ..teachers.specs import STUDENT_FILE, resolve
from .convert import Converted, convert
from .monitor import with_reference
from .result import TaskLike, generator_kept, is_student_file, read_student, split_run, task_field


@dataclass(frozen=True)
class Bundled:
    """What `create_bundle` wrote."""

    path: Path
    bundle: Bundle


@usual_modes()
def create_bundle(
    model: str | Path,
    out: str | Path,
    task: TaskLike = None,
    settings: Mapping[str, Any] | None = None,
    sign: str | Path | None = None,
    reference: str | Path | None = None,
) -> Bundled:
    """Writes a bundle of `model` into the new folder `out`, or as a .zip file where `out` ends so.

    model: a run directory, a student file, or the SPEC of a network with its `task`. settings: what its maker says of
    it, by the names of deploy.bundle_writer.BundleSettings. sign: the file of a private key, see `sansdata.signing`.
    reference: a file of aggregates to which those of a deployed model are compared, as `monitor` writes it; without one
    they are counted on synthetic inputs.

    Raises ConfigError, TeacherError, StudentError; BundleError where the bundle fails its own check.
    """
    word = validate(BundleSettings, settings or {}, "bundle")
    key = None if sign is None else private_key(sign)
    target = user_path(out)
    source = with_reference(_source(model, task, word), None if reference is None else Path(reference), word.thresholds)
    if target.suffix.lower() != ".zip":
        return Bundled(target, write_bundle(source, target, word, key))
    if os.path.lexists(target):
        raise ConfigError(f"--out {target} is there already; a bundle is made once. Give another name or version")
    folder = temporary_name(target.with_suffix(""))
    try:
        bundle = write_bundle(source, folder, word, key)
        archive.pack(folder, target)
    finally:
        if is_folder(folder):
            remove(folder)
    return Bundled(target, bundle)


@usual_modes()
def verify_bundle(bundle: str | Path, key: str | Path | None = None) -> Bundle:
    """Checks a bundle, a folder or a .zip file: names and sizes, hashes, the signature by the public key in the file
    `key`, descriptions, architecture, weights, golden test. Raises BundleError at the first that fails, ConfigError
    for a key that is none."""
    return checked(bundle, None if key is None else public_key(key))


def rollback_bundle(store: str | Path, key: str | Path) -> RolledBack:
    """Puts the version before the current one into use, of the bundles in the folder `store` that are signed by the
    public key in the file `key`. Raises ConfigError where there is none to go back to."""
    return rollback(Path(store), public_key(key))


def convert_bundle(source: str | Path, key: str | None = None, out: str | Path | None = None) -> Converted:
    """The weights of a bundle that has only pickled ones, or of any such file, as safetensors: `sansdata.convert` under
    its own rules. A folder's weights go to its models/model.safetensors. Raises as `sansdata.convert`."""
    path = Path(source)
    if not path.is_dir():
        return convert(path, key, out)
    pickled = [path / "models" / f"model{ending}" for ending in layout.PICKLED]
    files = [file for file in pickled if is_regular(file)]
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise TeacherError(f"{path}: expected one pickled models/model.pt or its like, found {names}; name the file")
    return convert(files[0], key, path / layout.WEIGHTS if out is None else out)


def _source(model: str | Path, task: TaskLike, word: BundleSettings) -> Source:
    """The network, and how its file is had. Raises what reading it raises."""
    run, code = split_run(model)
    if os.path.lexists(run / "run.json"):
        return _of_run(run, code, word)
    if is_student_file(model) and task is None:
        return _of_file(Path(model))
    spec = str(model)
    if is_bundle(spec):
        raise ConfigError(f"{spec}: is a bundle already; take its {layout.WEIGHTS} to make another of it")
    if format_of(spec) is not None:
        raise TeacherError(
            f"'{spec[:100]}' is only asked, or read by another library: a bundle carries a network of ours, timm's or "
            "torchvision's with its weights"
        )
    if task is None:
        raise ConfigError(f"'{spec[:100]}' does not say its own job: give it (--task)")
    with generator_kept():
        resolved = resolve(spec, load_task(task_field(task)), pretrained=True)
    provenance = {"source": _without_folders(spec), "sha256": resolved.sha256}
    return Source(resolved.module.eval(), resolved.task, resolved.architecture, provenance)


def _of_run(run: Path, code: str, word: BundleSettings) -> Source:
    if not is_regular(run / STUDENT_FILE):
        raise ConfigError(f"{run}: has no {STUDENT_FILE} of its own: it is not a finished run")
    beside = {layout.ONNX: run / "student.onnx"} if is_regular(run / "student.onnx") else {}
    source = _of_file(run / STUDENT_FILE, code)
    return replace(source, card=card_of(run, {**word.model_dump(), "license": ""}), beside=beside)


def _of_file(file: Path, code: str = "") -> Source:
    module, task = read_student(file, code)
    saved = read_model(file)
    return Source(module, task, saved.architecture, saved.provenance, file)


def _without_folders(spec: str) -> str:
    """A SPEC without the folders of its maker's machine."""
    name, at, path = spec.rpartition("@")
    return f"{name}{at}{Path(path).name}" if at else Path(spec).name
