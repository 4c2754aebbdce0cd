"""A data owner's side of fair synthetic rows: an autoencoder trained on real ones, and what of it may leave the
house."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic
import torch
from torch import Tensor

from .. import __version__
from ..config import dump_yaml, validate
from ..datasets.labelled import KindSet
from ..datasets.load import load_set
from ..errors import ConfigError, DataError, did_you_mean
from ..evaluate.fair_rows import latent_aucs
from ..files import user_path, write_atomic
from ..kinds.inputs.table_bins import TableBins, fit_bins
from ..models.modes import usual_modes
from ..tasks import KNOWN_TASKS, Column, Task, load_task
from ..teachers.autoencoder import AutoEncoder, save_autoencoder, task_of
from ..teachers.autoencoder.base import Bank, Sensitive, groups_of
from ..teachers.autoencoder.handover import moments_of
from ..training.fair_vae import FairVAESettings, train_fair_vae
from .result import TaskLike, task_field

FILE, TASK = "teacher.safetensors", "task.yaml"
Handover = Literal["prior", "moments", "latent-bank"]


class AutoencoderSettings(FairVAESettings):
    """handover: what the file holds of the latents of real rows: nothing, a mixture of Gaussians, or the latents
    themselves, which are personal data. components: of the mixture."""

    handover: Handover = "moments"
    components: int = pydantic.Field(default=1, ge=1, le=1000)


@dataclass(frozen=True)
class Written:
    """What `write_autoencoder` made. group_auc, class_auc: how well the group and the class can be read from latents of
    the training rows; .5 is not at all."""

    folder: Path
    model: AutoEncoder
    rows: int
    group_auc: float
    class_auc: float


@usual_modes()
def write_autoencoder(
    data: str | Path,
    sensitive: str,
    out: str | Path,
    *,
    task: TaskLike = None,
    positive: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Written:
    """Trains a fair autoencoder on the training rows of `data`, into the new directory `out`: its file, and the task of
    its students.

    data: a known table, or a file of labelled rows with its task. sensitive: a column of categories, or
    COLUMN=LEVEL,... for these levels against the others. positive: the class that it is good to be given, by name;
    the second without. settings: of AutoencoderSettings. Raises ConfigError, DataError, TaskError.
    """
    folder, chosen = user_path(out), validate(AutoencoderSettings, settings or {}, "autoencoder")
    if os.path.lexists(folder):
        raise ConfigError(f"{folder} is there already; give the name of a new directory")
    job = _table_task(data, task)
    rows = load_set(data, job, "train")
    assert isinstance(rows, KindSet)
    model = fit_autoencoder(rows, sensitive, positive, chosen, seed)
    latents, groups = latents_of_rows(model, rows, seed)
    folder.mkdir(parents=True)
    save_autoencoder(folder / FILE, model)
    write_atomic(folder / TASK, dump_yaml(task_of(model).model_dump(mode="json")).encode())
    return Written(folder, model, len(rows), *latent_aucs(latents, groups, rows.labels))


def fit_autoencoder(
    rows: KindSet, sensitive: str, positive: str | None, settings: AutoencoderSettings, seed: int
) -> AutoEncoder:
    """From real rows; nothing is written. Raises ConfigError, DataError."""
    job, packed = rows.task, rows.packed
    assert not isinstance(packed, Tensor)
    column, groups, names = groups_from(sensitive, job)
    levels = packed["categories"][:, [one.name for one in job.inputs.categories].index(column.name)]
    counted = torch.bincount(levels, minlength=len(column.levels)).double()
    members = groups_of(column.levels, groups)[levels]
    if len(members.unique()) < len(groups):
        raise DataError(f"{rows.source}: a group of '{column.name}' has no row")
    bins = TableBins(job, column.name, _bins(rows, settings.bins))
    codes = bins.codes(packed, torch.from_numpy(rows.labels))
    vae = train_fair_vae(bins, codes, members, settings, seed)
    shares = tuple(round(share, 6) for share in (counted / counted.sum()).tolist())
    made = {
        "sansdata": __version__, "rows": len(rows), "source": Path(rows.source).name, "seed": seed,
        "settings": settings.model_dump(mode="json"),
    }  # fmt: skip
    described = Sensitive(column=column.name, groups=groups, names=names, shares=_summing_to_1(shares))
    model = AutoEncoder(vae, bins, described, _positive(positive, job), provenance=made)
    stream = torch.Generator().manual_seed(seed)
    if settings.handover == "moments":
        model.moments = moments_of(model.sampled(codes, members, stream), settings.components, seed)
    elif settings.handover == "latent-bank":
        model.bank = Bank(model.sampled(codes, members, stream), members)
    return model


def latents_of_rows(model: AutoEncoder, rows: KindSet, seed: int) -> tuple[Tensor, Tensor]:
    """(latents (N, Z), groups (N,)) of real rows."""
    packed = rows.packed
    assert not isinstance(packed, Tensor)
    spec = model.bins.task.inputs
    levels = packed["categories"][:, [one.name for one in spec.categories].index(model.sensitive.column)]
    groups = model.group_of_level[levels]
    codes = model.bins.codes(packed, torch.from_numpy(rows.labels))
    return model.sampled(codes, groups, torch.Generator().manual_seed(seed + 1)), groups


def _table_task(data: str | Path, task: TaskLike) -> Task:
    if task is None and str(data) not in KNOWN_TASKS:
        raise ConfigError(f"'{str(data)[:200]}': say its task (--task): which columns there are, and the class")
    job = load_task(task_field(task) if task is not None else str(data))
    if job.pair != ("table", "classes"):
        raise ConfigError(f"an autoencoder of rows needs a task of table x classes, not {' x '.join(job.pair)}")
    return job


def groups_from(sensitive: str, job: Task) -> tuple[Column, tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """(the column, the levels of each group, the groups' names) of 'sex', or of 'status=A92,A95'. Raises
    ConfigError."""
    name, _, chosen = sensitive.partition("=")
    column = next((one for one in job.inputs.columns if one.name == name), None)
    if column is None:
        known = [one.name for one in job.inputs.columns]
        raise ConfigError(f"there is no column '{name[:80]}' to be sensitive. {did_you_mean(name, known)}")
    if column.numeric or column.missing:
        raise ConfigError(
            f"the sensitive column '{name}' must be a category that is never missing; write groups of a number, such "
            "as of an age, into a column of their own"
        )
    if not chosen:
        if len(column.levels) < 2:
            raise ConfigError(f"the sensitive column '{name}' has one level only")
        return column, tuple((level,) for level in column.levels), column.levels
    first = tuple(level.strip() for level in chosen.split(","))
    if unknown := [level for level in first if level not in column.levels]:
        raise ConfigError(f"'{name}' has no level '{unknown[0][:80]}'. {did_you_mean(unknown[0], column.levels)}")
    rest = tuple(level for level in column.levels if level not in first)
    if not rest:
        raise ConfigError(f"all levels of '{name}' are in one group; name some of them")
    return column, (first, rest), ("+".join(first), "+".join(rest))


def _positive(name: str | None, job: Task) -> int:
    names = job.names
    if name is None:
        return 1
    if name not in names:
        raise ConfigError(f"there is no class '{name[:80]}'. {did_you_mean(name, names)}")
    return names.index(name)


def _bins(rows: KindSet, count: int) -> dict[str, tuple[tuple[float, float], ...]]:
    packed, spec = rows.packed, rows.task.inputs
    assert not isinstance(packed, Tensor)
    there = ~packed["missing"][:, : len(spec.numbers)]
    return {
        column.name: fit_bins(column, packed["numbers"][there[:, place], place], count)
        for place, column in enumerate(spec.numbers)
    }


def _summing_to_1(shares: tuple[float, ...]) -> tuple[float, ...]:
    total = sum(shares)
    return tuple(share / total for share in shares)
