"""The network that the recipe wrecks: the same function, and ranges that no common grid holds."""

from __future__ import annotations

import torch

from sansdata.compress.equalize import input_ranges
from sansdata.reproduce.experiments.integers import Separable, damage


def test_damage_changes_no_answer_and_spreads_the_ranges() -> None:
    torch.manual_seed(0)
    module = Separable(1, 10).eval()
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean = torch.randn(part.num_features)
            part.running_var = torch.rand(part.num_features) + 0.5
    images = torch.randn(8, 1, 28, 28)
    with torch.no_grad():
        before = module(images)
        even = input_ranges(module[6].weight, 1)
        damage(module, 0)
        torch.testing.assert_close(module(images), before, rtol=1e-3, atol=1e-4)
    wrecked = input_ranges(module[6].weight, 1)
    assert float(wrecked.max() / wrecked.min()) > 20 * float(even.max() / even.min())
