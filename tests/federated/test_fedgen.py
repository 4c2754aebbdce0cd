"""FedGen: the losses against float64, who takes which step, the counts, the bytes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tiny import CLASSES, differing, make_task
from tiny_clients import BATCH, STEPS, make_net, make_run, model_bytes, model_of
from torch import nn

from sansdata.errors import StudentError
from sansdata.federated.fedgen import FedGenConfig, Heads, LatentGenerator, label_weights
from sansdata.federated.payload import Payload
from sansdata.federated.round import client_streams
from sansdata.objectives.diversity import mode_seeking
from sansdata.objectives.federated import class_shares, ensemble_cross_entropy, mixture, weighted_cross_entropy
from sansdata.synthesis.labels import labels_by_weight, proportional_labels
from sansdata.teachers.base import head_of


def test_mode_seeking_is_the_mean_over_all_pairs():
    x, z = torch.randn(5, 2, 3), torch.randn(5, 4)
    total = 0.0
    for i in range(5):
        for j in range(5):
            total += float((x[i] - x[j]).abs().mean().double() * (z[i] - z[j]).square().mean().double())
    assert float(mode_seeking(x, z)) == pytest.approx(float(torch.tensor(-total / 25).exp()), rel=1e-5)
    assert float(mode_seeking(x[:1].expand(5, -1, -1), z)) == 1


def test_class_shares():
    counts = torch.tensor([[3, 0, 1], [1, 0, 0]])
    shares = class_shares(counts)
    assert torch.equal(shares[:, 0], torch.tensor([0.75, 0.25], dtype=torch.float64))
    assert torch.equal(shares[:, 1], torch.tensor([0.5, 0.5], dtype=torch.float64))
    assert torch.allclose(shares.sum(0), torch.ones(3, dtype=torch.float64))


def test_losses_against_float64():
    logits, targets = torch.randn(3, 6, CLASSES), torch.randint(CLASSES, (6,))
    shares = torch.rand(3, 6).softmax(0)
    log_p = F.log_softmax(logits.double(), 2)
    each = -torch.stack([log_p[s, range(6), targets] for s in range(3)])
    assert torch.allclose(weighted_cross_entropy(logits, targets, shares).double(), (shares * each).sum(0), atol=1e-6)
    mean = -F.log_softmax(logits.double().mean(0), 1)[range(6), targets]
    assert torch.allclose(ensemble_cross_entropy(logits, targets).double(), mean, atol=1e-6)
    assert torch.allclose(mixture(logits, shares).double(), (shares[..., None] * log_p.exp()).sum(0), atol=1e-6)
    assert torch.allclose(mixture(logits, shares).sum(1), torch.ones(6))


def test_labels_by_weight_and_in_proportion():
    weights = torch.tensor([3.0, 0.0, 1.0, 2.5])
    drawn = labels_by_weight(2000, weights, torch.Generator().manual_seed(0)).bincount(minlength=4)
    assert drawn[1] == 0
    assert torch.allclose(drawn / 2000, weights / weights.sum(), atol=0.04)
    for count in (7, 50, 501):
        labels = proportional_labels(count, weights, torch.Generator().manual_seed(1))
        assert len(labels) == count
        assert ((labels.bincount(minlength=4) - count * weights / weights.sum()).abs() < 1).all()


def test_a_generated_feature_depends_on_its_label():
    generator = LatentGenerator(4, CLASSES, 8, 6).eval()
    noise = torch.randn(1, 4).expand(CLASSES, -1)
    assert generator(noise, torch.arange(CLASSES)).unique(dim=0).shape == (CLASSES, 6)


def test_heads_are_the_clients_last_layers():
    nets = [make_net(seed) for seed in range(2)]
    replies = {k: Payload({"model": net.state_dict()}) for k, net in enumerate(nets)}
    x = torch.randn(5, 6)
    found = Heads(replies, head_of(nets[0], make_task(), "so"), torch.device("cpu"))(x)
    assert torch.allclose(found, torch.stack([net[2](x) for net in nets]))


def test_a_network_without_a_linear_head_is_refused():
    linear = nn.Linear(64, CLASSES)
    nn.init.constant_(linear.bias, -1.0)  # so that the ReLU changes what a blank image gives
    with pytest.raises(StudentError, match="no linear layer"):
        head_of(nn.Sequential(nn.Flatten(), linear, nn.ReLU()), make_task(), "so")


def test_finding_the_head_leaves_the_network_as_it_was():
    net = make_net().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert head_of(net, make_task(), "so") == "2"
    assert net.training
    assert not differing(before, dict(net.state_dict()))


def test_the_release_weighs_a_client_by_the_mean_of_its_shares():
    """(B,) losses times (B, 1) shares, averaged over B x B: what the release computes."""
    stream = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(3, 8, 4, generator=stream), torch.randint(4, (8,), generator=stream)
    shares = torch.rand(3, 4, generator=stream)
    released = sum(
        (F.cross_entropy(own, labels, reduction="none") * share[labels][:, None]).mean()
        for own, share in zip(logits, shares)
    )
    weights = label_weights(shares, labels, "mean")
    torch.testing.assert_close(weighted_cross_entropy(logits, labels, weights).mean(), released)
    assert torch.equal(label_weights(shares, labels, "own"), shares[:, labels])


@pytest.mark.parametrize("teaching", ["per-client", "ensemble"])
def test_the_servers_step_touches_only_the_generator(teaching):
    run = make_run("fedgen", {"teaching": teaching})
    run.run_round()
    server = run.server
    before, model = {n: v.clone() for n, v in server.generator.state_dict().items()}, model_of(run)
    heads = Heads(
        {0: Payload({"model": model}), 1: Payload({"model": make_net(5).state_dict()})}, "2", torch.device("cpu")
    )
    weights = heads.weights.clone()
    server.context.streams.begin(7)
    figures = server.train_generator(1, heads, torch.full((2, CLASSES), 9))
    assert torch.equal(weights, heads.weights)
    assert not differing(model, model_of(run))
    assert differing(before, dict(server.generator.state_dict()))
    assert figures.keys() == {"teach", "diversity", "generator_accuracy"}


def test_a_trained_generator_makes_what_the_heads_know():
    """The card's check: of what is generated after training, the ensemble recognises nearly all."""
    run = make_run("fedgen", {"generator_steps": 150, "generator_lr": 0.01, "batch": 32, "hidden": 32})
    run.server.context.streams.begin(0)
    figures = run.server.train_generator(
        0,
        Heads({0: Payload({"model": make_net().state_dict()})}, "2", torch.device("cpu")),
        torch.full((1, CLASSES), 9),
    )
    assert figures["generator_accuracy"] > 0.95


