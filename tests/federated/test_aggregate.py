"""Averages against a float64 reference, and the four hosts' updates against their papers' formulas in float64."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from tiny import differing, make_task
from tiny_clients import BATCH, LOCAL, STEPS, make_data, make_net, make_run, model_bytes, model_of

from sansdata.federated.aggregate import average
from sansdata.federated.algo import ClientContext
from sansdata.federated.data import ClientData
from sansdata.federated.index import federated_config, find_server
from sansdata.federated.payload import Payload
from sansdata.federated.round import client_streams
from sansdata.runtime import Runtime
from sansdata.streams import Streams


def test_average_is_the_weighted_mean_in_float64():
    states = [{"w": torch.randn(50) * 10**k, "n": torch.tensor(3 + k)} for k in range(3)]
    weights = [1, 7, 1000]
    found = average(states, weights)
    exact = sum(w * s["w"].double() for w, s in zip(weights, states)) / sum(weights)
    assert torch.equal(found["w"], exact.float()) or torch.allclose(found["w"].double(), exact, rtol=1e-7, atol=0)
    assert found["n"] == 5


def test_average_does_not_hang_on_scale_of_weights():
    states = [{"w": torch.randn(9)}, {"w": torch.randn(9)}]
    assert torch.allclose(average(states, [1, 3])["w"], average(states, [10, 30])["w"], rtol=1e-6)


# -- the clients' steps, redone by hand


def reference(data: ClientData, net: torch.nn.Module, round: int, seed: int, client: int, gradient) -> dict:
    """Plain SGD in float64 on the same batches; gradient(name, value, g) corrects it."""
    net = copy.deepcopy(net).double().train()
    task, lr = make_task(), LOCAL["lr"] * 0.99**round
    start = {name: value.detach().clone() for name, value in net.named_parameters()}
    for images, labels in data.batches(STEPS, BATCH, client_streams(seed, client, round)("batches")):
        net.zero_grad()
        F.cross_entropy(net((images.double() - task.mean[0]) / task.std[0]), labels).backward()
        with torch.no_grad():
            for name, value in net.named_parameters():
                value -= lr * gradient(name, value, value.grad, start[name])
    return {name: value.detach() for name, value in net.named_parameters()}


def client_half(method: str, options: dict | None = None):
    config = federated_config(method, options={"local": LOCAL} | (options or {}))
    return find_server(method).client(config, ClientContext(make_task(), make_net(9), Runtime()))


def one_fit(method: str, net, memory: dict, round: int = 2, extra: dict | None = None, options: dict | None = None):
    payload = Payload({"model": net.state_dict()} | (extra or {}), {"round": round})
    half, data = client_half(method, options), make_data(1)
    return half.answer(payload, data, memory, client_streams(5, 1, round)), data


def close(found: dict, expected: dict) -> None:
    for name, value in expected.items():
        assert torch.allclose(found[name].double(), value, rtol=1e-4, atol=1e-6), name


def test_fedavg_client():
    net = make_net()
    reply, data = one_fit("fedavg", net, {})
    close(reply.parts["model"], reference(data, net, 2, 5, 1, lambda n, v, g, s: g))
    assert reply.facts == {"round": 2, "examples": len(data)}


def test_fedprox_client():
    net = make_net()
    reply, data = one_fit("fedprox", net, {}, options={"mu": 3.0})
    close(reply.parts["model"], reference(data, net, 2, 5, 1, lambda n, v, g, s: g + 3.0 * (v - s)))
    plain = reference(data, net, 2, 5, 1, lambda n, v, g, s: g)
    assert not torch.allclose(reply.parts["model"]["2.weight"].double(), plain["2.weight"], rtol=1e-3)


def test_feddyn_client_and_its_dual():
    net, alpha = make_net(), 0.7
    dual = {name: 0.1 * torch.randn_like(value) for name, value in net.named_parameters()}
    memory = {f"dual/{name}": value.clone() for name, value in dual.items()}
    reply, data = one_fit("feddyn", net, memory, options={"alpha": alpha})
    end = reference(data, net, 2, 5, 1, lambda n, v, g, s: g - dual[n].double() + alpha * (v - s))
    close(reply.parts["model"], end)
    start = {name: value.detach().double() for name, value in net.named_parameters()}
    close({n: memory[f"dual/{n}"] for n in dual}, {n: dual[n].double() - alpha * (end[n] - start[n]) for n in dual})


def test_scaffold_client_and_its_control():
    net = make_net()
    common = {name: 0.1 * torch.randn_like(value) for name, value in net.named_parameters()}
    own = {name: 0.1 * torch.randn_like(value) for name, value in net.named_parameters()}
    memory = {f"control/{name}": value.clone() for name, value in own.items()}
    reply, data = one_fit("scaffold", net, memory, extra={"control": common})
    end = reference(data, net, 2, 5, 1, lambda n, v, g, s: g + common[n].double() - own[n].double())
    close(reply.parts["model"], end)
    length = STEPS * LOCAL["lr"] * 0.99**2
    for name, value in net.named_parameters():
        new = own[name].double() - common[name].double() + (value.detach().double() - end[name]) / length
        assert torch.allclose(memory[f"control/{name}"].double(), new, rtol=1e-3, atol=1e-4)
        assert torch.allclose(reply.parts["control"][name].double(), new - own[name].double(), rtol=1e-3, atol=1e-4)


# -- the servers


def replies_of(method: str, options: dict | None = None):
    run = make_run(method, options)
    run.server.context.streams.begin(0)
    messages = run.server.configure(0, [0, 2])
    before = model_of(run)
    replies = {one: run._ask(0, one, messages[one]) for one in (0, 2)}
    for one, reply in replies.items():
        run.server.check(one, 0, reply)
    run.server.aggregate(0, replies)
    return run, before, replies


def test_fedavg_weighs_by_examples():
    run, _, replies = replies_of("fedavg")
    sizes = [reply.facts["examples"] for reply in replies.values()]
    for name, value in model_of(run).items():
        parts = [reply.parts["model"][name].double() for reply in replies.values()]
        if value.is_floating_point():
            mean = sum(n * part for n, part in zip(sizes, parts)) / sum(sizes)
            assert torch.allclose(value.double(), mean, rtol=1e-6, atol=1e-8), name


def test_feddyn_server():
    run, before, replies = replies_of("feddyn", {"alpha": 0.5})
    for name, _ in run.server.context.model.named_parameters():
        parts = [reply.parts["model"][name].double() for reply in replies.values()]
        h = -0.5 / 4 * sum(part - before[name].double() for part in parts)
        assert torch.allclose(run.server.drift[name].double(), h, rtol=1e-5, atol=1e-7)
        assert torch.allclose(model_of(run)[name].double(), sum(parts) / 2 - h / 0.5, rtol=1e-5, atol=1e-6)


def test_scaffold_server():
    run, _, replies = replies_of("scaffold")
    for name, _ in run.server.context.model.named_parameters():
        changes = [reply.parts["control"][name].double() for reply in replies.values()]
        assert torch.allclose(run.server.control[name].double(), sum(changes) / 4, rtol=1e-5, atol=1e-6)
        models = [reply.parts["model"][name].double() for reply in replies.values()]
        assert torch.allclose(model_of(run)[name].double(), sum(models) / 2, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("method", "controls"), [("fedavg", 0), ("fedprox", 0), ("feddyn", 0), ("scaffold", 1)])
def test_bytes_are_the_closed_form(method, controls):
    """W down and W up for every client; SCAFFOLD adds a control variate of the parameters' size each way."""
    run = make_run(method)
    net = make_net()
    parameters = sum(4 * p.numel() for p in net.parameters())
    for _ in range(2):
        line = run.run_round()
        for way in ("down", "up"):
            assert line[way]["model"] == 3 * model_bytes(net)
            assert line[way].get("control", 0) == 3 * controls * parameters


