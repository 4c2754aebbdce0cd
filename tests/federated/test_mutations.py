"""Each field of a reply of each method, spoiled in every way of a table: it is refused or taken, and the run lives.

A refused reply leaves no trace. One that is taken leaves the server finite and near to where honest clients lead it,
and in the next round every honest client is taken.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tiny import differing
from tiny_clients import make_run
from torch import Tensor

from sansdata.federated.in_process import InProcess
from sansdata.federated.payload import Payload
from sansdata.federated.round import Round, is_finite

BAD, CLIENTS = 2, [0, 1, 2, 3]
WORLDS: dict[str, tuple[str, dict[str, Any]]] = {
    "fedavg": ("fedavg", {}),
    "fedavg, own statistics": ("fedavg", {"batch_norm": "local"}),
    "fedprox": ("fedprox", {}),
    "feddyn": ("feddyn", {}),
    "scaffold": ("scaffold", {}),
    "fedgen": ("fedgen", {}),
    "fedgen paper": ("fedgen", {"preset": "paper"}),
    "fedftg": ("fedftg", {}),
    "fedftg on scaffold": ("fedftg", {"options": {"host": "scaffold"}}),
    "fedd2s": ("fedd2s", {}),
}
"""A row per method, and those of its settings that change what a reply holds or what is made of it."""

Change = Callable[[Tensor], Any]


def first(value: float) -> Change:
    def spoil(tensor: Tensor) -> Tensor:
        tensor.view(-1)[0] = value
        return tensor

    return spoil


def all_on_one(tensor: Tensor) -> Tensor:
    spoiled = torch.zeros_like(tensor)
    spoiled.view(-1)[0] = tensor.sum()
    return spoiled


def largest(tensor: Tensor) -> Tensor:
    kind = torch.finfo if tensor.is_floating_point() else torch.iinfo
    return torch.full_like(tensor, kind(tensor.dtype).max)


TENSORS: dict[str, Change] = {
    "nan": lambda v: torch.full_like(v.float(), float("nan")).to(v.dtype),
    "one nan": lambda v: first(float("nan"))(v) if v.is_floating_point() else v - 1,
    "one infinity": lambda v: first(float("-inf"))(v) if v.is_floating_point() else v + 1,
    "one large": first(900_000),
    "large": lambda v: torch.full_like(v, 900_000),
    "larger than float32 sums": lambda v: torch.full_like(v, 1_000_000_000),
    "the largest": largest,
    "the smallest": lambda v: largest(v).neg(),
    "zero": torch.zeros_like,
    "one": torch.ones_like,
    "minus one": lambda v: torch.full_like(v, -1),
    "negated": lambda v: -v,
    "times a thousand": lambda v: v * 1000,
    "times fifty": lambda v: v * 50,
    "divided": lambda v: v // 7 if not v.is_floating_point() else v / 1000,
    "all on one": all_on_one,
    "reversed": lambda v: v.flip(0) if v.ndim else v,
    "float64": lambda v: v.double(),
    "float16": lambda v: v.half(),
    "int8": lambda v: v.to(torch.int8),
    "bool": lambda v: v.bool(),
    "complex": lambda v: v.to(torch.complex64),
    "flat": lambda v: v.reshape(-1)[:, None],
    "batched": lambda v: v[None].clone(),
    "empty": lambda v: v.reshape(-1)[:0],
    "doubled": lambda v: torch.cat([v, v]) if v.ndim else torch.stack([v, v]),
}
FACTS: list[Any] = [
    None, True, False, -1, 0, 1, 2, 10**8, 10**12, 2**63, 10**30, 0.5, 1.0, float("nan"), float("inf"), "1", "", "a\nb",
    "\ud800", [], [1], {}, {"a": {"b": [1]}}, b"1",
]  # fmt: skip


def spoiled(reply: Payload, other: Payload, old: Payload) -> Iterator[tuple[str, Payload]]:
    """(name, reply) for every field and way. other: an honest client's of this round; old: its own of the last."""
    for part, tensors in reply.parts.items():
        for name in tensors:
            for way, change in TENSORS.items():
                one = copy.deepcopy(reply)
                one.parts[part][name] = change(one.parts[part][name])
                yield f"{part}/{name} {way}", one
            for way, source in (("swapped", other), ("replayed", old)):
                if name in source.parts.get(part, {}):
                    one = copy.deepcopy(reply)
                    one.parts[part][name] = source.parts[part][name].clone()
                    yield f"{part}/{name} {way}", one
            one = copy.deepcopy(reply)
            del one.parts[part][name]
            yield f"{part}/{name} missing", one
        one = copy.deepcopy(reply)
        one.parts[part]["extra"] = torch.zeros(3)
        yield f"{part} with one more", one
        one = copy.deepcopy(reply)
        del one.parts[part]
        yield f"{part} missing", one
        yield f"{part} swapped", Payload(reply.parts | {part: copy.deepcopy(other.parts[part])}, dict(reply.facts))
        if part in old.parts:
            yield f"{part} replayed", Payload(reply.parts | {part: copy.deepcopy(old.parts[part])}, dict(reply.facts))
    for fact in reply.facts:
        for value in FACTS:
            yield f"{fact} {value!r}", Payload(copy.deepcopy(reply.parts), reply.facts | {fact: value})
        yield f"{fact} missing", Payload(reply.parts, {k: v for k, v in reply.facts.items() if k != fact})
    yield "a part more", Payload({**reply.parts, "more": {"x": torch.zeros(1)}}, dict(reply.facts))
    yield "a fact more", Payload(reply.parts, reply.facts | {"more": 1})
    yield "nothing", Payload()
    yield "all swapped", copy.deepcopy(other)
    yield "all replayed", copy.deepcopy(old)


