"""The same algorithms over Flower's messages: the same weights as in process. Needs flwr, in a venv of its own."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
import torch
from tiny import differing
from tiny_clients import make_net, make_run, model_of

flwr_app = pytest.importorskip(
    "flwr.app", reason="flwr is not installed, so nothing was tested of the algorithms on Flower: pip install .[flower]"
)

from flwr.app import Array, Context, Error, Message, RecordDict  # noqa: E402  # pyright: ignore
from flwr.common.constant import SType  # noqa: E402  # pyright: ignore
from flwr.serverapp import Grid  # noqa: E402  # pyright: ignore
from flwr.supercore.task_identity import TaskIdentity  # noqa: E402  # pyright: ignore

from sansdata.errors import ReplyRefused  # noqa: E402
from sansdata.federated.flower.client import make_client_app  # noqa: E402
from sansdata.federated.flower.records import from_records, to_records  # noqa: E402
from sansdata.federated.flower.strategy import make_strategy  # noqa: E402
from sansdata.federated.index import FEDERATED  # noqa: E402
from sansdata.federated.payload import Payload  # noqa: E402

ROUNDS = 3


class DirectGrid(Grid):
    """Calls the ClientApp of each node at once, answers in the wrong order; node ids are not client ids."""

    def __init__(self, app, clients: int, broken: tuple[int, int] | None = None) -> None:
        self.app, self.broken = app, broken
        self.contexts = {
            900 - client: Context(1, 900 - client, {"partition-id": client}, RecordDict(), {})
            for client in range(clients)
        }
        self.asked: list[str] = []

    def set_run(self, run) -> None: ...

    @property
    def run(self):
        raise NotImplementedError  # abstract in Grid; the strategy must not ask for it

    def create_message(self, *given, **named):
        raise NotImplementedError  # abstract in Grid; the strategy must not ask for it

    def get_node_ids(self):
        return list(self.contexts)

    def push_messages(self, messages):
        raise NotImplementedError  # abstract in Grid; the strategy must not ask for it

    def pull_messages(self, message_ids):
        raise NotImplementedError  # abstract in Grid; the strategy must not ask for it

    def send_and_receive(self, messages, *, timeout=None):
        assert [message.metadata.message_type for message in messages].count("train") <= 4  # Flower goes through twice
        replies = []
        for message in messages:
            self.asked.append(message.metadata.message_type)
            node = message.metadata.dst_node_id
            round = from_records(message.content).facts.get("round")
            if (900 - node, round) == self.broken:
                replies.append(Message(Error(code=0, reason="crashed"), reply_to=message))
                continue
            TaskIdentity.node_id = node
            replies.append(self.app(message, self.contexts[node]))
            TaskIdentity.node_id = 1
        return replies[::-1]


@pytest.fixture(autouse=True)
def identity(monkeypatch):
    """What Flower sets before it runs an app; without it no Message can be made."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1


def federate(method: str, broken: tuple[int, int] | None = None, **options):
    """A run through Flower's records: server, grid and the lines of metrics."""
    run = make_run(method, **options)
    app = make_client_app(lambda context: (run.client, run.data[int(context.node_config["partition-id"])], run.seed))
    grid, lines = DirectGrid(app, len(run.data), broken), []
    strategy = make_strategy(run.server, run.active, run.seed, lines.append)
    result = strategy.start(grid, strategy.initial_arrays(), ROUNDS)
    return run, grid, lines, result


@pytest.mark.parametrize("method", FEDERATED)
def test_the_same_weights_as_in_process(method):
    run, grid, lines, result = federate(method)
    plain = make_run(method)
    expected = [plain.run_round() for _ in range(ROUNDS)]
    assert not differing(model_of(plain), model_of(run))
    assert not differing(model_of(plain), dict(result.arrays.to_torch_state_dict()))
    assert grid.asked.count("query") == 4
    for line, other in zip(lines, expected):
        for name in ("round", "clients", "taken", "down", "up", "figures"):
            assert line[name] == other[name], name


def test_a_crashed_client_is_lost_and_the_round_goes_on():
    run, _, lines, _ = federate("fedavg", broken=(2, 1), active=4)
    assert [line["taken"] for line in lines] == [4, 3, 4]
    assert lines[1]["lost"][0]["client"] == 2
    assert "crashed" in lines[1]["lost"][0]["reason"]
    assert run.server.context.clients == 4


