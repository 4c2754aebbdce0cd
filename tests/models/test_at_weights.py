"""A module at other weights than its own."""

from __future__ import annotations

import torch
from torch import nn

from sansdata.models.at_weights import AtWeights


def test_at_other_weights_statistics_of_the_module_stay():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).train()
    before = {name: value.clone() for name, value in module.named_buffers()}
    other = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
    answer = AtWeights(module, other).train()(torch.randn(8, 3))
    assert answer.abs().max() == 0
    assert all(torch.equal(before[name], value) for name, value in module.named_buffers())
    assert next(module.parameters()).abs().max() > 0
