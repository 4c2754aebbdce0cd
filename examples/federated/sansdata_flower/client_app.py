"""The ClientApp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sansdata.federated.data import ClientData
from sansdata.federated.flower.client import Node, make_client_app
from sansdata_flower.task import world


def load(context: Any) -> Node:
    """The client half, this node's images and its tests, the seed, and where it keeps what is its own."""
    client = int(context.node_config["partition-id"])
    here = world(context.run_config, int(context.node_config["num-partitions"]))
    tests, own = here.tests, here.tests.per_client[client]
    test = ClientData(tests.images[own], tests.labels[own]) if len(own) else None
    folder = context.node_config.get("folder") or context.run_config["folder"]
    return Node(
        here.run.client, here.run.data[client], here.settings.seed, test,
        Path(str(folder)) / f"client-{client:03d}" if folder else None, here.architecture,
    )  # fmt: skip


app = make_client_app(load)  # with Flower's differential privacy: make_client_app(load, [LocalDpMod(...)])