def test_a_node_that_is_gone_is_not_asked():
    run = make_run(active=4)
    app = make_client_app(lambda context: (run.client, run.data[int(context.node_config["partition-id"])], 0))
    grid, lines = DirectGrid(app, 4), []

    def gone(line) -> None:
        lines.append(line)
        grid.contexts.pop(899, None)

    strategy = make_strategy(run.server, 4, 0, gone)
    strategy.start(grid, strategy.initial_arrays(), 2)
    assert [line["taken"] for line in lines] == [4, 3]
    assert lines[1]["lost"] == [{"client": 1, "reason": "no reply: the node is gone, or too late"}]


def spoiled(value):
    """An app whose client 1 answers with this in place of its first tensor."""

    def spoil(reply: Message) -> Message:
        records = reply.content.array_records["model"]
        records[next(iter(records))] = value
        return reply

    return spoil


HOSTILE = {
    "nan": (Array(np.full((6, 1, 3, 3), np.nan, dtype=np.float32)), "shape|nan"),
    "text": (Array(np.array(["a", "b"])), "no payload"),
    "a pickle": (Array("float32", (1,), SType.NUMPY, pickle.dumps(print)), "no payload"),
    "noise": (Array("float32", (1,), SType.NUMPY, b"x" * 50), "no payload"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_reply_is_refused_by_client_and_reason(case):
    value, reason = HOSTILE[case]
    run = make_run(active=4)
    app = make_client_app(lambda context: (run.client, run.data[int(context.node_config["partition-id"])], 0))
    change, lines = spoiled(value), []

    def answer(message: Message, context: Context) -> Message:
        reply = app(message, context)
        bad = context.node_config["partition-id"] == 1 and message.metadata.message_type == "train"
        return change(reply) if bad else reply

    strategy = make_strategy(run.server, 4, 0, lines.append)
    strategy.start(DirectGrid(answer, 4), strategy.initial_arrays(), 1)
    assert lines[0]["taken"] == 3
    assert [one["client"] for one in lines[0]["refused"]] == [1]
    assert re.search(reason, lines[0]["refused"][0]["reason"])


@pytest.mark.parametrize("claim", [0, 4, -1, True, "1", None])
def test_a_node_that_claims_a_wrong_client_is_left_out(claim):
    run = make_run(active=4)
    app = make_client_app(lambda context: (run.client, run.data[int(context.node_config["partition-id"])], 0))
    lines: list[dict] = []

    def answer(message: Message, context: Context) -> Message:
        if context.node_id == 1899 and message.metadata.message_type == "query":
            return Message(to_records(Payload(facts={"client": claim})), reply_to=message)
        return app(message, context)

    grid = DirectGrid(answer, 4)
    grid.contexts[1899] = Context(1, 1899, {"partition-id": 0}, RecordDict(), {})
    strategy = make_strategy(run.server, 4, 0, lines.append)
    strategy.start(grid, strategy.initial_arrays(), 1)
    assert lines[0]["taken"] == 4
    if claim == 0:  # two nodes say so, and the first one is believed
        assert sorted([strategy.names[900], strategy.names[1899]], key=str) == [0, None]
    else:
        assert strategy.names[1899] is None
        assert sorted(strategy.nodes.values()) == [897, 898, 899, 900]


def test_records_and_back():
    sent = Payload({"model": dict(make_net().state_dict()), "empty": {}}, {"round": 1, "ask": ["labels"]})
    found = from_records(to_records(sent))
    assert found.facts == sent.facts
    assert not differing(found.parts["model"], sent.parts["model"])
    assert found.parts["model"]["0.1.num_batches_tracked"].shape == ()


def test_flowers_count_of_bytes_is_ours_and_headers():
    payload = Payload({"model": {"w": torch.zeros(1000)}})
    counted = to_records(payload)["model"].count_bytes()
    assert payload.nbytes()["model"] <= counted <= payload.nbytes()["model"] + 200


@pytest.mark.parametrize("facts", [None, "{", "[1]"])
def test_records_that_are_no_payload(facts):
    records = RecordDict()
    if facts is not None:
        records["facts"] = flwr_app.ConfigRecord({"json": facts})
    with pytest.raises(ReplyRefused):
        from_records(records)
