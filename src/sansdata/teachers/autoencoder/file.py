"""An autoencoder as one safetensors file: its tensors, and under one key of the metadata strict JSON that says what
they are. Nothing in it is run."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar

import pydantic
import torch
from safetensors.torch import save
from torch import Tensor

from ...config import Strict, validate
from ...errors import TaskError, TeacherError, UnsafeFileError
from ...files import write_atomic
from ...kinds.inputs.table_bins import TableBins
from ...models.fair_vae import FairVAE
from ...models.tensor_file import read_metadata, read_safetensors
from ...tasks import Task, task_from_mapping
from .base import AutoEncoder, Bank, LatentSource, Moments, Sensitive, groups_of

KEY = "sansdata.autoencoder"
Form = TypeVar("Form", bound=Strict)
MAX_WIDTH = 65_536
"""Of the latent and of a hidden layer."""


LATENT_TENSORS = {f"moments.{name}" for name in ("weights", "means", "factors")} | {"bank.latents", "bank.groups"}


class Description(Strict):
    """What the metadata say."""

    format: Literal[1] = 1
    task: dict[str, Any]
    sensitive: Sensitive
    bins: dict[str, tuple[tuple[float, float], ...]]
    latent: int = pydantic.Field(ge=1, le=MAX_WIDTH)
    hidden: int = pydantic.Field(ge=1, le=MAX_WIDTH)
    positive: int = pydantic.Field(ge=0)
    real_latents: int = pydantic.Field(default=0, ge=0)
    """How many latents of real rows are in the file."""
    provenance: dict[str, Any] = pydantic.Field(default_factory=dict)


def is_autoencoder(path: Path) -> bool:
    """Whether a path is such a file; nothing is judged yet."""
    return has_key(path, KEY)


def has_key(path: Path, key: str) -> bool:
    """Whether a path is a safetensors file with `key` in its metadata."""
    if path.suffix.lower() != ".safetensors" or not os.path.isfile(path):
        return False
    try:
        return key in read_metadata(path)
    except TeacherError:  # said where the file is read
        return False


def real_latents_in(path: Path) -> int:
    """How many latents of real rows such a file says that it holds."""
    return _described(path, read_metadata(path)).real_latents


def save_autoencoder(path: Path, model: AutoEncoder) -> None:
    hidden = model.vae.encoder[0].out_features
    described = Description(
        task=model.bins.task.model_dump(mode="json"), sensitive=model.sensitive, bins=dict(model.bins.bins),
        latent=model.latent, hidden=hidden, positive=model.positive,
        real_latents=0 if model.bank is None else len(model.bank.latents), provenance=dict(model.provenance),  # type: ignore[arg-type]
    )  # fmt: skip
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.vae.state_dict().items()}
    tensors |= tensors_of_latents(model)
    write_atomic(path, save(tensors, {KEY: json.dumps(described.model_dump(mode="json"), allow_nan=False)}))


def load_autoencoder(path: Path) -> AutoEncoder:
    """Raises TeacherError for a file that is none of ours or was changed, UnsafeFileError for one that lies about its
    contents."""
    tensors, metadata = read_safetensors(path)
    described = _described(path, metadata)
    try:
        task = task_from_mapping(described.task, f"{path}: task")
    except TaskError as fault:
        raise TeacherError(str(fault)) from None
    if task.pair != ("table", "classes"):
        raise TeacherError(f"{path}: an autoencoder of a table, whose task says {' x '.join(task.pair)}")
    _check_sensitive(path, described.sensitive, task)
    if described.positive >= task.classes:
        raise TeacherError(f"{path}: its positive class is {described.positive}, and there are {task.classes} classes")
    bins = TableBins(task, described.sensitive.column, _checked_bins(path, described, task))
    groups, latent = len(described.sensitive.groups), described.latent
    with torch.device("meta"):
        vae = FairVAE(sum(bins.sizes), groups, latent, described.hidden)
    shapes = {name: value.shape for name, value in vae.state_dict().items()}
    for name, shape in shapes.items():
        require(path, tensors, name, shape)
    vae.load_state_dict({name: tensors[name].float() for name in shapes}, assign=True)
    moments, bank = latents_in(path, tensors, shapes, latent, groups, described.real_latents)
    vae.eval().requires_grad_(False)
    return AutoEncoder(
        vae, bins, described.sensitive, described.positive, moments, bank, str(path), described.provenance
    )


def _described(path: Path, metadata: dict[str, str]) -> Description:
    return description_in(path, metadata, KEY, Description)


def description_in(path: Path, metadata: dict[str, str], key: str, form: type[Form]) -> Form:
    """What the metadata say under `key`, as strict data of `form`. Raises TeacherError."""
    try:
        fields = json.loads(metadata.get(key, ""))
    except (ValueError, RecursionError):
        raise TeacherError(f"{path}: is no autoencoder as sansdata saves it (metadata {key})") from None
    if not isinstance(fields, dict):
        raise TeacherError(f"{path}: the metadata {key} must be an object")
    return validate(form, fields, f"{path}: {key}", error=TeacherError)


def _check_sensitive(path: Path, sensitive: Sensitive, task: Task) -> None:
    column = next((one for one in task.inputs.columns if one.name == sensitive.column), None)
    if column is None or column.numeric or column.missing:
        raise TeacherError(
            f"{path}: the sensitive column '{sensitive.column[:80]}' is no category that is never missing"
        )
    try:
        members = groups_of(column.levels, sensitive.groups).tolist()
    except TeacherError as fault:
        raise TeacherError(f"{path}: {fault}") from None
    shares = sensitive.shares
    sound = len(shares) == len(column.levels) and all(math.isfinite(s) and s >= 0 for s in shares)
    if not sound or abs(sum(shares) - 1) > 1e-3 or len(sensitive.names) != len(sensitive.groups):
        raise TeacherError(f"{path}: the sensitive column needs a name for each group and a share for each level")
    if {group for group, share in zip(members, shares) if share > 0} != set(members):
        raise TeacherError(f"{path}: a group of '{column.name[:80]}' has no share, and nobody knows its levels")


def _checked_bins(path: Path, described: Description, task: Task) -> dict[str, tuple[tuple[float, float], ...]]:
    numeric = {column.name for column in task.inputs.numbers}
    if described.bins.keys() != numeric:
        raise TeacherError(f"{path}: bins must be those of the numeric columns {sorted(numeric)}")
    for name, bins in described.bins.items():
        ends = [end for one in bins for end in one]
        if not bins or not all(math.isfinite(end) for end in ends) or any(low > high for low, high in bins):
            raise TeacherError(f"{path}: the bins of '{name[:80]}' are no intervals")
        if any(one[0] >= other[0] for one, other in pairwise(bins)):
            raise TeacherError(f"{path}: the bins of '{name[:80]}' must ascend")
    return described.bins


def require(path: Path, tensors: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    """The finite tensor `name` of that shape. Raises."""
    value = tensors.get(name)
    if value is None or value.shape != torch.Size(shape) or not value.is_floating_point():
        actual = "none" if value is None else f"{value.dtype} {list(value.shape)}"
        raise UnsafeFileError(f"{path}: '{name}' must be floats of shape {list(shape)}, got {actual}")
    if not bool(torch.isfinite(value).all()):
        raise TeacherError(f"{path}: '{name}' is not finite; the training that made it diverged")
    return value


def tensors_of_latents(model: LatentSource) -> dict[str, Tensor]:
    """What a file holds of the latents of real data, by name."""
    tensors: dict[str, Tensor] = {}
    if model.moments is not None:
        tensors |= {f"moments.{name}": value.contiguous() for name, value in vars(model.moments).items()}
    if model.bank is not None:
        tensors |= {f"bank.{name}": value.contiguous() for name, value in vars(model.bank).items()}
    return tensors


def latents_in(
    path: Path, tensors: dict[str, Tensor], others: Collection[str], latent: int, groups: int, recorded: int
) -> tuple[Moments | None, Bank | None]:
    """What a file holds of the latents of real data. others: the names of its other tensors. recorded: how many
    latents it says it holds. Raises TeacherError, UnsafeFileError where it holds other numbers of them."""
    moments, bank = moments_in(path, tensors, latent), bank_in(path, tensors, latent, groups)
    held = 0 if bank is None else len(bank.latents)
    if held != recorded:
        raise UnsafeFileError(f"{path}: says it holds {recorded} latents of real rows, and holds {held}")
    if extra := tensors.keys() - set(others) - LATENT_TENSORS:
        raise TeacherError(f"{path}: holds a tensor '{sorted(extra)[0][:80]}' that no autoencoder has")
    return moments, bank


def moments_in(path: Path, tensors: dict[str, Tensor], latent: int) -> Moments | None:
    if "moments.weights" not in tensors:
        return None
    count = len(tensors["moments.weights"]) if tensors["moments.weights"].ndim == 1 else 0
    weights = require(path, tensors, "moments.weights", (count,)).float()
    means = require(path, tensors, "moments.means", (count, latent)).float()
    factors = require(path, tensors, "moments.factors", (count, latent, latent)).float()
    if not count or bool((weights <= 0).any()) or abs(float(weights.sum()) - 1) > 1e-3:
        raise TeacherError(f"{path}: the weights of its moments must be above 0 and make 1")
    return Moments(weights, means, factors)


def bank_in(path: Path, tensors: dict[str, Tensor], latent: int, groups: int) -> Bank | None:
    latents, members = tensors.get("bank.latents"), tensors.get("bank.groups")
    if latents is None and members is None:
        return None
    count = 0 if latents is None else len(latents)
    checked = require(path, tensors, "bank.latents", (count, latent)).float()
    if members is None or members.dtype != torch.int64 or members.shape != (count,) or not count:
        raise UnsafeFileError(f"{path}: 'bank.groups' must be the group of each of {count} latents")
    if int(members.min()) < 0 or int(members.max()) >= groups:
        raise UnsafeFileError(f"{path}: 'bank.groups' names a group that there is not")
    return Bank(checked, members)
