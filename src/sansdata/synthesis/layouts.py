"""Which masks the next images should show, where a task asks for a class at each pixel: layouts.

Ours: nothing was published on what an inversion should ask of a segmentation teacher, whose answers have a shape.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arithmetic import ceil_div
from ..tasks import Task
from .labels import random_labels

GRAIN = 8
"""About how many regions lie side by side across a layout."""
UNASKED = -100
"""The label of a pixel that nothing is asked of: what torch's cross entropy leaves out."""


def random_targets(count: int, task: Task, generator: torch.Generator) -> Tensor:
    """What `count` images are to show: of classes (count,) int64, of masks layouts (count, H, W) int64."""
    if task.pair[1] == "classes":
        return random_labels(count, task.classes, generator)
    return random_layouts(count, task.classes, task.outputs.size, generator)


def random_layouts(count: int, classes: int, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """(count, H, W) int64: round regions, each of the class whose smooth noise is highest there; classes equally
    likely."""
    coarse = [max(2, min(GRAIN, ceil_div(side, 2))) for side in size]
    noise = torch.randn(count, classes, *coarse, generator=generator)
    return F.interpolate(noise, tuple(size), mode="bicubic").argmax(1)


def together(change: Callable[[Tensor], Tensor], images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """`change` of images (B, C, H, W) and, where targets are layouts (B, H, W), the same change of them; what comes in
    from beyond the border is UNASKED."""
    if targets.ndim == 1:
        return change(images), targets
    joined = change(torch.cat([images, targets[:, None].to(images) + 1], 1))
    moved = joined[:, -1].detach().round().long() - 1
    return joined[:, :-1], moved.masked_fill(moved < 0, UNASKED)
