"""FedD2S, the reconstruction: what moves, what learns, what is sent."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tiny import CLASSES, differing, make_task
from tiny_clients import BATCH, SIZES, make_net, make_run, model_of
from torch import nn

from sansdata.contracts import Losses
from sansdata.errors import ClientLost, ConfigError, StudentError
from sansdata.federated.fedd2s import OWN, UPLOADS, blocks_of
from sansdata.federated.in_process import InProcess
from sansdata.federated.payload import Payload
from sansdata.federated.round import client_streams
from sansdata.models.build import architecture_of, build
from sansdata.tasks import load_task


def own_network(run: InProcess, client: int) -> dict[str, torch.Tensor]:
    """What a client trains, all of it its own."""
    return {name.removeprefix(OWN): value for name, value in run.memories[client].items() if name.startswith(OWN)}


def test_the_cut_moves_from_deep_to_shallow():
    run = make_run("fedd2s", {"cuts": [], "every": None}, rounds=8)  # two blocks: two rounds per cut
    assert [run.server.cut_at(round) for round in range(8)] == [2, 2, 1, 1, 1, 1, 1, 1]
    assert [make_run("fedd2s", {"cuts": [1, 2], "every": 3}).server.cut_at(r) for r in range(5)] == [1, 1, 1, 2, 2]


@pytest.mark.parametrize("exchange", ["head", "answers"])
@pytest.mark.parametrize("cut", [1, 2])
def test_distillation_reaches_only_the_blocks_below_the_cut(exchange, cut):
    run = make_run("fedd2s", {"cuts": [cut], "exchange": exchange}, active=4)
    run.run_round()
    run.server.context.streams.begin(1)
    message = run.server.configure(1, [1])[1]
    memory, model = run.memories[1], run.client.context.model
    run.client.recall(memory)
    losses = Losses()
    run.client.distil(losses, message, run.data[1], memory, client_streams(0, 1, 1))
    assert set(losses.terms) == ({"answer", "answer_ce"} if exchange == "head" else {"answer"})
    model.zero_grad()
    losses.total().backward()
    touched = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched == {str(block) for block in range(cut)}


def test_the_distillation_loss_against_float64():
    run = make_run("fedd2s", {"cuts": [2], "temperature": 2.0, "client_weight": 0.5}, active=4)
    run.run_round()
    message = run.server.configure(1, [1])[1]
    streams, data, memory = client_streams(0, 1, 1), run.data[1], run.memories[1]
    run.client.recall(memory)
    run.client.context.model.eval()
    losses = Losses()
    run.client.distil(losses, message, data, memory, streams)
    drawn = torch.randint(len(memory["ids/0"]), (BATCH,), generator=client_streams(0, 1, 1)("answered"))
    ids = memory["ids/0"][drawn]
    images = (data.images[ids].double() / 255 - 0.5) / 0.25
    net, head = make_net().double().eval(), message.parts["head"]
    net.load_state_dict({name.removeprefix("model/"): v.double() for name, v in memory.items() if "model/" in name})
    logits = net[1](net[0](images)) @ head["0.weight"].double().T + head["0.bias"].double()
    q = message.parts["answers"]["q"][drawn].double()
    expected = -(q * F.log_softmax(logits / 2, 1)).sum(1)
    weight, value = losses.terms["answer"]
    assert weight == 0.5 * 2**2
    assert torch.allclose(value.double(), expected, rtol=1e-4)
    assert torch.allclose(
        losses.terms["answer_ce"][1].double(), F.cross_entropy(logits, data.labels[ids], reduction="none"), rtol=1e-4
    )


def test_without_client_weight_it_is_local_training():
    """The limit the card names, and nothing but cross-entropy on own images: FedAvg's client that is never averaged."""
    alone = make_run("fedd2s", {"client_weight": 0.0}, active=4)
    alone.run_round(), alone.run_round()
    model = {name.removeprefix("model/"): value for name, value in alone.memories[2].items() if "model/" in name}
    fedavg = make_run("fedavg")
    state = make_net().state_dict()
    for round in range(2):
        payload = Payload({"model": state}, {"round": round})
        state = fedavg.client.answer(payload, fedavg.data[2], {}, client_streams(0, 2, round)).parts["model"]
    assert not differing(model, dict(state))


