"""The same algorithms over Flower's messages: the same weights as in process. Needs flwr, in a venv of its own."""

from __future__ import annotations

import pickle
import re
import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from tiny import WORLDS, differing
from tiny_clients import OPTIONS, make_data, make_net, make_run, model_of

flwr_app = pytest.importorskip(
    "flwr.app", reason="flwr is not installed, so nothing was tested of the algorithms on Flower: pip install .[flower]"
)

from flwr.app import Array, Context, Error, Message, RecordDict  # noqa: E402  # pyright: ignore
from flwr.clientapp.mod import LocalDpMod  # noqa: E402  # pyright: ignore
from flwr.common.constant import SType  # noqa: E402  # pyright: ignore
from flwr.serverapp import Grid  # noqa: E402  # pyright: ignore
from flwr.supercore.task_identity import TaskIdentity  # noqa: E402  # pyright: ignore

from sansdata.errors import ClientLost, MethodError, MissingLibraryError, ReplyRefused, ResumeError  # noqa: E402
from sansdata.federated.algo import ServerContext  # noqa: E402
from sansdata.federated.flower.client import Node, make_client_app  # noqa: E402
from sansdata.federated.flower.home import Home  # noqa: E402
from sansdata.federated.flower.nodes import Nodes, count_nodes  # noqa: E402
from sansdata.federated.flower.records import from_records, to_records  # noqa: E402
from sansdata.federated.flower.strategy import make_strategy  # noqa: E402
from sansdata.federated.in_process import InProcess  # noqa: E402
from sansdata.federated.index import FEDERATED, federated_config, find_server  # noqa: E402
from sansdata.federated.payload import Payload  # noqa: E402
from sansdata.federated.scores import TestSet  # noqa: E402
from sansdata.models.saved import read_model  # noqa: E402
from sansdata.runtime import Runtime  # noqa: E402
from sansdata.streams import Streams  # noqa: E402

ROUNDS = 3


def test_a_node_that_was_started_anew_is_asked_once_its_old_self_is_missed() -> None:
    listed: list[int] = [1]
    grid: Any = SimpleNamespace(get_node_ids=lambda: listed)
    nodes = Nodes(clients=1, wait=0.0)

    def meet() -> list[tuple[int, int]]:
        nodes.meet(grid, 0, lambda new: [(node, lambda: 0) for node in new])  # each says: client 0
        return nodes.reachable(grid, [0])

    assert meet() == [(0, 1)]
    listed[:] = [1, 2]
    assert meet() == [(0, 1)]
    listed[:] = [2]
    assert meet() == [(0, 2)]


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


def node_of(run, **kept):
    """load(context) of a node of this run; kept: further fields of Node, as functions of the client's number."""

    def load(context) -> Node:
        client = int(context.node_config["partition-id"])
        more = {name: value(client) for name, value in kept.items()}
        return Node(run.client, run.data[client], run.seed, **more)

    return load


def federate(method: str, broken: tuple[int, int] | None = None, **options):
    """A run through Flower's records: server, grid and the lines of metrics."""
    run = make_run(method, **options)
    app = make_client_app(node_of(run))
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
    app = make_client_app(node_of(run))
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


def npy(header: bytes, data: bytes = b"") -> Array:
    """An Array whose bytes are a .npy file with this header."""
    header = header.ljust(118) + b"\n"
    return Array("float32", (1,), SType.NUMPY, b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data)


