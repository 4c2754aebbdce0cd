"""NAYER's noisy layer: which layer serves whom, what is drawn anew, and embeddings at right angles."""

from __future__ import annotations

import pytest
import torch

from sansdata.models.initial_weights import draw_default, draw_normal
from sansdata.models.noisy_layer import NoisyLayer, orthonormal
from sansdata.synthesis.labels import class_blocks


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(batch: int, classes: int = 3, size: int = 6, latent: int = 5) -> NoisyLayer:
    layer = NoisyLayer(orthonormal(classes, size, seeded()), batch, latent)
    layer.redraw(seeded(1))
    return layer


@pytest.mark.parametrize("batch", [2, 3, 9, 11])
def test_one_linear_layer_serves_as_many_consecutive_samples_as_there_are_classes(batch):
    layer = make(batch).train()
    labels = class_blocks(batch, 3, seeded())
    with torch.no_grad():
        layer.bias.normal_(generator=seeded(2))
    got = layer(labels)
    assert got.shape == (batch, 5)
    codes = layer.embeddings[labels]
    codes = (codes - codes.mean(0)) / (codes.var(0, correction=0) + layer.norm.eps).sqrt()
    for i in range(batch):
        wanted = codes[i] @ layer.weight[i // 3] + layer.bias[i // 3]
        assert (got[i] - wanted).abs().max() < 1e-4


def test_a_class_differs_from_block_to_block_and_only_by_the_noise():
    layer = make(9)
    latents = layer(class_blocks(9, 3, seeded())).view(3, 3, 5)
    assert (latents[0] - latents[1]).abs().min() > 0
    with torch.no_grad():
        layer.weight[1:] = layer.weight[:1]
    latents = layer(class_blocks(9, 3, seeded())).view(3, 3, 5)
    assert torch.allclose(latents[0], latents[1])


def test_a_redraw_is_standard_normal_and_leaves_the_norm_as_it_is():
    layer = make(60, classes=4, size=20, latent=50)
    with torch.no_grad():
        layer.norm.weight.fill_(2.0)
        layer.bias.fill_(3.0)
    before = layer.weight.clone()
    layer.redraw(seeded(5))
    assert abs(layer.weight.mean()) < 0.03
    assert abs(layer.weight.std() - 1) < 0.03
    assert not layer.bias.any()
    assert (layer.weight != before).all()
    assert layer.norm.weight.eq(2.0).all()
    again = make(60, classes=4, size=20, latent=50)
    again.redraw(seeded(5))
    assert torch.equal(again.weight, layer.weight)


def test_gradients_reach_noise_and_norm_but_not_the_embeddings():
    layer = make(7)
    layer(class_blocks(7, 3, seeded())).square().sum().backward()
    assert {name for name, p in layer.named_parameters() if p.grad is not None} == {
        "weight", "bias", "norm.weight", "norm.bias",
    }  # fmt: skip
    assert "embeddings" in layer.state_dict()


@pytest.mark.parametrize(("classes", "size"), [(2, 2), (10, 512), (30, 31)])
def test_embeddings_stand_at_right_angles(classes, size):
    rows = orthonormal(classes, size, seeded(3))
    assert rows.shape == (classes, size)
    assert (rows @ rows.T - torch.eye(classes)).abs().max() < 1e-5
    assert torch.equal(rows, orthonormal(classes, size, seeded(3)))
    assert not torch.equal(rows, orthonormal(classes, size, seeded(4)))


def make_net() -> torch.nn.Sequential:
    net = torch.nn.Sequential(torch.nn.Linear(40, 50), torch.nn.Conv2d(8, 9, 3, bias=False), torch.nn.BatchNorm2d(30))
    with torch.no_grad():
        for value in [*net.parameters(), net[2].running_mean]:
            value.fill_(7.0)
    return net


def test_weights_drawn_anew_forget_the_old():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = make_net()
        draw_normal(net)
        assert abs(net[0].weight.std() - 0.02) < 0.002
        assert abs(net[1].weight.std() - 0.02) < 0.002
        assert abs(net[2].weight.mean() - 1) < 0.02
        assert 0.01 < net[2].weight.std() < 0.03
        assert not any(value.any() for value in (net[0].bias, net[2].bias, net[2].running_mean))
        net = make_net()
        draw_default(net)
        assert net[0].weight.abs().max() <= 40**-0.5
        assert net[2].weight.eq(1).all()
        assert not net[2].running_mean.any()
