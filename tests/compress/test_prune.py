"""Pruning: which weights go, and what images mend."""

from __future__ import annotations

import pytest
import torch
from tiny import make_module

from sansdata.compress.prune import (
    kept_share,
    left_by_pruning,
    magnitude_masks,
    prune,
    pruned_share,
    recalibrate,
    recover,
)
from sansdata.compress.quantize import layers_of
from sansdata.objectives.logits import kl
from sansdata.runtime import Runtime

SHAPE = (1, 8, 8)


def inputs(count: int = 256, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def error(pruned: torch.nn.Module, module: torch.nn.Module) -> float:
    asked = inputs(256, 9)
    with torch.no_grad():
        return float((pruned(asked) - module(asked)).square().mean())


def divergence(pruned: torch.nn.Module, module: torch.nn.Module) -> float:
    asked = inputs()
    with torch.no_grad():
        return float(kl(pruned(asked), module(asked), 4.0).mean())


@pytest.mark.parametrize("keep", [0.05, 0.5, 1.0])
def test_the_largest_weights_of_all_layers_together_are_kept(keep: float) -> None:
    module = make_module()
    masks = magnitude_masks(module, keep, SHAPE)
    weights = torch.cat([module.get_submodule(path).weight.flatten() for path in layers_of(module, SHAPE)]).abs()
    kept = torch.cat([mask.flatten() for mask in masks.values()])
    assert int(kept.sum()) == round(keep * len(weights))
    if keep < 1:
        assert weights[kept].min() >= weights[~kept].max()
    pruned = prune(module, masks)
    assert kept_share(pruned, masks) == pytest.approx(keep, abs=1e-4)
    assert kept_share(module, masks) == 1.0  # the given one stays as it was


def test_with_everything_kept_nothing_changes_whatever_the_images() -> None:
    module = make_module()
    masks = magnitude_masks(module, 1.0, SHAPE)
    pruned = prune(module, masks)
    recalibrate(pruned, module, 7 * inputs() + 3)
    for name, value in pruned.state_dict().items():
        assert torch.allclose(value, module.state_dict()[name], rtol=1e-5), name


def test_statistics_follow_what_pruning_changed() -> None:
    """On the images that the original's statistics are of, the moved ones are those of the pruned network's own."""
    module = make_module().train()
    with torch.no_grad():
        for _ in range(60):
            module(inputs(512, 0))
    module.eval()
    pruned = prune(module, magnitude_masks(module, 0.3, SHAPE))
    without = error(pruned, module)
    recalibrate(pruned, module, inputs(512, 0))
    seen: list[torch.Tensor] = []
    pruned.bn1.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        pruned(inputs(512, 0))
    assert torch.allclose(pruned.bn1.running_mean, seen[0].mean((0, 2, 3)), atol=0.02)
    assert torch.allclose(pruned.bn1.running_var, seen[0].var((0, 2, 3)), rtol=0.05)
    assert error(pruned, module) < without


def test_old_answers_are_learnt_again_with_the_rest_still_zero() -> None:
    module = make_module()
    masks = magnitude_masks(module, 0.3, SHAPE)
    pruned = prune(module, masks)
    recalibrate(pruned, module, inputs())
    before, statistics = divergence(pruned, module), pruned.bn1.running_mean.clone()
    learns = [p.requires_grad for p in pruned.parameters()]
    stream = torch.Generator().manual_seed(0)
    recover(pruned, masks, module, inputs(), Runtime(), steps=40, generator=stream, batch=64)
    assert divergence(pruned, module) < 0.7 * before
    assert kept_share(pruned, masks) <= 0.3001
    assert torch.equal(pruned.bn1.running_mean, statistics)
    assert [p.requires_grad for p in pruned.parameters()] == learns
    assert all(p.grad is None for p in [*pruned.parameters(), *module.parameters()])


# -- a pruned network as a student


def test_what_an_earlier_pruning_left_is_seen_in_the_weights() -> None:
    module = make_module()
    masks = magnitude_masks(module, 0.2, SHAPE)
    seen = left_by_pruning(prune(module, masks))
    assert all(torch.equal(seen[path], mask) for path, mask in masks.items())
    assert pruned_share(prune(module, masks)) == pytest.approx(0.8, abs=1e-3)


def test_a_fresh_network_is_not_pruned_though_a_layer_starts_at_zero() -> None:
    module = make_module()
    torch.nn.init.zeros_(module.linear.weight)
    with torch.no_grad():
        module.conv1.weight[0, 0, 0, 0] = 0  # and a weight is 0 by chance
    assert left_by_pruning(module) == {}
    assert pruned_share(module) == 0
