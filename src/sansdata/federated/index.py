"""The table of federated methods, and their settings."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ..config import settings_of
from ..errors import MethodError, did_you_mean
from ..tasks import Task
from .algo import ServerAlgo

FEDERATED: dict[str, tuple[str, str]] = {
    "fedavg": ("fedavg:FedAvg", "mean of the clients' models (McMahan 2017): the baseline"),
    "fedprox": ("fedprox:FedProx", "clients held near the model they were sent (Li 2020)"),
    "feddyn": ("feddyn:FedDyn", "clients' losses bent towards the common optimum (Acar 2021)"),
    "scaffold": ("scaffold:Scaffold", "control variates against the clients' drift (Karimireddy 2020)"),
    "fedgen": ("fedgen:FedGen", "clients also learn from features by class that a generator makes (Zhu 2021)"),
    "fedftg": (
        "fedftg:FedFTG",
        "the average is fine-tuned on the server without data, on any of the hosts (Zhang 2022)",
    ),
    "fedd2s": (
        "fedd2s:FedD2S",
        "personal models that exchange features, deep to shallow; a reconstruction (Atapour 2024)",
    ),
}
"""Name -> (module:server class, one line)."""


def find_server(name: str) -> type[ServerAlgo]:
    """The server half. Raises MethodError for an unknown name."""
    if name not in FEDERATED:
        raise MethodError(f"unknown federated method '{name}'. {did_you_mean(name, FEDERATED)}")
    module, _, attribute = FEDERATED[name][0].partition(":")
    return getattr(import_module(f".{module}", __package__), attribute)


def require_task(name: str, config: Any, task: Task) -> None:
    """Raises MethodError where the method does not work on the kinds of this task."""
    reason = find_server(name).requires(config).unmet_by(task.pair)
    if reason:
        raise MethodError(
            f"federated method '{name}' cannot work on this task: {reason}. Give --data and --task of a set that it "
            "takes; a model of this task that is already trained is distilled by `sansdata distill`"
        )


def federated_config(name: str, preset: str = "default", options: Mapping[str, Any] | None = None) -> Any:
    """The method's settings: its defaults, then the preset's, then the user's.

    Raises MethodError for an unknown preset, ConfigError for a wrong setting.
    """
    server = find_server(name)
    return settings_of(server.Config, server.presets, preset, options or {}, f"method '{name}'")
