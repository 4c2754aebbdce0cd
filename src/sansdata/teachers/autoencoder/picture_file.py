"""The autoencoder of pictures as a file, and as a teacher."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import pydantic
from torch import Tensor, nn

from ...config import Strict
from ...contracts import Access
from ...errors import TeacherError
from ...files import sha256
from ...models.fair_image_vae import FairImageVAE
from ...models.tensor_file import has_key, read_safetensors
from ...tasks import FieldSpec, NoiseSpec, PairTask, Task
from ..base import Teacher
from .base import ENCODES
from .pictures import PictureAutoEncoder
from .stored import description_in, latents_in, network_in, write_described
from .teacher import BANK, Latents

KEY = "sansdata.picture-autoencoder"
MOST_LATENT, MOST_SIDE, MOST_NAMES = 4096, 512, 10_000
Named = tuple[str, ...]


class Description(Strict):
    """What the metadata say."""

    format: Literal[1] = 1
    shape: tuple[Literal[1, 3], int, int]
    groups: Named = pydantic.Field(min_length=2, max_length=MOST_NAMES)
    shares: tuple[pydantic.PositiveFloat, ...]
    class_names: Named = pydantic.Field(min_length=2, max_length=MOST_NAMES)
    latent: int = pydantic.Field(ge=1, le=MOST_LATENT)
    real_latents: int = pydantic.Field(default=0, ge=0)
    """How many latents of real pictures are in the file."""
    provenance: dict[str, Any] = pydantic.Field(default_factory=dict)

    @pydantic.model_validator(mode="after")
    def _sensible(self) -> Description:
        if not all(4 <= side <= MOST_SIDE for side in self.shape[1:]):
            raise ValueError(f"pictures have 4 to {MOST_SIDE} pixels on a side, got {list(self.shape)}")
        if len(self.shares) != len(self.groups) or not math.isclose(sum(self.shares), 1, abs_tol=1e-3):
            raise ValueError("each group has a share, and together they are 1")
        return self


def is_picture_autoencoder(path: Path) -> bool:
    """Whether a path is such a file; nothing is judged yet."""
    return has_key(path, KEY)


def save_picture_autoencoder(path: Path, model: PictureAutoEncoder) -> None:
    described = Description(
        shape=model.shape, groups=model.names, shares=model.group_shares, class_names=model.class_names,  # type: ignore[arg-type]
        latent=model.latent, real_latents=0 if model.bank is None else len(model.bank.latents),
        provenance=dict(model.provenance),
    )  # fmt: skip
    write_described(path, KEY, described, model)


def load_picture_autoencoder(path: Path) -> PictureAutoEncoder:
    """Raises TeacherError for a file that is none of ours or was changed, UnsafeFileError for one that lies about its
    contents."""
    tensors, metadata = read_safetensors(path)
    described = description_in(path, metadata, KEY, Description)
    groups, classes = len(described.groups), len(described.class_names)
    vae = network_in(path, tensors, lambda: FairImageVAE(described.shape, groups, classes, described.latent))
    moments, bank = latents_in(path, tensors, vae.state_dict(), described.latent, groups, described.real_latents)
    return PictureAutoEncoder(
        vae, described.shape, described.groups, described.class_names, described.shares, described.latent, moments,
        bank, str(path), described.provenance,
    )  # fmt: skip


# -- as a teacher


class Pictures(Latents):
    """Noise (B, Z) and groups (B,) -> pictures (B, C, H, W) in 0..1, decoded for those groups of draws of the moments
    where the file has them, else of the noise itself."""

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:  # type: ignore[override]
        vae: nn.Module = self.vae
        return vae.decoder(super().forward(noise), label).sigmoid()  # type: ignore[operator, union-attr]


def picture_task_of(model: PictureAutoEncoder) -> PairTask:
    """Noise of the latent's size, and a group, into a picture."""
    return PairTask(
        inputs=NoiseSpec(shape=(model.latent,), labels=len(model.names), label_names=model.names),
        outputs=FieldSpec(shape=model.shape, range=(0.0, 1.0), steps=1),
    )  # fmt: skip


def picture_teacher_of(model: PictureAutoEncoder, task: Task, digest: str | None = None) -> Teacher:
    """Raises TeacherError for a task that is not its own."""
    own = picture_task_of(model)
    task_: Any = task
    if task.pair != own.pair or (tuple(task_.inputs.shape), task_.inputs.labels, tuple(task_.outputs.shape)) != (
        (model.latent,), len(model.names), tuple(model.shape),
    ):  # fmt: skip
        raise TeacherError(
            f"{model.source}: an autoencoder of pictures of {list(model.shape)} with latents of {model.latent} numbers "
            f"and {len(model.names)} groups; its task: inputs: {{kind: noise, shape: [{model.latent}], labels: "
            f"{len(model.names)}}}, outputs: {{kind: field, shape: {list(model.shape)}, range: [0, 1]}}"
        )
    notes = () if model.bank is None else (f"{model.source}: holds {BANK.format(count=len(model.bank.latents))}",)
    return Teacher(
        Pictures(model).eval(), task, None, model.source, digest, most=Access.SCORES, notes=notes,
        capabilities={ENCODES: model},
    )  # fmt: skip


def load_picture_teacher(path: Path, task: Task) -> Teacher:
    """Raises TeacherError or UnsafeFileError for a file that is none, or for another task."""
    return picture_teacher_of(load_picture_autoencoder(path), task, sha256(path))
