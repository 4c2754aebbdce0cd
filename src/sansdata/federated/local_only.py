"""What each client would have alone: the figure beside which a federated one is read."""

from __future__ import annotations

from collections.abc import Callable

from .in_process import InProcess
from .local import LocalTraining
from .round import client_streams, select


def local_only_model(run: InProcess, statistics: bool) -> Callable[[int], None]:
    """A function of a client's number that leaves in the clients' work space what this client gets from the common
    start by its own images alone, with no fewer steps than it has taken in the run. statistics: whether BatchNorm's may
    move.

    A client that has a global model to personalise trains for one round more there, and so does it here.
    """
    took_part: dict[int, list[int]] = {client: [] for client in range(len(run.data))}
    for round in range(run.round):
        for client in select(run.seed, round, len(run.data), run.active):
            took_part[client].append(round)
    extra = [run.round] if run.server.has_global_model else []

    def train(client: int) -> None:
        context = run.client.context
        context.model.load_state_dict(run.first)
        training = LocalTraining(context.model, context.task, context.runtime, run.client.config.local, statistics)
        for round in took_part[client] + extra:
            training.run(run.data[client], round, client_streams(run.seed, client, round))

    return train