HOSTILE = {
    "a header of 4e13 numbers": (
        npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (40000000000000,)}"),
        "header",
    ),
    "a header of 1e400 numbers": (
        npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1" + b"0" * 400 + b",)}"),
        "pay",
    ),
    "a negative shape": (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", b"1234"), "shape"),
    "a nested header": (npy(b"(" * 9000), "no payload"),
    "another nested header": (npy(b"-" * 9000 + b"1"), "no payload"),
    "objects": (npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"12345678"), "objects"),
    "another serialisation": (Array("float32", (1,), "torch", b"1234"), "serialised as 'torch'"),
    "more bytes than the form": (Array(np.zeros(100_000, dtype=np.float32)), "more than the"),
    "nan": (Array(np.full((6, 1, 3, 3), np.nan, dtype=np.float32)), "shape|nan"),
    "text": (Array(np.array(["a", "b"])), "no payload"),
    "a pickle": (Array("float32", (1,), SType.NUMPY, pickle.dumps(print)), "no payload"),
    "noise": (Array("float32", (1,), SType.NUMPY, b"x" * 50), "no payload"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_reply_is_refused_by_client_and_reason(case):
    value, reason = HOSTILE[case]
    run = make_run(active=4)
    app = make_client_app(node_of(run))
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
    app = make_client_app(node_of(run))
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
        assert sorted([strategy.nodes.names.get(node) for node in (900, 1899)], key=str) == [0, None]
    else:
        assert strategy.nodes.names[1899] is None
        assert sorted(strategy.nodes.node.values()) == [897, 898, 899, 900]


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


@pytest.mark.parametrize(
    "facts",
    [None, "{", "[1]", '{"round": NaN}', '{"round": 1e999}', '{"round": Infinity}', "[" * 100_000,
     '{"round": ' + "[" * 100_000, '{"round": {"a": 1}}', '{"\\ud800": 1}', '{"round": 1' + "0" * 400 + "}",
     "x" * 70_000, 3],
    ids=range(13),
)  # fmt: skip
def test_records_that_are_no_payload(facts):
    records = RecordDict()
    if facts is not None:
        records["facts"] = flwr_app.ConfigRecord({"json": facts})
    with pytest.raises(ReplyRefused):
        from_records(records)


@pytest.mark.parametrize("text", ['{"round": NaN}', '{"round": ' + "[" * 100_000, '{"round": 1e999}'], ids=range(3))
def test_hostile_facts_are_refused_and_the_round_goes_on(text):
    def spoil(reply: Message) -> Message:
        reply.content.config_records["facts"]["json"] = text
        return reply

    (line,) = spoiled_run(spoil)
    assert line["taken"] == 3
    assert [one["client"] for one in line["refused"]] == [1]


def spoiled_run(change, rounds: int = 1, **options) -> list[dict]:
    """The lines of a run in which client 1's replies are changed."""
    run = make_run(active=4, **options)
    app, lines = make_client_app(node_of(run)), []

    def answer(message: Message, context: Context) -> Message:
        reply = app(message, context)
        bad = context.node_config["partition-id"] == 1 and message.metadata.message_type == "train"
        return change(reply) if bad else reply

    strategy = make_strategy(run.server, 4, 0, lines.append)
    strategy.start(DirectGrid(answer, 4), strategy.initial_arrays(), rounds)
    return lines


@pytest.mark.parametrize("seconds", [1e9, -1.0, float("nan"), float("inf"), 3])
def test_seconds_are_those_of_training_and_no_more_than_have_passed(seconds):
    def lie(reply: Message) -> Message:
        reply.content.metric_records["timing"]["seconds"] = seconds
        return reply

    (line,) = spoiled_run(lie)
    assert 0 < line["client_seconds"] < 60


def test_seconds_are_measured_at_the_client(monkeypatch):
    run = make_run(active=4)
    answer = run.client.answer
    monkeypatch.setattr(run.client, "answer", lambda *given: (time.sleep(0.05), answer(*given))[1])
    lines: list[dict] = []
    strategy = make_strategy(run.server, 4, 0, lines.append)
    strategy.start(DirectGrid(make_client_app(node_of(run)), 4), strategy.initial_arrays(), 1)
    assert lines[0]["client_seconds"] >= 4 * 0.05


# -- measured at the clients, stopped and resumed


@pytest.mark.parametrize("method", ["fedavg", "fedd2s"])
def test_clients_are_measured_as_in_process(method):
    run, lines = make_run(method, active=4), []
    app = make_client_app(node_of(run, test=lambda client: make_data(client, 20)))
    strategy = make_strategy(run.server, 4, 0, lines.append, evaluate_every=2)
    strategy.start(DirectGrid(app, 4), strategy.initial_arrays(), 4)
    assert ["personal_accuracy" in line for line in lines] == [False, True, False, True]
    plain = make_run(method, active=4)
    for _ in range(4):
        plain.run_round()
    tests = [make_data(client, 20) for client in range(4)]
    found = plain.measure(
        TestSet(
            torch.cat([one.images for one in tests]), torch.cat([one.labels for one in tests]),
            tuple(np.arange(20 * n, 20 * n + 20) for n in range(4)),
        ),
        personal=True,
    )  # fmt: skip
    for name in ("clients_accuracy", "personal_accuracy", "majority_accuracy"):
        assert (name in lines[-1]) == (name in found) == (name != "clients_accuracy" or method == "fedavg")
        if name in found:
            assert lines[-1][name] == found[name]
    assert not differing(model_of(plain), model_of(run))


@pytest.mark.parametrize("value", [2.0, -0.1, "a lot", True, [0.5], None])
def test_a_client_that_lies_of_its_accuracy_is_named(value):
    run, lines = make_run(active=4), []
    app = make_client_app(node_of(run, test=make_data))

    def answer(message: Message, context: Context) -> Message:
        reply = app(message, context)
        if context.node_config["partition-id"] == 1 and message.metadata.message_type == "evaluate":
            facts = from_records(reply.content).facts | {"personal": value}
            return Message(to_records(Payload(facts=facts)), reply_to=message)
        return reply

    strategy = make_strategy(run.server, 4, 0, lines.append, evaluate_every=1)
    strategy.start(DirectGrid(answer, 4), strategy.initial_arrays(), 1)
    assert lines[0]["personal_accuracy"]["each"][1] is None
    assert value is None or [one["client"] for one in lines[0]["unmeasured"]] == [1]


@pytest.mark.parametrize("method", FEDERATED)
def test_stopped_and_resumed_in_a_new_flower_run_is_bitwise_the_same(method, tmp_path):
    whole, _, _, _ = federate(method)
    for resume, rounds in ((False, 2), (True, 1)):
        run = make_run(method)  # a new process: only what lies on disks is left
        app = make_client_app(node_of(run, folder=lambda client: tmp_path / f"node-{client}"))
        strategy = make_strategy(
            run.server, run.active, run.seed, checkpoints=tmp_path / "server", checkpoint_every=1, resume=resume
        )
        assert strategy.done == (2 if resume else 0)
        strategy.start(DirectGrid(app, 4), strategy.initial_arrays(), rounds)
    assert not differing(model_of(whole), model_of(run))
    fresh = make_run(method)  # and a run that is another's keeps nothing of it
    app = make_client_app(node_of(fresh, folder=lambda client: tmp_path / f"node-{client}"))
    strategy = make_strategy(fresh.server, fresh.active, fresh.seed)
    strategy.start(DirectGrid(app, 4), strategy.initial_arrays(), ROUNDS)
    assert not differing(model_of(whole), model_of(fresh))


def flower_rounds(method: str, folder, start: int | None, rounds: int, every: int = 3, **options) -> InProcess:
    """A new process that begins, or goes on at round `start`: only what lies on disks is left."""
    run = make_run(method, rounds=8, **options)
    app = make_client_app(node_of(run, folder=lambda client: folder / f"node-{client}"))
    strategy = make_strategy(
        run.server, run.active, run.seed, checkpoints=folder / "server", checkpoint_every=every,
        resume=start is not None,
    )  # fmt: skip
    assert strategy.done == (start or 0)
    strategy.start(DirectGrid(app, 4), strategy.initial_arrays(), rounds)
    return run


@pytest.mark.parametrize(
    ("method", "options"),
    [("scaffold", {}), ("feddyn", {}), ("fedd2s", {}), ("fedavg", {"batch_norm": "local"})],
)
def test_a_server_that_dies_between_checkpoints_is_resumed_bitwise(method, options, tmp_path):
    """Nodes are then ahead of the server: they know rounds that it has forgotten, and are asked for them again."""
    whole = make_run(method, rounds=8, **options)
    for _ in range(7):
        whole.run_round()
    flower_rounds(method, tmp_path, None, 5, **options)
    flower_rounds(method, tmp_path, 3, 2, **options)  # dies again before its first checkpoint
    run = flower_rounds(method, tmp_path, 3, 4, **options)
    assert not differing(model_of(whole), model_of(run))
    for client, memory in whole.memories.items():
        assert not differing(memory, Home(tmp_path / f"node-{client}").memory(run_name(tmp_path, client), 7))


def run_name(folder, client: int) -> str:
    file = max((folder / f"node-{client}" / "memory").iterdir())
    with safetensors.safe_open(file, "pt") as kept:
        return kept.metadata()["run"]


def test_nodes_keep_what_the_oldest_checkpoint_needs_and_no_more(tmp_path):
    flower_rounds("scaffold", tmp_path, None, 8, every=2, active=4)  # checkpoints 6 and 8; in the last round 4 and 6
    kept = sorted(int(path.stem.split("-")[1]) for path in (tmp_path / "node-0/memory").iterdir())
    assert kept == [3, 4, 5, 6, 7]
    home, run = Home(tmp_path / "node-0"), run_name(tmp_path, 0)
    assert home.memory(run, 4)
    with pytest.raises(ResumeError, match="before round 3 is gone, since the server had saved 4 rounds"):
        home.memory(run, 3)
    assert home.memory("another run", 3) == {}
    (tmp_path / "node-0/memory/step-000000007.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(ResumeError, match="cannot be read"):
        home.memory(run, 8)


def test_a_node_without_a_folder_refuses_a_round_that_it_has_made():
    run = make_run("scaffold", active=4)
    grid = DirectGrid(make_client_app(node_of(run)), 4)
    first, second, other = (make_strategy(make_run("scaffold", active=4).server, 4, 0) for _ in range(3))
    first.start(grid, first.initial_arrays(), 1)
    second.nodes.run = first.nodes.run  # the same run, at nodes that remember more than they should
    with pytest.raises(ResumeError, match="give the node a folder"):
        second.start(grid, second.initial_arrays(), 1)
    other.start(grid, other.initial_arrays(), 1)


def test_without_flwr_its_absence_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "flwr.app", None)
    with pytest.raises(MissingLibraryError, match="flwr cannot be imported here"):
        make_strategy(make_run().server, 2, 0)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(ResumeError, match="no checkpoint"):
        make_strategy(make_run().server, 2, 0, checkpoints=tmp_path, resume=True)


def test_clients_keep_their_own_models(tmp_path):
    """FedD2S has no global model: what the server holds are heads over untrained blocks."""
    run = make_run("fedd2s", active=4, rounds=2)
    app = make_client_app(node_of(run, folder=lambda client: tmp_path / f"node-{client}"))
    strategy = make_strategy(run.server, 4, 0, evaluate_every=5)
    strategy.start(DirectGrid(app, 4), strategy.initial_arrays(), 2)
    plain = make_run("fedd2s", active=4, rounds=2)
    plain.run_round(), plain.run_round()
    for client in range(4):
        saved = read_model(tmp_path / f"node-{client}" / "model.safetensors")
        plain.personal_model()(client)
        assert not differing(saved.tensors, dict(plain.client.context.model.state_dict()))
        assert saved.provenance["client"] == client


# -- mods


def test_local_differential_privacy_by_a_mod():
    """Flower's own mod clips the update and adds noise; counters it cannot scale go past it."""
    clip, noise = 0.05, 1e-4
    run, lines = make_run(active=4), []
    before = model_of(run)
    sensitivity = noise * 1e3 / float(np.sqrt(2 * np.log(1.25 / 1e-5)))
    app = make_client_app(node_of(run), [LocalDpMod(clip, sensitivity, 1e3, 1e-5)])
    strategy = make_strategy(run.server, 4, 0, lines.append)
    strategy.start(DirectGrid(app, 4), strategy.initial_arrays(), 1)
    assert lines[0]["taken"] == 4
    after = model_of(run)
    moved = sum(float((after[k] - before[k]).square().sum()) for k in after if after[k].is_floating_point()) ** 0.5
    assert 0 < moved < 2 * clip
    assert int(after["0.1.num_batches_tracked"]) == 3
    for _ in range(2):
        assert strategy.start(DirectGrid(app, 4), strategy.initial_arrays(), 1)


# -- the server half


@pytest.mark.parametrize("method", FEDERATED)
def test_a_server_built_by_hand_is_of_its_kind(method):
    config = federated_config(method, options=OPTIONS[method])
    task = WORLDS["table"].task
    with pytest.raises(MethodError, match="its inputs are image, and the task's are table"):
        find_server(method)(config, ServerContext(task, make_net(), 4, 4, Streams(0), Runtime()))


def test_the_number_of_nodes_is_the_grids():
    run = make_run()
    assert count_nodes(DirectGrid(make_client_app(node_of(run)), 3), settle=0.0) == 3
    with pytest.raises(ClientLost, match="no node"):
        count_nodes(DirectGrid(None, 0), wait=0.0)
