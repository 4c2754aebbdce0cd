"""FedFTG: a plug-in that no client notices; the generator's and the model's steps; who teaches how much."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from tiny import CLASSES, differing, make_task
from tiny_clients import LOCAL, make_net, make_run, model_of

from sansdata.engine.session import Session
from sansdata.errors import ClientLost, ConfigError
from sansdata.federated.fedftg_distil import ServerDistillation
from sansdata.federated.fedftg_settings import Distillation
from sansdata.federated.payload import Payload
from sansdata.federated.round import client_streams
from sansdata.federated.scores import TestSet
from sansdata.models.generators import ConditionalGenerator, UpsamplingGenerator
from sansdata.objectives.diversity import mode_seeking
from sansdata.objectives.federated import class_shares, mixture
from sansdata.runtime import Runtime
from sansdata.streams import Streams
from sansdata.teachers.base import Teacher

HOSTS = ("fedavg", "fedprox", "feddyn", "scaffold")


def whole_set(run) -> tuple[torch.Tensor, torch.Tensor, tuple]:
    return torch.cat([data.images for data in run.data]), torch.cat([data.labels for data in run.data]), ()


COUNTS = torch.tensor([[6, 2, 0, 1], [0, 2, 5, 1], [3, 0, 0, 0]])


@pytest.mark.parametrize("host", HOSTS)
def test_clients_are_the_hosts_and_bytes_too(host):
    """The first replies are those of the host bit for bit, with C whole numbers once; later none."""
    plug, plain = make_run("fedftg", {"host": host}, active=4), make_run(host, active=4)
    first = {"fedftg": plug.run_round(), "host": plain.run_round()}
    assert type(plug.client) is type(plain.client)
    assert first["fedftg"]["up"]["labels"] == 4 * 4 * CLASSES
    line, host_line = plug.run_round(), plain.run_round()
    assert "labels" not in line["up"]
    for way in ("down", "up"):
        assert {k: v for k, v in line[way].items() if k != "facts"} == {
            k: v for k, v in host_line[way].items() if k != "facts"
        }


@pytest.mark.parametrize("host", HOSTS)
def test_averaging_is_the_hosts(host):
    """What stands before fine-tuning in the first round is the host's own model."""
    plug, plain = make_run("fedftg", {"host": host}), make_run(host)
    plug.run_round(), plain.run_round()
    averaged = dict(plug.server.other_models()["averaged"].state_dict())
    assert not differing(averaged, model_of(plain))
    assert differing(averaged, model_of(plug))


def test_the_ensemble_judges_each_class_by_who_has_it():
    run = make_run("fedftg", active=4)
    run.run_round()
    x = torch.randn(5, 1, 8, 8)
    counts = torch.stack([torch.bincount(data.labels, minlength=CLASSES) for data in run.data]).double()
    shares, expected = counts / counts.sum(0), torch.zeros(5, CLASSES, dtype=torch.float64)
    for client in range(4):
        net = make_net().eval()
        # The clients' models of the round, once more: their replies hang on nothing but the common start.
        message = Payload({"model": make_net().state_dict()}, {"round": 0})
        reply = run.client.answer(message, run.data[client], {}, client_streams(0, client, 0))
        net.load_state_dict(reply.parts["model"])
        expected += shares[client] * F.softmax(net(x).double(), 1)
    answer = run.server.other_models()["ensemble"](x).double()
    assert torch.allclose(answer.exp(), expected, atol=1e-4)
    assert set(run.measure_round(TestSet(*whole_set(run)))) == {"accuracy_averaged", "accuracy_ensemble"}


@pytest.mark.parametrize("how", ["all lost", "undone"])
def test_a_round_that_came_to_nothing_has_no_figures_of_an_earlier_one(how, monkeypatch):
    def wire(round: int, client: int, data: bytes) -> bytes:
        if round and how == "all lost":
            raise ClientLost("too late")
        return data

    run = make_run("fedftg", wire=wire)
    run.run_round()
    assert run.server.other_models()
    if how == "undone":
        monkeypatch.setattr("sansdata.federated.round.is_finite", lambda value: False)
    line = run.run_round()
    assert line["taken"] == 0
    assert run.measure_round(TestSet(*whole_set(run))) == {}