def test_the_personal_model_is_trunk_head_and_shares_of_classes():
    """Against float64: the client's own blocks, the server's head as it was trained last, log n - log u."""
    run = make_run("fedd2s", active=4)  # cuts 2, 2, 1, 1
    run.run_round(), run.run_round()
    head = [{name: value.clone() for name, value in block.state_dict().items()} for block in run.server.blocks[2:]]
    union = sum(torch.bincount(data.labels, minlength=CLASSES) for data in run.data)
    make = run.personal_model()  # of round 2, whose cut is 1: the head is that of cut 2 all the same
    for client in (0, 3):
        make(client)
        images = (run.data[client].images.double() / 255 - 0.5) / 0.25
        net = make_net().double().eval()
        net.load_state_dict({name: value.double() for name, value in own_network(run, client).items()})
        counts = torch.bincount(run.data[client].labels, minlength=CLASSES)
        shares = (counts + 1) / (counts + 1).sum()
        prior = shares.double().log() - ((union + 1) / (union + 1).sum()).double().log()
        expected = net[1](net[0](images)) @ head[0]["weight"].double().T + head[0]["bias"].double() + prior
        model = run.client.context.model.eval()
        assert torch.allclose(model(images.float()).double(), expected, atol=1e-4)
        assert int(prior.argmin()) in (counts == 0).nonzero()


def test_without_a_head_the_personal_model_is_the_client_s_own():
    for options in ({"personal": "own"}, {"exchange": "answers"}):
        run = make_run("fedd2s", options, active=4)
        run.run_round(), run.run_round()
        run.personal_model()(1)
        assert not differing(own_network(run, 1), dict(run.client.context.model.state_dict()))


def test_a_predictor_without_a_bias_is_refused():
    def make() -> nn.Module:
        net = make_net()
        net[2] = nn.Linear(6, CLASSES, bias=False)
        return net

    with pytest.raises(StudentError, match="personal=own"):
        make_run("fedd2s", make=make)
    make_run("fedd2s", {"personal": "own"}, make=make)


@pytest.mark.parametrize("how", ["lost", "refused"])
def test_answers_are_of_the_images_that_the_server_took(how):
    """The specimen: a reply that does not arrive, and the answers of the round before beside other images."""

    def wire(round: int, client: int, data: bytes) -> bytes:
        if (round, client) != (1, 0):
            return data
        if how == "lost":
            raise ClientLost("too late")
        return b"no message"

    run = make_run("fedd2s", {"cuts": [2], "upload": 3}, active=4, wire=wire)
    run.run_round()
    shown = run.memories[0]["ids/0"]
    assert [one["client"] for one in run.run_round()[how]] == [0]
    message, other = (run.server.configure(2, [0, 1])[client] for client in (0, 1))
    assert (message.facts["upload"], other.facts["upload"]) == (0, 1)
    assert torch.equal(run.client.answered(message, run.memories[0]), shown)
    assert not torch.equal(run.memories[0]["ids/1"], shown)


def test_uploads_long_ago_are_forgotten_and_answers_to_them_are_dropped():
    run = make_run("fedd2s", {"cuts": [2]}, active=4, rounds=20)
    for _ in range(UPLOADS + 2):
        run.run_round()
    memory = run.memories[1]
    assert sorted(name for name in memory if "ids" in name) == sorted(f"ids/{n}" for n in range(2, UPLOADS + 2))
    message = run.server.configure(UPLOADS + 2, [1])[1]
    message.facts["upload"] = 1
    assert run.client.answered(message, memory) is None
    message.facts["round"] = UPLOADS + 2
    run.client.answer(message, run.data[1], memory, client_streams(0, 1, UPLOADS + 2))


def test_answers_of_an_earlier_cut_are_dropped():
    run = make_run("fedd2s", active=4)  # cuts 2, 2, 1, 1
    lines = [run.run_round() for _ in range(4)]
    assert ["answers" in line["down"] for line in lines] == [False, True, False, True]
    assert ["head" in line["down"] for line in lines] == [False, True, True, True]


