"""A hostile or broken client is named with its reason, and the round goes on with the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tiny import differing
from tiny_clients import make_run, model_of

from sansdata.errors import ClientLost
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