def test_a_warm_up_is_the_host_alone():
    plug, plain = make_run("fedftg", {"distil": {"warmup": 2}}), make_run("fedavg")
    for _ in range(2):
        plug.run_round(), plain.run_round()
    assert not differing(model_of(plug), model_of(plain))
    plug.run_round(), plain.run_round()
    assert differing(model_of(plug), model_of(plain))


def test_the_hosts_settings_are_checked():
    with pytest.raises(ConfigError, match="muu"):
        make_run("fedftg", {"host": "fedprox", "on": {"muu": 1}})


def test_hosts_state_counts_from_what_was_sent():
    """FedDyn's h under fine-tuning: the clients began at the fine-tuned model, and so does the difference."""
    run = make_run("fedftg", {"host": "feddyn"})
    run.run_round()
    tuned = model_of(run)
    run.server.context.streams.begin(1)
    messages = run.server.configure(1, [0, 1])
    assert not differing(messages[0].parts["model"], tuned)
    assert not differing(run.server.host.sent, tuned)


def make_session(options: dict | None = None) -> Session:
    task = make_task()
    generator = ConditionalGenerator(4, CLASSES, task.shape, 4)
    clients = [make_net(seed).eval().requires_grad_(False) for seed in (1, 2, 3)]
    settings = Distillation.model_validate({
        "latent": 4, "iterations": 3, "distil_steps": 2, **(options or {}),
        "transfer": {"batch": 8, "lr": 0.05, "momentum": 0, "schedule": "constant"},
    })  # fmt: skip
    labels = torch.randint(CLASSES, (24,), generator=torch.Generator().manual_seed(0))
    method = ServerDistillation.of(generator, clients, class_shares(COUNTS).float(), labels)
    teacher = Teacher(torch.nn.ModuleList(clients), task)
    return Session(method, settings, teacher, make_net(), task, Runtime(), 0, 6)


def test_moves():
    session = make_session()
    assert [session.move()[0] for _ in range(9)] == ["acquire", "transfer", "transfer"] * 3


def test_the_mean_over_classes_is_the_sum_by_their_number():
    session = make_session()
    session.move()
    batch, values = session.method.transfer_batch(), {}
    for way in ("sum", "mean"):
        session.method.config = session.method.config.model_copy(update={"over_classes": way})
        values[way] = float(session.method.student_loss(session.context.student_outputs, batch).total().detach())
    assert values["sum"] == pytest.approx(CLASSES * values["mean"], rel=1e-5)


def test_acquire_trains_only_the_generator_and_transfer_only_the_model():
    session = make_session()
    parts = {"student": session.student, "generator": session.method.generator}
    clients = [copy.deepcopy(client.state_dict()) for client in session.method.clients]

    def moved(part: torch.nn.Module, before: dict) -> list[str]:
        return [n for n in differing(before, dict(part.state_dict())) if "running" not in n and "num" not in n]

    for kind, learner in (("acquire", "generator"), ("transfer", "student")):
        before = {name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}
        assert session.move()[0] == kind
        for name, part in parts.items():
            assert bool(moved(part, before[name])) == (name == learner), (kind, name)
    assert not any(differing(a, dict(b.state_dict())) for a, b in zip(clients, session.method.clients))


@pytest.mark.parametrize(("statistics", "move"), [("frozen", False), ("update", True)])
def test_statistics(statistics, move):
    session = make_session({"statistics": statistics})
    before = session.student[0][1].running_mean.clone()
    session.advance(3)
    assert torch.equal(before, session.student[0][1].running_mean) != move


