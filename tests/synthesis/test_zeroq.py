"""The distilled batch has the statistics that the layers remember."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from tiny import make_module, make_task
from torch import nn

from sansdata.errors import TeacherError
from sansdata.network import Network
from sansdata.objectives.batch_stats import sample_statistics_distance
from sansdata.synthesis.zeroq import distilled_batch
from sansdata.teachers.base import dissect


def test_the_distance_is_that_of_the_formula() -> None:
    x = torch.randn(4, 3, 5, 5, dtype=torch.float64)
    mean, std = torch.randn(3, dtype=torch.float64), torch.rand(3, dtype=torch.float64)
    expected = 0.0
    for sample in x:
        for channel in range(3):
            values = sample[channel].flatten()
            expected += float((values.mean() - mean[channel]) ** 2)
            deviation = math.sqrt(statistics.variance(values.tolist()) + 1e-6)  # of 25 values, divided by 24
            expected += (deviation - float(std[channel])) ** 2
    assert float(sample_statistics_distance(x, mean, std)) == pytest.approx(expected / 4)
    places = sample_statistics_distance(x[..., 0, 0], mean, std)
    assert float(places) == pytest.approx(float((x[..., 0, 0] - mean).square().sum(1).mean()))


def test_the_loss_falls_and_the_network_stays() -> None:
    network = Network.of(make_module().eval(), make_task())
    norms = dissect(network, torch.rand(2, 1, 8, 8)).batch_norms
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    batch = distilled_batch(network, norms, (1, 8, 8), 8, torch.Generator().manual_seed(0), steps=40)
    assert batch.inputs.shape == (8, 1, 8, 8)
    assert batch.last < 0.5 * batch.first
    assert all(torch.equal(value, before[name]) for name, value in network.module.state_dict().items())
    again = distilled_batch(network, norms, (1, 8, 8), 8, torch.Generator().manual_seed(0), steps=40)
    assert torch.equal(batch.inputs, again.inputs)


def test_a_network_without_batch_norm_is_one_error() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(TeacherError, match="no BatchNorm"):
        distilled_batch(Network.of(module, make_task()), (), (1, 8, 8), 2, torch.Generator())
