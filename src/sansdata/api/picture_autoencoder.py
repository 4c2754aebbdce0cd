"""A data owner's side of fair synthetic pictures: an autoencoder trained on real ones, and what of it may leave the
house."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
import torch
from torch import Tensor

from .. import __version__
from ..config import dump_yaml, validate
from ..datasets.images import load_images
from ..datasets.imageset import ImageSet
from ..datasets.npz import whole_numbers
from ..decoding.arrays import read_array
from ..errors import ConfigError, DataError
from ..evaluate.fair_rows import latent_aucs
from ..files import user_path, write_atomic
from ..models.modes import usual_modes
from ..tasks import ImageTask, load_task
from ..teachers.autoencoder import PictureAutoEncoder, picture_task_of, save_picture_autoencoder
from ..teachers.autoencoder.base import Bank
from ..teachers.autoencoder.handover import moments_of
from ..training.fair_image_vae import FairImageVAESettings, train_fair_image_vae
from .autoencoder import FILE, TASK, Handover
from .result import TaskLike, task_field


class PictureAutoencoderSettings(FairImageVAESettings):
    """handover: what the file holds of the latents of real pictures: nothing, a mixture of Gaussians, or the latents
    themselves, which are personal data. components: of the mixture."""

    handover: Handover = "moments"
    components: int = pydantic.Field(default=10, ge=1, le=1000)


@dataclass(frozen=True)
class PicturesLearnt:
    """What `write_picture_autoencoder` made. group_auc, class_auc: how well the group and the class can be read from
    latents of the training pictures; .5 is not at all."""

    folder: Path
    model: PictureAutoEncoder
    count: int
    group_auc: float
    class_auc: float


@usual_modes()
def write_picture_autoencoder(
    data: str | Path,
    sensitive: str,
    out: str | Path,
    *,
    task: TaskLike,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> PicturesLearnt:
    """Trains a fair autoencoder on labelled pictures, into the new directory `out`: its file, and the task of its
    students.

    data: an .npz file with pictures `x`, classes `y` and the group of each, whole numbers from 0 on, in an array of its
    own. sensitive: the name of that array, or ARRAY=NAME,... to name the groups. task: of images and classes. settings:
    of PictureAutoencoderSettings. Raises ConfigError, DataError, TaskError.
    """
    folder, chosen = user_path(out), validate(PictureAutoencoderSettings, settings or {}, "autoencoder")
    if os.path.lexists(folder):
        raise ConfigError(f"{folder} is there already; give the name of a new directory")
    job = load_task(task_field(task))
    if not isinstance(job, ImageTask):
        raise ConfigError(f"an autoencoder of pictures needs a task of image x classes, not {' x '.join(job.pair)}")
    if Path(data).suffix.lower() != ".npz":
        raise ConfigError(
            f"--data {data}: pictures with a sensitive attribute are an .npz file of x, y and the attribute"
        )
    groups, names = groups_in(Path(data), sensitive)
    pictures = load_images(data, job)
    if len(groups) != len(pictures):
        raise DataError(f"{data}: {len(pictures)} pictures but {len(groups)} groups")
    model = fit_picture_autoencoder(pictures, groups, names, job.class_names or pictures.class_names, chosen, seed)
    latents = model.sampled(unit_pictures(pictures).float().div(255), torch.Generator().manual_seed(seed + 1))
    folder.mkdir(parents=True)
    save_picture_autoencoder(folder / FILE, model)
    write_atomic(folder / TASK, dump_yaml(picture_task_of(model).model_dump(mode="json")).encode())
    return PicturesLearnt(folder, model, len(pictures), *latent_aucs(latents, groups, pictures.labels))


def fit_picture_autoencoder(
    pictures: ImageSet,
    groups: Tensor,
    names: tuple[str, ...],
    class_names: tuple[str, ...],
    settings: PictureAutoencoderSettings,
    seed: int,
) -> PictureAutoEncoder:
    """From real pictures; nothing is written. groups: (N,) int64, each of `names`. Raises DataError for a group without
    a picture."""
    counted = torch.bincount(groups, minlength=len(names)).double()
    if len(names) < 2 or len(counted) != len(names) or bool((counted == 0).any()):
        raise DataError(f"{pictures.source}: two groups or more, each with a picture; got {counted.int().tolist()}")
    images, labels = unit_pictures(pictures), torch.from_numpy(pictures.labels)
    vae = train_fair_image_vae(images, labels, groups, len(class_names), settings, seed)
    made = {
        "sansdata": __version__, "pictures": len(pictures), "source": Path(pictures.source).name, "seed": seed,
        "settings": settings.model_dump(mode="json"),
    }  # fmt: skip
    shares = tuple((counted / counted.sum()).tolist())
    model = PictureAutoEncoder(vae, pictures.shape, names, class_names, shares, settings.latent, provenance=made)
    if settings.handover != "prior":
        latents = model.sampled(images.float().div(255), torch.Generator().manual_seed(seed))
        if settings.handover == "moments":
            model.moments = moments_of(latents, settings.components, seed)
        else:
            model.bank = Bank(latents, groups)
    return model


def groups_in(path: Path, sensitive: str) -> tuple[Tensor, tuple[str, ...]]:
    """((N,) int64, the names of the groups) of 's', or of 's=red,green'. Raises ConfigError, DataError."""
    name, _, written = sensitive.partition("=")
    groups = torch.from_numpy(whole_numbers(read_array(path, name), f"{path}: '{name[:80]}'"))
    count = int(groups.max()) + 1 if len(groups) else 0
    names = tuple(part.strip() for part in written.split(",")) if written else tuple(map(str, range(min(count, 1000))))
    if count < 2 or int(groups.min()) < 0 or len(names) != count or len(set(names)) != count:
        raise ConfigError(
            f"{path}: '{name[:80]}' has groups up to {count - 1}; expected two or more, numbered from 0, and as many "
            f"names where they are named, got {len(names)}"
        )
    return groups, names


def unit_pictures(pictures: ImageSet) -> Tensor:
    """uint8 (N, C, H, W)."""
    return torch.from_numpy(pictures.images).permute(0, 3, 1, 2).contiguous()
