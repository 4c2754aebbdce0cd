"""The ClientApp."""

from __future__ import annotations

from typing import Any

from sansdata.federated.algo import ClientAlgo
from sansdata.federated.data import ClientData
from sansdata.federated.flower.client import make_client_app
from sansdata_flower.task import world


def load(context: Any) -> tuple[ClientAlgo, ClientData, int]:
    """The client half, this node's images, the seed."""
    here = world(context.run_config)
    return here.run.client, here.run.data[int(context.node_config["partition-id"])], here.settings.seed


app = make_client_app(load)
