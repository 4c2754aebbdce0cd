"""A model from clients that keep their data, trained in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ...config import validate
from ...errors import ConfigError
from ...federated.settings import FederateSettings
from ...files import user_path
from ...models.modes import usual_modes
from ..result import TaskLike, task_field
from .clients import Client, Clients
from .result import FederatedRun
from .run import run

__all__ = ["Client", "FederatedRun", "federate", "run"]


@usual_modes()
def federate(
    data: str | Path | None = None,
    method: str = "fedavg",
    out: str | Path = "run",
    resume: bool = False,
    *,
    clients: int | Clients = 20,
    network: nn.Module | str = "fedgen-cnn",
    task: TaskLike = None,
    **given: Any,
) -> FederatedRun:
    """Trains `method` over clients, in this process, into the directory `out`.

    data: a set that is dealt out to `clients` many; or None, and `clients` are one's own, as {name: images} or a list,
    where images are a path, (images, labels), or a Client with a test set of its own. network: a name, or a module,
    which is left as it is and copied; its weights are those of the start. given: the other fields of
    federated.settings.FederateSettings, such as rounds=50, partition={"alpha": 0.1}, options={...}.

    Raises UserError before the first round for wrong input, Interrupted after a signal (then resume=True continues
    exactly), SansdataError where no reply of any client could be taken.
    """
    own = None if isinstance(clients, int) else clients
    if own is not None and (isinstance(own, str) or not isinstance(own, (Mapping, Sequence))):
        raise ConfigError(
            f"clients={own!r:.80}: expected how many, or {{name: images}} of your own, or a list of images"
        )
    if (data is None) == (own is None):
        raise ConfigError("federate: give one of both: a set that is dealt out, or clients={name: images} of their own")
    if own is not None and not len(own):
        raise ConfigError("federate: at least one client is needed, as {name: images}, or a list of images")
    if own is not None and "partition" in given:
        raise ConfigError("federate: own clients are not dealt out; leave partition out")
    module = network if isinstance(network, nn.Module) else None
    named = {
        "data": f"{len(own)} clients in Python" if own is not None else str(data), "method": method,
        "clients": len(own) if own is not None else clients, "task": task_field(task),
        "network": network if isinstance(network, str) else f"a {type(network).__name__} in Python",
    }  # fmt: skip
    settings = validate(FederateSettings, named | given, "federate")
    command = f"sansdata.federate({named['data']!r}, {method!r}, seed={settings.seed})"
    return run(settings, user_path(out), resume, command, clients=own, module=module)