def test_the_generators_losses_against_float64():
    session = make_session()
    method = session.method
    session.streams.begin(0)
    noise, targets = torch.randn(8, 4), torch.randint(CLASSES, (8,))
    codes = torch.cat([noise, F.one_hot(targets, CLASSES).float()], 1)
    share = class_shares(COUNTS)[0].float()[targets]
    session.student.eval()
    method.generator.eval()
    client = method.clients[0]
    values = method.generator_losses(codes, noise, targets, client, share)
    images = method.generator(codes)
    ours, theirs = session.student(images).double(), client(images).double()
    expected = {
        "disagreement": (share * (ours - theirs).abs().mean(1)).mean(),
        "ce": (share * F.cross_entropy(theirs, targets, reduction="none")).mean(),
        "diversity": mode_seeking(images, noise).double(),
    }
    for name, value in values.values().items():
        assert float(value) == pytest.approx(float(expected[name].detach()), rel=1e-4), name
    assert [weight for weight, _ in values.terms.values()] == [-1, 1, pytest.approx(1 / 3)]


def test_the_answer_is_the_class_weighted_mixture():
    session = make_session()
    session.move()
    given = session.method.batch
    logits = torch.stack([client((given["images"] - 0.5) / 0.25) for client in session.method.clients])
    shares = class_shares(COUNTS)[:, given["targets"]].float()
    assert torch.allclose(given["answer"], mixture(logits, shares), atol=1e-5)
    assert torch.allclose(given["answer"].sum(1), torch.ones(8), atol=1e-5)


def test_a_term_of_weight_zero_is_not_computed():
    session = make_session({"hard": 0.0, "diversity": 0.0})
    session.move()
    assert session.context.counters["student_forwards"] == 0
    assert Distillation(generator_steps=0, hard=0, ce=0, diversity=0)
    with pytest.raises(ConfigError, match="no loss"):
        Distillation(hard=0, ce=0, diversity=0)


def test_the_conditional_generator():
    generator = ConditionalGenerator(4, CLASSES, (3, 10, 12), 8)
    codes = torch.cat([torch.randn(6, 4), F.one_hot(torch.arange(6) % CLASSES, CLASSES).float()], 1)
    images = generator(codes)
    assert images.shape == (6, 3, 10, 12)
    assert torch.allclose(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(images.var((0, 2, 3), unbiased=False), torch.ones(3), atol=1e-2)
    other = codes.clone()
    other[:, 4:] = other[:, 4:].roll(1, 1)
    assert not torch.allclose(generator.eval()(codes), generator(other))
    assert isinstance(generator, UpsamplingGenerator)


def test_wrong_label_counts_are_refused():
    def wire(round: int, client: int, data: bytes) -> bytes:
        reply = Payload.from_bytes(data)
        if client == 1:
            reply.parts["labels"]["counts"][0] += 1000
        return reply.to_bytes()

    line = make_run("fedftg", active=4, wire=wire).run_round()
    assert [(one["client"], "number of examples" in one["reason"]) for one in line["refused"]] == [(1, True)]


def test_a_client_that_was_refused_is_asked_again():
    spoilt: list[int] = []

    def wire(round: int, client: int, data: bytes) -> bytes:
        if client == 1 and round == 0:
            spoilt.append(client)
            return b""
        return data

    run = make_run("fedftg", active=4, wire=wire)
    assert run.run_round()["taken"] == 3
    assert run.run_round()["up"]["labels"] == 4 * CLASSES
    assert spoilt == [1]


def test_label_counts_are_those_of_the_data():
    run = make_run("fedftg", active=4)
    message = run.server.configure(0, [2])[2]
    reply = run.client.answer(message, run.data[2], {}, client_streams(0, 2, 0))
    assert reply.parts["labels"]["counts"].tolist() == run.data[2].labels.bincount(minlength=CLASSES).tolist()
    assert LOCAL["steps"] == 3
    assert isinstance(run.server.context.streams, Streams)
