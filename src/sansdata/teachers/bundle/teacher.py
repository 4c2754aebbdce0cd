"""A bundle as a teacher: whoever names one has it checked before anything else is done with it."""

from __future__ import annotations

from pathlib import Path

from ...errors import ConfigError, TeacherError
from ...files import sha256
from ...signing import Key, public_key
from ...tasks import Task
from ..base import Teacher, plain_copy
from ..student_file import same_job
from . import layout
from .layout import is_bundle
from .verify import Bundle, task_in, verify, with_own_files

LEAVE_OUT = "Leave --task out: a bundle names its own"


def load_bundle(path: Path, task: Task, key: Key | None = None) -> Teacher:
    """The teacher in a bundle that passed every check; that of the signature where its maker's public key is given. Its
    preprocessing and the names of its classes are its own. Raises BundleError, TeacherError for another job."""
    bundle = verify(path, key)
    if path.is_file() and bundle.task.files():
        raise TeacherError(f"{path}: its model needs files beside it (a tokenizer): unpack it, and name the folder")
    job = _read_as_signed(same_job(bundle.task, task, path, LEAVE_OUT), bundle.task, path)
    module = plain_copy(bundle.module)
    teacher = Teacher(module, job, bundle.architecture, str(path), bundle.digest, notes=notes_of(bundle, path))
    teacher.allowed_methods = bundle.description.vendor.allowed_methods
    return teacher


def _read_as_signed(job: Task, own: Task, path: Path) -> Task:
    """`job` with the files that the bundle carries. Raises TeacherError where the task given has another of them."""
    carried = {field: file for file, field in own.files().items()}
    for file, field in job.files().items():
        if field in carried and file.is_file() and sha256(file) != sha256(carried[field]):
            raise TeacherError(f"{path}: the task's {field} {file} is another than the bundle's. {LEAVE_OUT}")
    return with_own_files(job, path) if carried else job


def load_signed(spec: str, task: Task, key_file: str) -> Teacher:
    """As `load_bundle`, by the public key in a file. Raises ConfigError where the spec names no bundle."""
    if not is_bundle(spec):
        raise ConfigError(f"--teacher-key {key_file}: only a bundle is signed, and '{spec[:100]}' is none")
    return load_bundle(Path(spec), task, public_key(key_file))


def bundle_files(path: Path) -> list[Path]:
    """What reading a bundle opens: the .zip file, or the files of the folder by their known names."""
    if path.is_file():
        return [path]
    return [path / name for name in layout.MOST if (path / name).is_file()]


def task_of_bundle(spec: str) -> Task:
    """The job that a bundle names by itself. Raises BundleError."""
    return task_in(spec)


def notes_of(bundle: Bundle, path: Path) -> tuple[str, ...]:
    """What whoever distils a bundle should know of it."""
    vendor, version = bundle.description.vendor, bundle.metadata.version
    signature = "it is not signed"
    if bundle.signer is not None:
        signature = f"it is signed by the key {bundle.signer[:16]}"
    elif bundle.signed:
        signature = "its signature was not checked: --teacher-key FILE, or sansdata bundle verify, does"
    notes = [f"{path}: bundle of version {version}, every hash and the golden test hold; {signature}"]
    if vendor.privacy:
        notes.append(f"the vendor on privacy: {vendor.privacy[:300]}")
    if vendor.allowed_methods:
        notes.append(f"the vendor allows the methods: {', '.join(vendor.allowed_methods)[:300]}")
    return tuple(notes)
