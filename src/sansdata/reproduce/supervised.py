"""Training on real, labelled images: the teachers of our recipes. No method may import this room."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ..datasets.imageset import ImageSet
from ..decoding import pixels
from ..models.build import architecture_of, build
from ..network import Network
from ..runtime import make_runtime
from ..streams import Streams
from ..synthesis.augment import Augment, augment
from ..tasks import Task


def tensors(data: ImageSet) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 images (N, C, H, W) and int64 labels (N,)."""
    return torch.from_numpy(data.images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(data.labels)


def train(
    network: str | nn.Module,
    data: ImageSet,
    task: Task,
    epochs: int,
    batch: int = 128,
    lr: float = 0.1,
    weight_decay: float = 5e-4,
    view: Augment = "none",
    seed: int = 0,
) -> nn.Module:
    """A zoo network by name, or a module with its first weights, trained with SGD (Nesterov 0.9) and a one-cycle
    rate; the last epoch, in eval mode."""
    runtime, streams = make_runtime(), Streams(seed)
    with streams.as_global("teacher"):
        module = build(architecture_of(network, task)) if isinstance(network, str) else network
        module = runtime.place(module)
    images, labels = tensors(data)
    optimizer = torch.optim.SGD(module.parameters(), lr=lr, momentum=0.9, weight_decay=weight_decay, nesterov=True)
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    module.train()
    for step in range(steps):
        streams.begin(step)
        at = step % (len(images) // batch)
        if at == 0:
            order = torch.randperm(len(images), generator=streams("order"))
        ids = order[at * batch : (at + 1) * batch]
        inputs = augment(runtime.place(pixels.unpack(images[ids])), view, streams("view"))
        logits = runtime.forward(Network.of(module, task), inputs).logits
        F.cross_entropy(logits, labels[ids].to(runtime.device)).backward()
        runtime.step(optimizer)
        schedule.step()
    return module.eval()
