"""What methods that keep a pool share: filling it, and teaching from it with or without fresh views."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import columns
from ..columns import Inputs
from ..contracts import Batch
from ..memory import Pool
from ..method import Context
from .augment import View, augment


def keep(pool: Pool, images: Inputs, targets: Tensor, context: Context, view: View) -> None:
    """Adds images (B, C, H, W), or inputs of another kind; where views are not augmented, the teacher is asked now and
    its answers are kept."""
    answers = None
    if view == "none" and not context.teacher_taps:
        with torch.no_grad():
            outputs = context.teacher(context.runtime.place(pool.codec.unpack(pool.codec.pack(images))))
        answers = context.teacher.network.outputs.pack(outputs.value)
    pool.add(images, targets if targets.ndim == 1 else targets.to(torch.uint8), answers)
    context.counters.add("samples", columns.count(images))


def draw(pool: Pool, context: Context, count: int, view: View) -> Batch:
    """`count` inputs from the pool with the teacher's answers; images are seen afresh, other kinds have no views."""
    pool.settle(context.runtime.device, context.runtime.room)
    pooled = pool.sample(count, context.streams("pool"))
    inputs = context.runtime.place(pooled.inputs)
    if view != "none":
        assert isinstance(inputs, Tensor)
        inputs = augment(inputs, view, context.streams("view"))
    # Of a run that this one began with answers may be there of images as they are, and views are others.
    kept, device = pooled.extras.get("logits") if view == "none" else None, context.runtime.device
    answers = None if kept is None else context.teacher.network.outputs.unpack(kept.to(device))
    return context.teach(inputs, targets=pooled.targets, answers=answers)
