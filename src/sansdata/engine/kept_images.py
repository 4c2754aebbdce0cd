"""Some of what a run synthesised, kept beside the student for uses that come later: `sansdata compress` reads it."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

from ..files import write_atomic
from ..memory import Pool, Reservoir
from . import selection
from .run_directory import RunDirectory
from .session import Session

FILE = "images.npz"


def keep_images(directory: RunDirectory, session: Session, reservoir: Reservoir, count: int) -> None:
    """Writes images.npz: `x` uint8 (N, H, W, C), N at most `count`, `y` int64 (N,) the teacher's class of each, and its
    `logits` float32 (N, K): a file that is also a labelled set."""
    if count == 0:
        return
    images = evenly(synthesised(session, reservoir), count)
    logits = selection.answers(session.context.teacher.module, images, session.context)
    buffer = io.BytesIO()
    plain = images.permute(0, 2, 3, 1).contiguous().numpy()
    np.savez_compressed(buffer, x=plain, y=logits.argmax(1).numpy(), logits=logits.float().numpy())
    write_atomic(directory.path / FILE, buffer.getvalue())


def synthesised(session: Session, reservoir: Reservoir) -> Tensor:
    """uint8 (N, C, H, W): the method's pool as it was made, or where it has none what the student saw over the run."""
    pools = [part for part in session.method.state().values() if isinstance(part, Pool) and len(part)]
    if pools and pools[0].images is not None:
        return pools[0].images[: len(pools[0])]
    assert reservoir.images is not None
    return reservoir.images


def evenly(images: Tensor, count: int) -> Tensor:
    """At most `count` of images (N, ...), spread evenly over them."""
    if len(images) <= count:
        return images
    return images[torch.linspace(0, len(images) - 1, count).round().long()]
