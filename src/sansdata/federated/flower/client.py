"""A ClientApp around the client half of any method: it trains, it is measured, and it keeps what is its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ResumeError
from ..algo import ClientAlgo, Memory
from ..data import ClientData
from ..fedavg import MODEL
from ..payload import Payload
from ..round import client_streams
from ..scores import TestSet, majority_share
from .home import Home
from .mods import shielded
from .records import flower, from_records, to_records

MEMORY, KEPT, CLIENT, TIMING = "memory", "kept", "client", "timing"
RUN, SINCE, LAST = "run", "since", "last"
"""Facts that the server adds to a message: the name of the run; how many rounds it has saved and cannot lose; whether
this was the last round."""


@dataclass
class Node:
    """What one node brings to a run.

    algorithm: the client half. data: its images. seed: of the run, the same at every node. test: images that it is
    measured on; None takes part in no evaluation. folder: on its own disk, where it keeps what a resumed run needs and,
    after the last round, its model; None remembers only as long as the process lives. architecture: as models.build
    writes it, for that model's file.
    """

    algorithm: ClientAlgo
    data: ClientData
    seed: int
    test: ClientData | None = None
    folder: str | Path | None = None
    architecture: Mapping[str, Any] | None = None


def make_client_app(load: Callable[[Any], Node], mods: Sequence[Any] = ()) -> Any:
    """The ClientApp. load(context) gives the node; it may keep it. mods: of Flower's kind, around training, such as
    LocalDpMod; they see the floating tensors of the messages, and none of the counters.

    The client id is the node's `partition-id`. What a client keeps from round to round lies in the node's folder, by
    round, since a server that is resumed asks again for rounds that the node has already made; without a folder in
    context.state.
    """
    from flwr.app import Context, Message, MetricRecord  # pyright: ignore
    from flwr.clientapp import ClientApp  # pyright: ignore[reportMissingImports]

    flower()
    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        """Which client this node is."""
        return Message(to_records(Payload(facts={CLIENT: _id(context)})), reply_to=message)

    @app.train(mods=[shielded(mods)] if mods else None)
    def train(message: Message, context: Context) -> Message:
        node, payload = load(context), from_records(message.content)
        memory, start = _memory(node, context, payload), time.perf_counter()
        streams = client_streams(node.seed, _id(context), payload.facts["round"])
        reply = node.algorithm.answer(payload, node.data, memory, streams)
        seconds = time.perf_counter() - start
        _keep(node, context, payload, memory)
        records = to_records(reply)
        records[TIMING] = MetricRecord({"seconds": seconds})
        return Message(records, reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        """Accuracies on the node's own test images; nothing of the run changes. After the last round the node keeps
        the model that it would use."""
        node, payload = load(context), from_records(message.content)
        facts = measure(node, payload, _memory(node, context, payload), _id(context))
        if payload.facts.get(LAST) and node.folder is not None:
            about = {"client": _id(context), "rounds": payload.facts["round"], "run": payload.facts.get(RUN, "")}
            Home(node.folder).keep_model(node.algorithm.context, node.architecture, about)
        return Message(to_records(Payload(facts=facts)), reply_to=message)

    return app


def measure(node: Node, payload: Payload, memory: Memory, client: int) -> dict[str, Any]:
    """Facts: `examples`, and `global`, `personal` and `majority` accuracies on the node's test images, those of them
    that there are. Afterwards the node's own model is in the work space."""
    context, facts = node.algorithm.context, {"round": payload.facts["round"], "examples": 0}
    tests = None if node.test is None else TestSet(node.test.images, node.test.labels, ())

    def accuracy() -> float:
        assert tests is not None
        return float(tests.correct(context.model, context.task, context.runtime).mean())

    if tests is not None:
        counts = node.data.counts(context.task.classes)
        facts |= {"examples": len(tests.labels), "majority": majority_share(counts, tests.labels)}
        if MODEL in payload.parts:
            context.model.load_state_dict(payload.parts[MODEL])
            facts["global"] = accuracy()
    if tests is None and not payload.facts.get(LAST):
        return facts
    streams = client_streams(node.seed, client, payload.facts["round"])
    node.algorithm.personalise(payload, node.data, memory, streams)
    return facts | ({"personal": accuracy()} if tests is not None else {})


def _memory(node: Node, context: Any, payload: Payload) -> Memory:
    """What the client knew before the round that it is asked for. Raises ResumeError where that is gone."""
    run, round = payload.facts.get(RUN, ""), payload.facts["round"]
    if node.folder is not None:
        return Home(node.folder).memory(run, round)
    if MEMORY not in context.state or context.state.config_records[KEPT]["run"] != run:
        return {}
    if context.state.config_records[KEPT]["round"] >= round:
        raise ResumeError(
            f"round {round} was made already, and what was known before it is gone: give the node a folder"
        )
    return dict(context.state.array_records[MEMORY].to_torch_state_dict())


def _keep(node: Node, context: Any, payload: Payload, memory: Memory) -> None:
    from flwr.app import ArrayRecord, ConfigRecord  # pyright: ignore[reportMissingImports]

    if not memory:
        return
    run, round = payload.facts.get(RUN, ""), payload.facts["round"]
    if node.folder is not None:
        Home(node.folder).keep(run, round, payload.facts.get(SINCE, round), memory)
    else:
        context.state[MEMORY] = ArrayRecord(memory)
        context.state[KEPT] = ConfigRecord({"run": run, "round": round})


def _id(context: Any) -> int:
    return int(context.node_config["partition-id"])
