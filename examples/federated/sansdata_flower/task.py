"""What server and clients agree on: the settings of the run, and with them the partition and the first weights."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from sansdata.api.federate import World, prepare
from sansdata.federated.settings import FederateSettings


def settings_of(config: dict[str, Any]) -> FederateSettings:
    """From Flower's flat run config."""
    names = ("data", "network", "method", "preset", "clients", "active", "rounds", "seed")
    given = {name: config[name] for name in names}
    given |= {"partition": {"alpha": config["alpha"]}, "options": json.loads(config["options"]), "threads": 1}
    return FederateSettings.model_validate(given)


@lru_cache(maxsize=1)
def _world(text: str) -> World:
    return prepare(FederateSettings.model_validate_json(text))


def world(config: dict[str, Any]) -> World:
    """The run before its first round, kept for this process.

    Every node deals the set out by itself and takes its own part. With data of your own, load them here instead.
    """
    return _world(settings_of(config).model_dump_json())
