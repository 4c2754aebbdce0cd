"""The checks of a bundle, in an order in which each protects the next, and the network of one that passed them all.

Names and sizes, then the hash of every file and no file beside them, then the signature, then both descriptions, then
whether the architecture is one that we build ourselves, then the weights into it without a name left over, then the
golden test. Nothing of a bundle is run, and no pickle in it is read.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...compress.rebuild import factories_in
from ...errors import BundleError, StudentError, TaskError, TeacherError, UnsafeFileError
from ...files import sha256
from ...models.saved import KEY, SavedModel, read_model
from ...models.tensor_file import read_metadata as metadata_of_tensors
from ...network import Network
from ...signing import Key
from ...tasks import Task
from ..student_file import restore
from . import layout
from .archive import opened
from .golden import worst_difference
from .manifest import checked_sums
from .schema import Description, MonaiMetadata, read_description, read_metadata, read_plain
from .signature import require_signed


@dataclass(frozen=True)
class Bundle:
    """A bundle that passed every check. digest: SHA-256 of SHA256SUMS, by which the bundle is known. weights: that of
    the weights' file. signer: fingerprint of the key by which the signature was checked; None where no key was given.
    worst: difference in the golden test, in units of the largest answer."""

    module: nn.Module
    task: Task
    architecture: dict[str, Any]
    description: Description
    metadata: MonaiMetadata
    digest: str
    weights: str
    signed: bool
    signer: str | None
    worst: float
    files: tuple[str, ...]


def verify(bundle: str | Path, key: Key | None = None) -> Bundle:
    """Checks a bundle, a folder or a .zip file, in the order above and gives its network. key: the maker's public key.

    Raises BundleError at the first check that fails; its `reason` names it.
    """
    path = Path(bundle)
    if not path.exists():
        raise BundleError(f"{path}: there is no such bundle; expected a folder or a .zip file", "missing")
    with opened(path) as folder:
        return _verified(folder, key)


def task_in(bundle: str | Path) -> Task:
    """The job of a bundle's model, by its description alone. Raises BundleError."""
    with opened(Path(bundle)) as folder:
        layout.require_whole(layout.files_in(folder), str(folder))
        return with_own_files(read_description(folder)[2], folder)


def with_own_files(task: Task, folder: Path) -> Task:
    """The task of a bundle's folder with the files that the bundle carries: what lies at the maker's paths here is
    signed by nobody. Raises BundleError where it does not carry one."""
    try:
        return task.of_copies((folder / layout.WEIGHTS).parent)
    except TaskError as fault:
        raise BundleError(f"{folder}: {fault}; ask its maker for a bundle that is whole", "missing") from None


def _verified(folder: Path, key: Key | None) -> Bundle:
    names = layout.files_in(folder)
    layout.require_whole(names, str(folder))
    sums = checked_sums(folder, names)
    if key is not None:
        require_signed(folder, key, sums)
    metadata = read_metadata(folder)
    description, _, _ = read_description(folder)
    if layout.REFERENCE in names:
        read_plain(folder / layout.REFERENCE)
    saved = _weights(folder, description)
    module = _network(saved, folder)
    task = with_own_files(saved.task, folder)
    worst = worst_difference(Network.of(module, task), task, folder, description.golden)
    return Bundle(
        module, task, dict(saved.architecture or {}), description, metadata, hashlib.sha256(sums).hexdigest(),
        sha256(folder / layout.WEIGHTS), layout.SIGNATURE in names, None if key is None else key.fingerprint, worst,
        tuple(names),
    )  # fmt: skip


def _weights(folder: Path, description: Description) -> SavedModel:
    """The weights' file, which must say of itself what the bundle says of it. Raises BundleError."""
    path = folder / layout.WEIGHTS
    try:
        own = metadata_of_tensors(path).get(KEY)
        if own is None or _described(own) != description.model:
            raise BundleError(
                f"{path}: says of itself something else than 'model' in {layout.OWN}; which of the two counts is left "
                "to nobody", "schema",
            )  # fmt: skip
        _require_buildable(description.model.get("architecture"), path)
        return read_model(path)
    except BundleError:
        raise
    except TeacherError as fault:
        raise BundleError(str(fault), "weights") from None


def _described(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _require_buildable(architecture: Any, path: Path) -> None:
    """Raises BundleError for a network that only its maker's code can make."""
    if not isinstance(architecture, dict):
        raise BundleError(f"{path}: names no architecture; only its maker's code can build the network", "architecture")
    if code := factories_in(architecture):
        raise BundleError(
            f"{path}: its network is made by the code {code[0][:100]}; a bundle's comes from the zoo, timm or "
            "torchvision, or was made of one of these", "architecture",
        )  # fmt: skip


def _network(saved: SavedModel, folder: Path) -> nn.Module:
    path = folder / layout.WEIGHTS
    try:
        with torch.random.fork_rng(devices=[]):  # drawn at random before the file fills it
            return restore(saved, path).eval().requires_grad_(False)
    except StudentError as fault:
        raise BundleError(f"{path}: {fault}", "architecture") from None
    except UnsafeFileError as fault:
        raise BundleError(str(fault), "architecture") from None
    except TeacherError as fault:
        raise BundleError(str(fault), "weights") from None
