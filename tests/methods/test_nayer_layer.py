"""NAYER's noisy layer: which layer serves whom, and what is drawn anew."""

from __future__ import annotations

import pytest
import torch

from sansdata.methods.nayer import NoisyLayer
from sansdata.models.embeddings import orthonormal
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
