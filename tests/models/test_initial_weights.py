"""Weights that are drawn anew in place."""

from __future__ import annotations

import torch

from sansdata.models.initial_weights import draw_default, draw_normal


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
