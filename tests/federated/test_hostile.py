"""A hostile or broken client is named with its reason, and the round goes on with the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tiny import differing
from tiny_clients import make_run, model_of

from sansdata.errors import ClientLost
from sansdata.federated.local import LocalSettings
from sansdata.federated.payload import Payload

BAD = 2
NAME = "2.weight"


def edited(change: Callable[[Payload], object]) -> Callable[[int, int, bytes], bytes]:
    """A wire on which client BAD's replies are changed."""

    def wire(round: int, client: int, data: bytes) -> bytes:
        if client != BAD:
            return data
        reply = Payload.from_bytes(data)
        change(reply)
        return reply.to_bytes()

    return wire


def put(value: Callable[[torch.Tensor], torch.Tensor], name: str = NAME) -> Callable[[Payload], object]:
    return lambda reply: reply.parts["model"].update({name: value(reply.parts["model"][name])})


def fact(**values: object) -> Callable[[Payload], object]:
    return lambda reply: reply.facts.update(values)


def one(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def spoil(tensor: torch.Tensor) -> torch.Tensor:
        tensor.view(-1)[0] = value
        return tensor

    return spoil


HOSTILE = {
    "transposed": (put(lambda v: v.T.contiguous()), "shape"),
    "flat": (put(lambda v: v.reshape(-1)), "shape"),
    "scalar": (put(lambda v: v.sum()), "shape"),
    "empty": (put(lambda v: v[:0]), "shape"),
    "batched": (put(lambda v: v[None]), "shape"),
    "double": (put(lambda v: v.double()), "float64"),
    "half": (put(lambda v: v.half()), "float16"),
    "whole numbers": (put(lambda v: v.long()), "int64"),
    "nan": (put(one(float("nan"))), "nan"),
    "infinity": (put(one(float("-inf"))), "infinity"),
    "nan in a buffer": (put(one(float("nan")), "0.1.running_mean"), "nan"),
    "negative variance": (put(one(-1.0), "0.1.running_var"), "negative variance"),
    "counter at its end": (put(lambda v: v * 0 + 2**63 - 1, "0.1.num_batches_tracked"), "counts 9,223"),
    "counter of another life": (put(lambda v: v + 10_000_000, "0.1.num_batches_tracked"), "counts 10,000"),
    "huge statistics": (put(lambda v: v * 0 + 9e5, "0.1.running_var"), "BatchNorm statistics"),
    "negative counter": (put(lambda v: v - 9, "0.1.num_batches_tracked"), "counts -"),
    "huge number": (put(one(1e30)), "above"),
    "huge norm": (put(lambda v: v + 1e4), "norm"),
    "missing tensor": (lambda r: r.parts["model"].pop(NAME), "missing"),
    "extra tensor": (lambda r: r.parts["model"].update(extra=torch.zeros(1)), "not asked for"),
    "missing part": (lambda r: r.parts.clear(), "missing"),
    "extra part": (lambda r: r.parts.update(more={"x": torch.zeros(1)}), "not asked for"),
    "no examples": (lambda r: r.facts.pop("examples"), "missing"),
    "extra fact": (fact(vote=5), "not asked for"),
    "zero examples": (fact(examples=0), "examples"),
    "negative examples": (fact(examples=-5), "examples"),
    "fractional examples": (fact(examples=3.5), "examples"),
    "yes examples": (fact(examples=True), "examples"),
    "a nation of examples": (fact(examples=10**12), "examples"),
    "replay": (fact(round=-1), "round"),
    "round as text": (fact(round="0"), "round"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_refused_by_name_and_reason(case):
    change, reason = HOSTILE[case]
    run = make_run(active=4, wire=edited(change))
    line = run.run_round()
    assert [fault["client"] for fault in line["refused"]] == [BAD]
    assert reason in line["refused"][0]["reason"]
    assert line["taken"] == 3
    assert not differing(model_of(run), model_without_the_bad_one())


def model_without_the_bad_one() -> dict[str, torch.Tensor]:
    """What the round gives where that client never answers: a refused reply must leave no trace."""

    def wire(round: int, client: int, data: bytes) -> bytes:
        if client == BAD:
            raise ClientLost("gone")
        return data

    run = make_run(active=4, wire=wire)
    assert run.run_round()["lost"] == [{"client": BAD, "reason": "gone"}]
    return model_of(run)


@pytest.mark.parametrize("data", [b"", b"x" * 100, b"\x80\x04K\x01."], ids=["nothing", "noise", "a pickle"])
def test_no_message_at_all(data):
    run = make_run(active=4, wire=lambda round, client, sent: data if client == BAD else sent)
    line = run.run_round()
    assert [fault["client"] for fault in line["refused"]] == [BAD]
    assert line["taken"] == 3


def test_a_client_cannot_grow_to_outvote_the_others():
    def wire(round: int, client: int, data: bytes) -> bytes:
        reply = Payload.from_bytes(data)
        if client == BAD and round == 1:
            reply.facts["examples"] = 10_000
        return reply.to_bytes()

    run = make_run(active=4, wire=wire)
    assert run.run_round()["refused"] == []
    assert "examples" in run.run_round()["refused"][0]["reason"]


def test_a_stale_reply_is_refused():
    old: dict[int, bytes] = {}

    def wire(round: int, client: int, data: bytes) -> bytes:
        return old.setdefault(client, data) if client == BAD else data

    run = make_run(active=4, wire=wire)
    assert run.run_round()["refused"] == []
    assert run.run_round()["refused"][0]["reason"] == "it answers round 0, this is round 1"


def test_a_round_without_any_reply_leaves_the_model():
    def wire(round: int, client: int, data: bytes) -> bytes:
        raise ClientLost("no network")

    run = make_run(wire=wire)
    before = model_of(run)
    line = run.run_round()
    assert line["taken"] == 0
    assert len(line["lost"]) == 3
    assert not differing(before, model_of(run))
    assert run.round == 1


def test_one_client_alone():
    run = make_run(clients=1, active=1)
    assert run.run_round()["taken"] == 1


def test_a_client_that_diverges_is_left_out():
    run = make_run(options={"local": {"steps": 8, "batch": 4, "lr": 1e20}})
    before = model_of(run)
    line = run.run_round()
    assert line["taken"] == 0
    assert all("not finite" in one["reason"] or "nan" in one["reason"] for one in line["refused"])
    assert not differing(before, model_of(run))


def test_a_fault_of_our_own_is_no_refusal():
    run = make_run()
    run.client.fit = lambda *given: 1 / 0
    with pytest.raises(ZeroDivisionError):
        run.run_round()


def test_one_counter_does_not_end_the_rounds_after_it():
    """The specimen: 2**63 - 1 once, and from then on every honest counter ran over."""
    run = make_run(active=4, wire=edited(put(lambda v: v * 0 + 2**63 - 1, "0.1.num_batches_tracked")))
    for _ in range(3):
        line = run.run_round()
        assert [fault["client"] for fault in line["refused"]] == [BAD]
    assert int(model_of(run)["0.1.num_batches_tracked"]) == 9


@pytest.mark.parametrize(("method", "change", "reason"), [
    ("scaffold", lambda r: r.parts["control"][NAME].fill_(9e5), "control"),
    ("scaffold", lambda r: r.parts["control"][NAME].mul_(-1), "control"),
    ("fedd2s", lambda r: r.parts["features"]["h"].fill_(9e5), "longest feature"),
    ("fedgen", lambda r: r.parts["labels"]["counts"].copy_(torch.tensor([16, 0, 0, 0])), "a label counts 0"),
    ("fedgen", lambda r: r.parts["labels"]["counts"].add_(1), "add up"),
    ("fedftg", lambda r: r.parts["labels"]["counts"].add_(1), "add up"),
])  # fmt: skip
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_what_once_ended_a_run(method, change, reason, preset):
    if preset == "paper" and method != "fedgen":
        preset = "default"
    run = make_run(method, active=4, wire=edited(change), preset=preset)
    for _ in range(3):
        line = run.run_round()
        assert [fault["client"] for fault in line["refused"]] == [BAD]
        assert reason in line["refused"][0]["reason"]
        assert "undone" not in line


def test_labels_of_one_round_must_fit_those_of_another():
    """FedGen: a client that has 7 images of two classes cannot have 7 of a third in the next round."""

    def wire(round: int, client: int, data: bytes) -> bytes:
        reply = Payload.from_bytes(data)
        if client == BAD and round == 1:
            counts = reply.parts["labels"]["counts"]
            counts.copy_(counts.roll(2))
        return reply.to_bytes()

    run = make_run("fedgen", active=4, wire=wire)
    assert run.run_round()["refused"] == []
    assert "need" in run.run_round()["refused"][0]["reason"]
    assert run.run_round()["refused"] == []


def test_clipped_gradients_bound_the_update():
    run = make_run(active=4, options={"local": {"clip": 0.1}}, wire=edited(put(lambda v: v + 0.1)))
    line = run.run_round()
    assert [fault["client"] for fault in line["refused"]] == [BAD]
    assert "norm" in line["refused"][0]["reason"]


def test_a_round_that_comes_to_nan_is_undone(monkeypatch):
    """Whatever slips through: the server is as it was before, and says so."""
    run = make_run(active=4)
    before = model_of(run)
    combine = run.server.combine
    monkeypatch.setattr(run.server, "combine", lambda replies: {k: v / 0 for k, v in combine(replies).items()})
    line = run.run_round()
    assert (line["taken"], line["undone"]) == (0, "what the replies come to is not finite")
    assert not differing(before, model_of(run))
    monkeypatch.undo()
    assert run.run_round()["taken"] == 4


def test_a_reason_is_one_line_that_any_log_can_hold():
    bad = edited(lambda r: r.parts["model"].update({"x\n2026-01-01 saved\x1b[31m\u202e": torch.zeros(1)}))
    reason = make_run(active=4, wire=bad).run_round()["refused"][0]["reason"]
    assert reason.isprintable()
    assert "\u202e" not in reason


@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_scaffold_with_momentum_is_not_refused(momentum):
    """The length of its steps counts the momentum too: else controls grow until every reply is refused."""
    run = make_run("scaffold", {"local": {"momentum": momentum, "steps": 8}}, active=4, rounds=12)
    lines = [run.run_round() for _ in range(12)]
    assert [line["taken"] for line in lines] == [4] * 12


def test_how_far_steps_with_momentum_reach():
    for momentum, steps in ((0.0, 5), (0.9, 1), (0.9, 7)):
        settings = LocalSettings(steps=steps, lr=0.5, momentum=momentum, lr_decay=1.0)
        weight = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([weight], lr=0.5, momentum=momentum)
        for _ in range(steps):
            weight.grad = torch.ones(1)
            optimizer.step()
        assert settings.reach(100, 0) == pytest.approx(-float(weight.detach()), rel=1e-6)
