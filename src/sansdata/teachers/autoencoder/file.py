"""The autoencoder of a table as a file."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pydantic

from ...config import Strict
from ...errors import TaskError, TeacherError
from ...kinds.inputs.table_bins import TableBins
from ...models.fair_vae import FairVAE
from ...models.tensor_file import has_key, read_safetensors
from ...tasks import Task, task_from_mapping
from .base import AutoEncoder, Sensitive, groups_of
from .stored import description_in, latents_in, network_in, write_described

KEY = "sansdata.autoencoder"
MAX_WIDTH = 65_536
"""Of the latent and of a hidden layer."""


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


def save_autoencoder(path: Path, model: AutoEncoder) -> None:
    hidden = model.vae.encoder[0].out_features
    described = Description(
        task=model.bins.task.model_dump(mode="json"), sensitive=model.sensitive, bins=dict(model.bins.bins),
        latent=model.latent, hidden=hidden, positive=model.positive,
        real_latents=0 if model.bank is None else len(model.bank.latents), provenance=dict(model.provenance),  # type: ignore[arg-type]
    )  # fmt: skip
    write_described(path, KEY, described, model)


def load_autoencoder(path: Path) -> AutoEncoder:
    """Raises TeacherError for a file that is none of ours or was changed, UnsafeFileError for one that lies about its
    contents."""
    tensors, metadata = read_safetensors(path)
    described = description_in(path, metadata, KEY, Description)
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
    vae = network_in(path, tensors, lambda: FairVAE(sum(bins.sizes), groups, latent, described.hidden))
    moments, bank = latents_in(path, tensors, vae.state_dict(), latent, groups, described.real_latents)
    return AutoEncoder(
        vae, bins, described.sensitive, described.positive, moments, bank, str(path), described.provenance
    )


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
