"""Synthetic pictures of a generator of latents, each with its class and the group that it was decoded for."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn

from ..errors import ConfigError, StudentError, TeacherError
from ..evaluate.labelled import finite
from ..files import reason, user_path, write_atomic
from ..models.fair_image_vae import LatentPictures
from ..models.modes import borrowed, fixed, usual_modes
from ..teachers.autoencoder import ENCODES, PictureAutoEncoder
from ..teachers.autoencoder.decoding import rule_of
from ..teachers.autoencoder.pictures import MadePictures, decoded_pictures
from ..teachers.base import Teacher
from .outputs import require_free
from .result import Result, TaskLike, asked
from .rows import require_own

AT_ONCE, MOST = 1000, 1_000_000


@dataclass(frozen=True)
class PicturesWritten:
    """What `write_pictures` made."""

    file: Path
    count: int
    rule: str
    made: MadePictures
    model: PictureAutoEncoder


@usual_modes()
def write_pictures(
    model: str | Path | Result,
    teacher: str | Teacher,
    out: str | Path,
    *,
    count: int = 10_000,
    rule: str = "neutral",
    task: TaskLike = None,
    seed: int = 0,
) -> PicturesWritten:
    """Draws `count` latents of the generator, decodes them by the teacher's decoder and writes them to `out` (.npz):
    pictures `x`, classes `y` and groups `s`.

    model: a run directory or a Result of fair4free. teacher: the autoencoder whose latents it learnt. rule: which group
    a picture is decoded for, one of teachers.autoencoder.decoding.RULES. Raises ConfigError, also where the file is
    there already; TeacherError, StudentError.
    """
    file = user_path(out)
    if file.suffix.lower() != ".npz":
        raise ConfigError(f"--out {file}: pictures are written as an .npz file")
    if not 1 <= count <= MOST:
        raise ConfigError(f"count={count}: expected 1 to {MOST:,} pictures")
    require_free(file)
    about = asked(model, task)
    loaded = about.teacher(teacher)
    source = loaded.capabilities.get(ENCODES)
    if not isinstance(source, PictureAutoEncoder):
        raise TeacherError(f"{loaded.source}: is no autoencoder of pictures; rows are written as a .csv file")
    if about.run_dir is not None:
        require_own(loaded, about.run_dir)
    chosen, stream = rule_of(rule, (), source), torch.Generator().manual_seed(seed)
    with borrowed(about.module):
        latents = draw_picture_latents(about.module, source.latent, count, stream)
    made = decoded_pictures(source, latents, chosen, stream)
    buffer = io.BytesIO()
    np.savez(buffer, x=made.images.numpy(), y=made.labels.numpy(), s=made.groups.numpy())
    try:
        write_atomic(file, buffer.getvalue())
    except OSError as fault:
        raise ConfigError(f"{file}: cannot be written ({reason(fault)})") from None
    return PicturesWritten(file, count, rule, made, source)


def draw_picture_latents(student: nn.Module, latent: int, count: int, stream: Generator) -> Tensor:
    """(count, Z) on the CPU. Raises StudentError for a generator that draws none, or some that are not finite."""
    if not isinstance(student, LatentPictures):
        raise StudentError("this generator draws no latents: distil it with --student latents:latent-mlp")
    with torch.no_grad(), fixed(student):
        parts = [min(AT_ONCE, count - start) for start in range(0, count, AT_ONCE)]
        drawn = [student(torch.randn(part, latent, generator=stream)).cpu() for part in parts]
        return torch.cat([finite(latents, "the generator", StudentError) for latents in drawn])