def test_the_clients_step_touches_only_its_model():
    run = make_run("fedgen")
    run.run_round()
    message = run.server.configure(1, [0])[0]
    run.client.answer(message, run.data[0], {}, client_streams(0, 0, 1))
    assert not differing(message.parts["generator"], dict(run.client.generator.state_dict()))
    assert all(p.grad is None for p in run.client.generator.parameters())


def test_terms_come_with_the_second_round_and_move_only_the_head():
    """L_teach is a function of the last layer; without the latent term the blocks below get the same first step."""

    def step(round: int, **options: float) -> dict[str, torch.Tensor]:
        run = make_run("fedgen", {"local": {"steps": 1}, "latent": 0.0, **options})
        message = run.server.configure(round, [0])[0]
        return run.client.answer(message, run.data[0], {}, client_streams(0, 0, round)).parts["model"]

    assert not differing(step(0, teach=10.0), step(0, teach=0.0))
    assert sorted(differing(step(1, teach=10.0), step(1, teach=0.0))) == ["2.bias", "2.weight"]
    assert "1.1.weight" in differing(step(1, teach=0.0, latent=10.0), step(1, teach=0.0))


def test_weights_decay_to_a_floor_and_zero_stays_zero():
    config = FedGenConfig(teach=10, latent=0, decay=0.5, floor=0.1)
    assert [config.weight(config.teach, round) for round in (0, 1, 2, 20)] == [10, 5, 2.5, 0.1]
    assert config.weight(config.latent, 3) == 0


def test_label_counts_add_up_and_wrong_ones_are_refused():
    run = make_run("fedgen", active=4)
    messages = run.server.configure(0, range(4))
    replies = {k: run._ask(0, k, messages[k]) for k in range(4)}
    for reply in replies.values():
        assert int(reply.parts["labels"]["counts"].sum()) == STEPS * BATCH + CLASSES

    def wire(round: int, client: int, data: bytes) -> bytes:
        reply = Payload.from_bytes(data)
        if client == 1:
            reply.parts["labels"]["counts"] += 5
        return reply.to_bytes()

    line = make_run("fedgen", active=4, wire=wire).run_round()
    assert [(one["client"], "add up" in one["reason"]) for one in line["refused"]] == [(1, True)]


def test_labels_that_nobody_has_are_never_drawn_and_none_is_forgotten():
    run = make_run("fedgen", clients=3, active=1)  # client k has the classes k and k + 1 of 4
    assert run.server.prior().tolist() == [0.25] * 4
    shown: set[int] = set()
    for _ in range(6):
        (client,) = run.run_round()["clients"]
        shown |= {client, client + 1}
        assert run.server.prior().tolist() == pytest.approx([float(k in shown) / len(shown) for k in range(4)])
    assert len(shown) > 2
    paper = make_run("fedgen", {"sampled": "prior"}, clients=2, active=2)
    paper.run_round()
    assert float(paper.server.prior()[3]) == 0
    assert torch.equal(paper.server.prior(), paper.server.known["counts"] / paper.server.known["counts"].sum())


def test_bytes_are_the_cards():
    """Down: model, generator and p(y). Up: model and one whole number per class."""
    run = make_run("fedgen", {"hidden": 16, "noise_size": 5})
    run.run_round()
    line = run.run_round()
    generator = LatentGenerator(5, CLASSES, 16, 6)
    assert line["down"]["model"] == line["up"]["model"] == 3 * model_bytes(make_net())
    assert line["down"]["generator"] == 3 * model_bytes(generator)
    assert line["down"]["labels"] == line["up"]["labels"] == 3 * 4 * CLASSES


def test_without_its_terms_it_is_fedavg():
    """A weight of zero is not computed: the model is that of FedAvg, bit for bit."""
    fedgen, fedavg = make_run("fedgen", {"teach": 0.0, "latent": 0.0}), make_run("fedavg")
    for _ in range(3):
        fedgen.run_round(), fedavg.run_round()
    assert not differing(model_of(fedgen), model_of(fedavg))
