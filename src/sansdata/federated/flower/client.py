"""A ClientApp around the client half of any method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..algo import ClientAlgo
from ..data import ClientData
from ..payload import Payload
from ..round import client_streams
from .records import flower, from_records, to_records

MEMORY, CLIENT = "memory", "client"


def make_client_app(load: Callable[[Any], tuple[ClientAlgo, ClientData, int]]) -> Any:
    """The ClientApp. load(context) gives the client half, this node's data and the seed of the run; it may keep them.

    The client id is the node's `partition-id`. What a client keeps from round to round lies in context.state.
    """
    from flwr.app import ArrayRecord, Context, Message  # pyright: ignore[reportMissingImports]
    from flwr.clientapp import ClientApp  # pyright: ignore[reportMissingImports]

    flower()
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        """Which client this node is."""
        return Message(to_records(Payload(facts={CLIENT: _id(context)})), reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        algorithm, data, seed = load(context)
        payload, state = from_records(message.content), context.state
        memory = dict(state.array_records[MEMORY].to_torch_state_dict()) if MEMORY in state else {}
        streams = client_streams(seed, _id(context), payload.facts["round"])
        reply = algorithm.answer(payload, data, memory, streams)
        if memory:
            state[MEMORY] = ArrayRecord(memory)
        return Message(to_records(reply), reply_to=message)

    return app


def _id(context: Any) -> int:
    return int(context.node_config["partition-id"])
