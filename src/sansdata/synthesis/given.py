"""Teaching from images of the user's pool: a random share of it, or those that a method chose."""

from __future__ import annotations

import torch
from torch import Tensor

from ..contracts import Batch
from ..decoding.image_pool import ImagePool
from ..method import Context
from .augment import Augment, augment


def pool_of(context: Context) -> ImagePool:
    """The pool of a run whose method requires one."""
    assert context.pool is not None, "Requirements.pool was not set"
    return context.pool


def random_share(context: Context, share: float) -> Tensor:
    """Ids (n,) int64 of a share 0..1 of the pool, sorted: the same on every rank and after a resume; never empty."""
    count = len(pool_of(context))
    ids = torch.randperm(count, generator=context.streams("share", shared=True))[: max(1, round(share * count))]
    return ids.sort().values


def draw(ids: Tensor, context: Context, count: int, view: Augment) -> Batch:
    """`count` of the images `ids` (n,), drawn evenly with replacement, seen afresh, with the teacher's answers."""
    picks = ids[torch.randint(len(ids), (count,), generator=context.streams("pool"))]
    images = context.runtime.place(pool_of(context).at(picks))
    batch = context.teach(augment(images, view, context.streams("view")))
    context.counters.add("samples", count)
    return batch
