"""A tiny federation: four clients with a few images of 8x8 pixels each, and any method on it."""

from __future__ import annotations

from typing import Any

import torch
from tiny import CLASSES, make_task
from torch import nn

from sansdata.config import merged
from sansdata.federated.algo import ClientContext, ServerContext
from sansdata.federated.data import ClientData
from sansdata.federated.in_process import InProcess, Wire
from sansdata.federated.index import federated_config, find_server
from sansdata.federated.settings import BatchNorm
from sansdata.runtime import Runtime
from sansdata.streams import Streams

STEPS, BATCH = 3, 4
LOCAL = {"steps": STEPS, "batch": BATCH, "lr": 0.05}
SIZES = (9, 12, 7, 15)
OPTIONS: dict[str, dict[str, Any]] = {
    "fedavg": {"local": LOCAL},
    "fedprox": {"local": LOCAL},
    "feddyn": {"local": LOCAL},
    "scaffold": {"local": LOCAL},
    "fedgen": {"local": LOCAL, "batch": 4, "generator_steps": 3, "hidden": 8, "noise_size": 4},
    "fedftg": {
        "on": {"local": LOCAL},
        "distil": {"iterations": 2, "distil_steps": 2, "latent": 4, "width": 4, "transfer": {"batch": 6}},
    },
    "fedd2s": {"local": LOCAL, "cuts": [2, 1], "every": 2},
}
"""A row per method: tiny settings under which four rounds pass through everything it does."""


def make_net(seed: int = 0) -> nn.Module:
    """Two blocks and a predictor, with BatchNorm."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU()),
            nn.Sequential(nn.Flatten(), nn.Linear(64, 6)),
            nn.Linear(6, CLASSES),
        )


def make_data(client: int, size: int | None = None) -> ClientData:
    """Images of one client; what class an image has can be seen in it. Client k has classes k and k + 1 only."""
    size = SIZES[client % len(SIZES)] if size is None else size
    random = torch.Generator().manual_seed(100 + client)
    labels = (client + torch.randint(2, (size,), generator=random)) % CLASSES
    images = torch.randint(0, 100, (size, 1, 8, 8), generator=random)
    images[torch.arange(size), 0, 2 * labels] += 120
    return ClientData(images.to(torch.uint8), labels)


def make_run(
    method: str = "fedavg",
    options: dict[str, Any] | None = None,
    clients: int = 4,
    active: int = 3,
    seed: int = 0,
    batch_norm: BatchNorm = "average",
    wire: Wire | None = None,
    preset: str = "default",
    rounds: int = 4,
    make: Any = make_net,
) -> InProcess:
    given = merged(OPTIONS[method], options or {})
    config, server, task = federated_config(method, preset, given), find_server(method), make_task()
    context = ServerContext(task, make(), clients, rounds, Streams(seed), Runtime())
    client = server.client(config, ClientContext(task, make(), Runtime(), batch_norm))
    data = [make_data(number) for number in range(clients)]
    return InProcess(server(config, context), client, data, active, seed, wire)


def model_of(run: InProcess) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.server.context.model.state_dict().items()}


def model_bytes(module: nn.Module) -> int:
    return sum(value.numel() * value.element_size() for value in module.state_dict().values())