def test_bytes_are_the_closed_form():
    """Up: n (4 dim(h) + 4 K + 4). Down, from the second round of a cut: n 4 K. The head that was trained last, with K
    label counts, goes down from the second round on, or with `personal=own` beside answers."""
    run = make_run("fedd2s", active=4)
    lines = [run.run_round() for _ in range(4)]
    n = sum(SIZES)
    for line, dim in zip(lines, (6, 6, 64, 64)):
        assert line["up"]["features"] == n * (4 * dim + 4 * CLASSES + 4)
    net = make_net()
    head = {2: net[2], 1: nn.Sequential(net[1], net[2])}
    assert lines[1]["down"]["answers"] == lines[3]["down"]["answers"] == n * 4 * CLASSES
    for line, cut in ((lines[1], 2), (lines[2], 2), (lines[3], 1)):
        assert line["down"]["labels"] == 4 * 4 * CLASSES
        assert line["down"]["head"] == 4 * sum(4 * p.numel() for p in head[cut].parameters())
    own = make_run("fedd2s", {"personal": "own"}, active=4)
    lines = [own.run_round() for _ in range(4)]
    assert [line["down"].get("head", 0) > 0 for line in lines] == [False, True, False, True]
    assert not any("labels" in line["down"] for line in lines)
    light = make_run("fedd2s", {"exchange": "answers", "upload": 5}, active=4)
    light.run_round()
    line = light.run_round()
    assert line["up"]["features"] == 4 * 5 * (4 * 6 + 4 * CLASSES + 4)
    assert {name: size for name, size in line["down"].items() if name != "facts"} == {"answers": 4 * 5 * 4 * CLASSES}


def test_a_moved_cut_keeps_the_trained_layers_only_when_warm():
    for warm in (True, False):
        run = make_run("fedd2s", {"warm": warm}, active=4)
        first = model_of(run)
        run.run_round(), run.run_round()
        trained = model_of(run)
        assert set(differing(first, trained)) == {"2.weight", "2.bias"}
        run.server.train_head = lambda cut, union: {}
        run.run_round()
        assert bool(differing(trained, model_of(run))) == (not warm)


def hostile(change) -> list[tuple[int, str]]:
    def wire(round: int, client: int, data: bytes) -> bytes:
        reply = Payload.from_bytes(data)
        if client == 3:
            change(reply.parts["features"])
        return reply.to_bytes()

    line = make_run("fedd2s", active=4, wire=wire).run_round()
    return [(one["client"], one["reason"]) for one in line["refused"]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: f.update(h=f["h"][:-1].clone()), "expected 15 of each"),
        (lambda f: f.update({name: value[:4].clone() for name, value in f.items()}), "expected 15 of each"),
        (lambda f: f.update(h=f["h"][:, :-1].contiguous()), "shape"),
        (lambda f: f["y"].fill_(CLASSES), "labels from 4 to 4, of 4 classes"),
        (lambda f: f["y"].fill_(-1), "labels from -1 to -1"),
        (lambda f: f["p"].mul_(2), "no probabilities"),
        (lambda f: f["h"].fill_(float("nan")), "nan"),
        (lambda f: f.pop("y"), "missing"),
    ],
    ids=range(8),
)
def test_hostile_features_are_refused(change, reason):
    ((client, said),) = hostile(change)
    assert client == 3
    assert reason in said


def test_features_can_be_clipped_and_noised():
    def features(**options: float) -> torch.Tensor:
        run = make_run("fedd2s", options)
        message = run.server.configure(0, [0])[0]
        return run.client.answer(message, run.data[0], {}, client_streams(0, 0, 0)).parts["features"]["h"]

    plain, clipped = features(), features(feature_clip=0.1)
    assert float(clipped.flatten(1).norm(dim=1).max()) <= 0.1 + 1e-6 < float(plain.flatten(1).norm(dim=1).max())
    noise = features(feature_clip=0.1, feature_noise=3.0) - clipped
    assert float(noise.std()) == pytest.approx(0.3, rel=0.3)
    with pytest.raises(ConfigError, match="feature_clip"):
        features(feature_noise=1.0)


def test_a_network_that_is_no_chain_is_refused():
    with pytest.raises(StudentError, match="Sequential"):
        blocks_of(build(architecture_of("resnet8", load_task("mnist"))))
    with pytest.raises(ConfigError, match="no place in a network of 2 blocks"):
        make_run("fedd2s", {"cuts": [3]})


def test_personal_models_differ_and_stay():
    run = make_run("fedd2s", active=4)
    run.run_round()
    kept = [{n: v for n, v in run.memories[client].items() if n.startswith("model/")} for client in range(4)]
    assert differing(kept[0], kept[1])
    run.client.recall(run.memories[0])
    now = {f"model/{name}": value for name, value in run.client.context.model.state_dict().items()}
    assert not differing(kept[0], now)
    assert make_task().classes == CLASSES
