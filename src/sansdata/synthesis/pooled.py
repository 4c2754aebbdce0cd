"""What methods that keep a pool share: filling it, and teaching from it with or without fresh views."""

from __future__ import annotations

import torch
from torch import Tensor

from ..contracts import Batch
from ..decoding import pixels
from ..memory import Pool
from ..method import Context
from .augment import View, augment


def keep(pool: Pool, images: Tensor, targets: Tensor, context: Context, view: View) -> None:
    """Adds images (B, C, H, W); where views are not augmented, the teacher is asked now and its answers are kept."""
    logits = None
    if view == "none" and not context.teacher_taps:
        with torch.no_grad():
            logits = context.teacher(context.runtime.place(pixels.unpack(pixels.pack(images)))).logits
    pool.add(images, targets, logits)
    context.counters.add("samples", len(images))


def draw(pool: Pool, context: Context, count: int, view: View) -> Batch:
    """`count` inputs from the pool with the teacher's answers; images are seen afresh, other kinds have no views."""
    pooled = pool.sample(count, context.streams("pool"))
    inputs = context.runtime.place(pooled.inputs)
    if view != "none":
        assert isinstance(inputs, Tensor)
        inputs = augment(inputs, view, context.streams("view"))
    logits = pooled.extras.get("logits")
    device = context.runtime.device
    return context.teach(inputs, targets=pooled.targets, answers=None if logits is None else logits.to(device))
