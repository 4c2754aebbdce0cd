"""ZeroQ's distilled batch: inputs that BatchNorm layers take for the data they were trained on.

Cai et al. 2020, "ZeroQ: a novel zero shot quantization framework", section 3.1. Each input by itself is to have the
statistics that the layers remember. The layers' own inputs are read, whatever convolutions stand where.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ..errors import TeacherError
from ..models.device import device_of
from ..models.modes import fixed
from ..models.taps import forward
from ..network import Network
from ..objectives.batch_stats import sample_statistics_distance

STEPS = 500
LR = 0.5
PATIENCE, LEAST_LR = 100, 1e-4


@dataclass(frozen=True)
class DistilledBatch:
    """inputs (N, C, H, W) as the network takes them, of any value. first, last: the loss on noise, and at the end."""

    inputs: Tensor
    first: float
    last: float


def distilled_batch(
    network: Network, norms: tuple[str, ...], shape: tuple[int, int, int], count: int, generator: Generator,
    steps: int = STEPS,
) -> DistilledBatch:  # fmt: skip
    """`count` inputs of standard normal noise, moved for `steps` steps of Adam.

    Deviation: the release divides its uniform noise by its variance, not by the root of that, and so begins at inputs
    that are nearly constant (a deviation of 0.014).

    norms: paths of BatchNorm layers that run once in a pass. Raises TeacherError where there are none.
    """
    if not norms:
        raise TeacherError("the network has no BatchNorm statistics that inputs could be matched to")
    module, device = network.module, device_of(network.module)
    layers = [module.get_submodule(path) for path in norms]
    targets = [(layer.running_mean, (layer.running_var + 1e-6).sqrt()) for layer in layers]  # type: ignore[operator]
    targets.append((torch.zeros(shape[0], device=device), torch.ones(shape[0], device=device)))
    taps = tuple(f"{path}:input" for path in norms)
    inputs = torch.randn(count, *shape, generator=generator).to(device).requires_grad_(True)
    optimizer = torch.optim.Adam([inputs], lr=LR)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=PATIENCE, min_lr=LEAST_LR)
    losses = []
    with fixed(module):
        for _ in range(steps):
            outputs = forward(module, inputs, taps, network.outputs.read)
            statistics_at = [*(outputs.taps[tap] for tap in taps), inputs]
            loss = torch.stack(
                [sample_statistics_distance(x, mean, std) for x, (mean, std) in zip(statistics_at, targets)]  # type: ignore[arg-type]
            ).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
            schedule.step(losses[-1])
    return DistilledBatch(inputs.detach(), losses[0], losses[-1])
