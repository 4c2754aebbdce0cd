"""A run before its first round: data, clients, networks, server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...datasets.images import holdout, load_images
from ...datasets.imageset import ImageSet, pick
from ...datasets.npz import read_array
from ...errors import ConfigError, DataError, StudentError
from ...federated.algo import ClientContext, ServerContext
from ...federated.data import ClientData
from ...federated.in_process import InProcess, Wire
from ...federated.index import federated_config, find_server, require_task
from ...federated.partitions import Partition, indices_like, partition
from ...federated.scores import TestSet
from ...federated.settings import FederateSettings
from ...manner import suited
from ...models.build import architecture_of, build
from ...models.copying import duplicate, private_copy
from ...models.federated_nets import with_group_norm
from ...network import Network
from ...runtime import Runtime, make_runtime
from ...streams import Streams
from ...tasks import KNOWN_TASKS, Task, load_task
from .clients import Clients, Dealt, own_clients, tensor_of, test_set


@dataclass
class World:
    """A run before its first round, made from its settings, and from what the user brought, alone."""

    settings: FederateSettings
    task: Task
    architecture: dict[str, Any] | None
    """None where the network is a module of the user's."""
    config: Any
    partition: Partition
    notes: tuple[str, ...]
    run: InProcess
    tests: TestSet
    runtime: Runtime


def prepare(
    settings: FederateSettings,
    wire: Wire | None = None,
    clients: Clients | None = None,
    module: nn.Module | None = None,
) -> World:
    """Reads the data, deals it out, makes server and clients. clients, module: the user's own, in place of the set and
    the network that the settings name. Raises UserError for wrong input."""
    server_class = find_server(settings.method)
    config = federated_config(settings.method, settings.preset, settings.options)
    if not settings.task and settings.data not in KNOWN_TASKS:
        raise ConfigError(f"a task is needed with {settings.data}: --task (task= in Python), a YAML file or a name")
    task = load_task(settings.task or settings.data)
    require_task(settings.method, config, task)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    runtime = make_runtime(settings.device, "fp32")
    dealt = _deal(settings, task) if clients is None else own_clients(clients, task)
    streams = Streams(settings.seed)
    architecture, model, work = _networks(settings, task, streams, module)
    runtime, left_off = suited(runtime, {"the network": Network.of(model, task)}, task)
    server = server_class(
        config, ServerContext(task, runtime.place(model), len(dealt.train), settings.rounds, streams, runtime)
    )
    client = server_class.client(config, ClientContext(task, runtime.place(work), runtime, settings.batch_norm))
    data = [ClientData(tensor_of(one.images), torch.from_numpy(one.labels)) for one in dealt.train]
    run = InProcess(server, client, data, settings.active_clients, settings.seed, wire)
    return World(
        settings, task, architecture, config, dealt.partition, (*dealt.notes, *left_off), run, dealt.tests, runtime
    )


def _networks(
    settings: FederateSettings, task: Task, streams: Streams, module: nn.Module | None
) -> tuple[dict[str, Any] | None, nn.Module, nn.Module]:
    """The architecture, the server's network and the clients' work space; a user's module is copied."""
    if module is not None:
        model = own_network(settings, module)
        return None, model, duplicate(model)
    architecture = architecture_of(settings.network, task)
    if settings.batch_norm == "group":
        architecture = {"kind": "group-norm", "of": architecture}
    with streams.as_global("network"):
        model, work = (build(architecture, code=[settings.network]) for _ in range(2))
    return architecture, model, work


def own_network(settings: FederateSettings, module: nn.Module) -> nn.Module:
    """A copy of a user's module with the norms that the settings name. Raises StudentError where none can be made."""
    copied = private_copy(module, StudentError)
    return with_group_norm(copied) if settings.batch_norm == "group" else copied


def _deal(settings: FederateSettings, task: Task) -> Dealt:
    """A set in one place, dealt out by the settings' partition."""
    train, test, owners = _sets(settings, task)
    dealt = partition(train.labels, settings.clients, settings.partition, settings.seed, owners)
    per_client = tuple(
        indices_like(np.array(one["classes"] + [0] * (task.classes - len(one["classes"]))), test.labels,
                     settings.test_per_client, settings.seed + 1 + number)
        for number, one in enumerate(dealt.manifest["clients"])
    )  # fmt: skip
    parts = tuple(train.subset(own, "dealt out") for own in dealt.indices)
    return Dealt(parts, dealt, test_set([test], per_client), (*train.notes, *test.notes))


def _sets(settings: FederateSettings, task: Task) -> tuple[ImageSet, ImageSet, np.ndarray | None]:
    """(what is dealt out, what is tested on, owners). A set that is one split by itself gives a sixth for testing."""
    train, path = load_images(settings.data, task, "train"), Path(settings.data)
    alone = settings.data not in KNOWN_TASKS and path.exists()
    if settings.partition.scheme == "natural" and path.suffix == ".npz":
        owners = read_array(path, "owner")
        if len(owners) != len(train):
            raise DataError(f"{path}: {len(owners)} owners for {len(train)} images")
        rest, held = pick(train.labels, settings.holdout or max(1, len(train) // 6), seed=0)
        return train.subset(rest, "without those held out"), train.subset(held, "held out"), owners[rest]
    if settings.holdout:
        return *holdout(train, settings.holdout, seed=0), None
    if alone:
        return *holdout(train, max(1, len(train) // 6), seed=0), None
    return train, load_images(settings.data, task, "test"), None
