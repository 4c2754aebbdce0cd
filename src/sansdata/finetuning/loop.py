"""Fine-tuning itself: the last layer, then what lies below it, on few cases, held near the weights at the start."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import columns
from ..columns import Inputs
from ..datasets.labelled import KindSet
from ..errors import DivergedError
from ..kinds.index import input_kind
from ..network import Network
from ..objectives.logits import kl
from ..streams import Streams
from ..tasks import Task
from .settings import FineTuneSettings
from .stages import renew_last_layer, stages_of


@dataclass(frozen=True, eq=False)
class Synthetic:
    """What was distilled on. packed: inputs as their kind stores them. logits (N, K) float32: the teacher's answers."""

    packed: Inputs
    logits: Tensor

    def __len__(self) -> int:
        return len(self.logits)


@dataclass(frozen=True, eq=False)
class Lesson:
    """What every stage learns from: the cases of `task` it is taught on, those that say when to stop, and what was
    distilled on, None where that is left out."""

    task: Task
    tuning: KindSet
    stopping: KindSet
    synthetic: Synthetic | None
    settings: FineTuneSettings


@dataclass(frozen=True)
class Stage:
    """name: 'head', 'block' or 'all'. losses: on the stopping fold, before the stage and after each epoch. kept: the
    epoch whose weights stay, 0 for those before it."""

    name: str
    losses: tuple[float, ...]
    kept: int


def fine_tune(
    network: Network, task: Task, tuning: KindSet, stopping: KindSet, synthetic: Synthetic | None,
    settings: FineTuneSettings, seed: int = 0,
) -> list[Stage]:  # fmt: skip
    """Moves the weights of `network` in place, and gives what each stage did. Statistics of BatchNorm stay, and nothing
    is dropped out: few cases cannot replace what was learned from many.

    synthetic: None leaves the distillation out. Raises DivergedError where a loss is not finite, StudentError where the
    last layer cannot be found, or begun anew where the settings ask for that.
    """
    module, streams = network.module.eval(), Streams(seed)
    if settings.last_layer == "fresh":
        renew_last_layer(network, task, seed)
    start = {name: value.detach().clone() for name, value in module.named_parameters()}
    lesson, done = Lesson(task, tuning, stopping, synthetic, settings), []
    for place, (name, free, rate) in enumerate(stages_of(settings, network, task)):
        streams.begin(place)
        with _alone_free(module, free):
            done.append(_stage(name, network, free, rate, start, lesson, streams))
    return done


def _stage(
    name: str, network: Network, free: list[str], rate: float, start: dict[str, Tensor], lesson: Lesson,
    streams: Streams,
) -> Stage:  # fmt: skip
    task, settings, synthetic = lesson.task, lesson.settings, lesson.synthetic
    named = dict(network.module.named_parameters())
    weights = [named[path] for path in free]
    optimiser = torch.optim.Adam(weights, rate)
    losses = [loss_on(network, task, lesson.stopping)]
    kept, best = 0, [weight.detach().clone() for weight in weights]
    for epoch in range(1, settings.epochs + 1):
        for ids in torch.randperm(len(lesson.tuning), generator=streams("cases")).split(settings.batch):
            loss = real_loss(network, task, lesson.tuning, ids)
            loss = loss + settings.anchor / 2 * sum((named[path] - start[path]).square().sum() for path in free)
            if synthetic is not None and settings.synthetic:
                chosen = torch.randint(0, len(synthetic), (settings.batch,), generator=streams("synthetic"))
                loss = loss + settings.synthetic * synthetic_loss(
                    network, task, synthetic, chosen, settings.temperature
                )
            if not torch.isfinite(loss):
                raise DivergedError(f"fine-tuning of the {name}: the loss is not finite; lower the rate of its stage")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        losses.append(loss_on(network, task, lesson.stopping))
        if losses[-1] < losses[kept]:
            kept, best = epoch, [weight.detach().clone() for weight in weights]
        elif epoch - kept >= settings.patience:
            break
    with torch.no_grad():
        for weight, value in zip(weights, best):
            weight.copy_(value)
    return Stage(name, tuple(losses), kept)


def real_loss(network: Network, task: Task, data: KindSet, ids: Tensor) -> Tensor:
    """Mean cross-entropy of the cases at ids (B,)."""
    inputs = input_kind(task).unpack(columns.take(data.packed, ids))
    return F.cross_entropy(network(inputs).value, torch.from_numpy(data.labels[ids.numpy()]))


def synthetic_loss(network: Network, task: Task, data: Synthetic, ids: Tensor, temperature: float) -> Tensor:
    """Mean KL to the teacher's answers at ids (B,), softened, times the square of the temperature."""
    inputs = input_kind(task).unpack(columns.take(data.packed, ids))
    return kl(network(inputs).value, data.logits[ids], temperature).mean()


def loss_on(network: Network, task: Task, data: KindSet) -> float:
    """Mean cross-entropy over a whole part, nats."""
    total = 0.0
    with torch.no_grad():
        for ids in torch.arange(len(data)).split(256):
            total += float(real_loss(network, task, data, ids)) * len(ids)
    return total / len(data)


@contextlib.contextmanager
def _alone_free(module: nn.Module, free: list[str]) -> Iterator[None]:
    """Only the named parameters learn; afterwards each is as free as it was."""
    before = {name: value.requires_grad for name, value in module.named_parameters()}
    try:
        for name, value in module.named_parameters():
            value.requires_grad_(name in free)
        yield
    finally:
        for name, value in module.named_parameters():
            value.requires_grad_(before[name])
            value.grad = None


def fidelity(network: Network, task: Task, data: Synthetic) -> float:
    """Share of the synthetic inputs on which the network names the teacher's class."""
    same = []
    with torch.no_grad():
        for ids in torch.arange(len(data)).split(256):
            inputs = input_kind(task).unpack(columns.take(data.packed, ids))
            same.append(network(inputs).value.argmax(1) == data.logits[ids].argmax(1))
    return float(np.mean(torch.cat(same).numpy()))
