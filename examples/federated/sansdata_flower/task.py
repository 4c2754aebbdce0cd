"""What server and clients agree on: the settings of the run, and with them the partition and the first weights."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from sansdata.api.federate.world import World, prepare
from sansdata.federated.settings import FederateSettings


def settings_of(config: dict[str, Any], nodes: int) -> FederateSettings:
    """From Flower's flat run config. nodes: how many clients there are where the config says 0."""
    names = ("data", "network", "method", "preset", "rounds", "seed")
    given = {name: config[name] for name in names} | {
        "clients": config["clients"] or nodes, "active": config["active"] or None,
        "partition": {"alpha": config["alpha"]}, "options": json.loads(config["options"]), "threads": 1,
    }  # fmt: skip
    return FederateSettings.model_validate(given)


@lru_cache(maxsize=1)
def _world(text: str) -> World:
    return prepare(FederateSettings.model_validate_json(text))


def world(config: dict[str, Any], nodes: int) -> World:
    """The run before its first round, kept for this process.

    Every node deals the set out by itself and takes its own part. With data of your own, load them here instead.
    """
    return _world(settings_of(config, nodes).model_dump_json())
