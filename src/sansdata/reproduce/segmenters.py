"""Training on real, labelled masks: the teachers of the recipes of segmentation, trained once and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..columns import Inputs
from ..datasets.labelled import KindSet
from ..datasets.load import load_set
from ..kinds.index import input_kind
from ..models.build import architecture_of, build
from ..network import Network
from ..runtime import make_runtime
from ..streams import Streams
from ..synthesis.augment import augment
from ..synthesis.layouts import UNASKED, together
from ..tasks import VOID, Task
from .teachers import cache, keep_weights

BATCH, LR = 16, 3e-3
"""Adam's rate at its highest; one cycle."""


def training_masks(data: str, task: Task, held_out: float) -> tuple[KindSet, KindSet]:
    """(training set, its last share `held_out`), in order: tiles of one image, and images of one volume, are alike."""
    whole = load_set(data, task, "train")
    assert isinstance(whole, KindSet)
    cut = round(len(whole) * (1 - held_out))
    order = np.arange(len(whole))
    return whole.subset(order[:cut]), whole.subset(order[cut:], "held out")


def ensure_segmenter(data: str, task: Task, network: str, steps: int, held_out: float) -> Path:
    """The file of a network trained on the masks of `data`, without those held out; made where it is not there yet."""
    size = "x".join(map(str, task.shape[1:]))
    path = cache() / f"{data}-{size}-{network}-{steps}.safetensors"
    if not path.is_file():
        print(f"training the teacher {network} for {steps} steps", flush=True)
        module = train(network, training_masks(data, task, held_out)[0], task, steps)
        keep_weights(path, module)
    return path


def train(name: str, data: KindSet, task: Task, steps: int, seed: int = 0) -> nn.Module:
    """A zoo network trained with cross entropy on random crops and flips; the last step, in eval mode."""
    runtime, streams, kind = make_runtime(), Streams(seed), input_kind(task)
    with streams.as_global("teacher"):
        module = runtime.place(build(architecture_of(name, task)))
    optimizer = torch.optim.Adam(module.parameters(), lr=LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)
    masks = torch.from_numpy(data.labels).long()
    masks = masks.masked_fill(masks == VOID, UNASKED)
    weight = class_weights(masks, task.classes)
    module.train()
    for step in range(steps):
        streams.begin(step)
        ids = torch.randint(len(data), (BATCH,), generator=streams("order"))
        inputs, targets = _view(kind.unpack(_at(data.packed, ids)), masks[ids], streams)
        logits = runtime.forward(Network.of(module, task), runtime.place(inputs)).value
        F.cross_entropy(logits, targets.to(runtime.device), weight.to(runtime.device), ignore_index=UNASKED).backward()
        runtime.step(optimizer)
        schedule.step()
    return module.eval()


def class_weights(masks: Tensor, classes: int) -> Tensor:
    """(K,) the inverse square root of each class's share of the pixels, of mean 1: thin and rare things count too."""
    counts = torch.bincount(masks[masks >= 0], minlength=classes).float()
    weights = (counts / counts.sum()).clamp_min(1e-3) ** -0.5
    return weights / weights.mean()


def _at(packed: Inputs, ids: Tensor) -> Tensor:
    assert isinstance(packed, Tensor)
    return packed[ids]


def _view(images: Inputs, masks: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
    assert isinstance(images, Tensor)
    return together(lambda seen: augment(seen, "crop+flip", streams("view")), images, masks.clamp_min(-1))