def states(run: InProcess) -> dict[str, Any]:
    return {name: copy.deepcopy(dict(part.state_dict())) for name, part in run.state().items()}


def restore(run: InProcess, kept: dict[str, Any]) -> None:
    for name, part in run.state().items():
        part.load_state_dict(copy.deepcopy(kept[name]))


def closed(run: InProcess, replies: dict[int, Payload]) -> dict[str, Any]:
    one = Round(run.server, run.round)
    one.ask(CLIENTS)
    for client, reply in replies.items():
        one.take(client, lambda reply=reply: reply)
    return one.close()


def length(run: InProcess) -> float:
    return sum(float(p.detach().square().sum()) for p in run.server.context.model.parameters()) ** 0.5


def next_round(run: InProcess) -> list[int]:
    """Honest clients that are refused in the round after."""
    run.round += 1
    one = Round(run.server, run.round)
    messages = one.ask(CLIENTS)
    for client in CLIENTS:
        one.take(client, lambda client=client: run._ask(run.round, client, messages[client]))
    line = one.close()
    assert "undone" not in line
    return [fault["client"] for fault in line["refused"] if fault["client"] != BAD]


def attack(world: str, number: int, every: int = 1) -> tuple[int, int]:
    """Spoils each field of the bad client's reply in round `number`; gives how many were taken, and of how many. every:
    of so many cases one is tried."""
    method, settings = WORLDS[world]
    run = make_run(method, active=4, **settings)
    replies: list[dict[int, Payload]] = []
    for round in range(number + 1):
        one = Round(run.server, round)
        messages = one.ask(CLIENTS)
        if round == number:
            before = states(run)
        replies.append({client: run._ask(round, client, messages[client]) for client in CLIENTS})
        if round == number:
            before["run"] = states(run)["run"]  # what the clients keep of this round stays with them
        for client, reply in replies[-1].items():
            one.take(client, lambda reply=reply: copy.deepcopy(reply))
        assert one.close()["refused"] == []
        run.round = round if round == number else round + 1
    honest = length(run)
    restore(run, before)
    now, old = replies[-1], replies[-2] if number else replies[-1]
    others = {client: now[client] for client in CLIENTS if client != BAD}
    closed(run, others)
    without = states(run)
    taken = cases = 0
    for way, reply in itertools.islice(spoiled(now[BAD], now[0], old[BAD]), 0, None, every):
        restore(run, before)
        line = closed(run, {client: reply if client == BAD else now[client] for client in CLIENTS})
        cases += 1
        if BAD in [fault["client"] for fault in line["refused"]]:
            assert [fault["client"] for fault in line["refused"]] == [BAD], way
            assert line["refused"][0]["reason"].isprintable(), way
            assert line["taken"] == 3, way
            for name, part in run.server.state().items():
                assert same(part.state_dict(), without[f"server.{name}"]), (way, name)
            continue
        taken += 1
        assert "undone" not in line, way
        assert all(is_finite(part.state_dict()) for part in run.server.state().values()), way
        assert length(run) < 4 * honest, way
        assert next_round(run) == [], way
    return taken, cases


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return not differing({"x": one}, {"x": other})
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return one == other


@pytest.mark.parametrize("world", WORLDS)
def test_some_fields_of_every_method(world):
    taken, cases = attack(world, 1, every=13)
    assert taken < cases  # of a reply with few fields, all that are tried may be refused


@pytest.mark.long
@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("world", WORLDS)
def test_every_field_of_every_method(world, number):
    taken, cases = attack(world, number)
    assert 0 < taken < cases / 2