# -- BatchNorm's running statistics


def statistics(state: dict) -> dict:
    return {name: value for name, value in state.items() if "running" in name}


def test_average_statistics_travel():
    run = make_run()
    first = statistics(model_of(run))
    run.run_round()
    assert set(differing(first, statistics(model_of(run)))) == set(first)
    assert all(not any(name.startswith("buffer/") for name in memory) for memory in run.memories.values())


def test_local_statistics_stay_with_the_client():
    run = make_run(batch_norm="local", active=4)
    run.run_round()
    kept = {client: memory["buffer/0.1.running_mean"].clone() for client, memory in run.memories.items()}
    assert len({tuple(value.tolist()) for value in kept.values()}) == 4
    seen = []
    receive = run.client.receive
    run.client.receive = lambda payload, memory: (
        receive(payload, memory),
        seen.append(run.client.context.model.state_dict()["0.1.running_mean"].clone()),
    )
    run.run_round()
    assert all(torch.equal(kept[client], value) for client, value in enumerate(seen))


def test_frozen_statistics_never_move():
    run = make_run(batch_norm="frozen")
    first = model_of(run)
    run.run_round()
    moved = differing(first, model_of(run))
    assert not any("running" in name or "num_batches" in name for name in moved)
    assert "0.1.weight" in moved


def test_streams_of_a_server_and_a_client_differ():
    assert torch.rand(1, generator=Streams(0)("batches")) != torch.rand(
        1, generator=client_streams(0, 0, -1)("batches")
    )
