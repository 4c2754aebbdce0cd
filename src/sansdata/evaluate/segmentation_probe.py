"""What a classifier's inner maps are worth for segmentation: a linear head on them, pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arithmetic import ceil_div
from ..datasets.masks import UNCOUNTED, MaskSet
from ..errors import DataError, StudentError
from ..kinds.outputs.class_metrics import confusion_matrix
from ..kinds.outputs.mask_metrics import mean_iou
from ..models.modes import fixed
from ..network import Network
from ..runtime import Runtime
from ..tasks import Task
from ..training.added_terms import stage_ends
from .transfer_probe import LinearProbe

BATCH = 32
PIXELS = 20_000
"""Of the training tiles, drawn with seed 0: what the head learns from."""


def probe_mean_iou(module: nn.Module, task: Task, train: MaskSet, test: MaskSet, runtime: Runtime) -> float:
    """Mean IoU on `test` of a linear head that learnt on frozen maps of `train`; both in tiles of the task's shape.

    A pixel's features are those of the last map of each size, enlarged to the tile (hypercolumns, Hariharan et al.
    2015): a linear head on them is a 1x1 convolution of each map, added after enlarging.
    Raises StudentError for a network without maps, DataError where the training pixels show one class only.
    """
    taps = stage_ends(Network.of(module, task), torch.zeros(2, *task.shape))
    if not taps:
        raise StudentError(f"{type(module).__name__}: found no inner maps of more than one pixel to segment by")
    draws = torch.Generator().manual_seed(0)
    each = max(1, ceil_div(PIXELS, len(train)))
    columns, labels = [], []
    for maps, masks in _maps(module, task, train, taps, runtime):
        place = torch.randint(masks.shape[1], (len(masks), each), generator=draws)
        columns.append(maps.gather(1, place[..., None].expand(-1, -1, maps.shape[2])).flatten(0, 1))
        labels.append(masks.gather(1, place).flatten())
    features, known = torch.cat(columns).double().numpy(), torch.cat(labels).numpy()
    counted = known != UNCOUNTED
    if len(np.unique(known[counted])) < 2:
        raise DataError(f"{train.source}: the pixels to learn from show one class only")
    probe = LinearProbe(features[counted], known[counted])
    confusion = np.zeros((train.classes, train.classes), np.int64)
    for maps, masks in _maps(module, task, test, taps, runtime):
        truth = masks.flatten().numpy()
        answers = probe.predict(maps.flatten(0, 1).double().numpy())
        confusion += confusion_matrix(truth[truth != UNCOUNTED], answers[truth != UNCOUNTED], train.classes)
    return mean_iou(confusion)


def _maps(
    module: nn.Module, task: Task, data: MaskSet, taps: tuple[str, ...], runtime: Runtime
) -> Iterator[tuple[Tensor, Tensor]]:
    """(maps (B, H x W, D), masks int64 (B, H x W)) on the CPU, in order."""
    size = task.shape[1:]
    with torch.no_grad(), fixed(runtime.place(module)):
        for start in range(0, len(data), BATCH):
            images = torch.from_numpy(np.ascontiguousarray(data.images[start : start + BATCH])).permute(0, 3, 1, 2)
            features = runtime.forward(Network.of(module, task), runtime.place(images.float().div(255)), taps).taps
            maps = [F.interpolate(features[tap].float(), size, mode="bilinear") for tap in taps]
            masks = torch.from_numpy(data.masks[start : start + BATCH].astype(np.int64))
            yield torch.cat(maps, 1).flatten(2).transpose(1, 2).cpu(), masks.flatten(1)
