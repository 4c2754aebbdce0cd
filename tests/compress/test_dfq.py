"""Rounding, its correction and the ranges, by their effect."""

from __future__ import annotations

import pytest
import torch
from separable import images, separable
from torch import nn

from sansdata.compress.correct import channel_means, correct_by_inputs, correct_by_statistics, on_grid, round_weights
from sansdata.compress.dfq import make_ready
from sansdata.compress.fold import Normal, fold_batch_norms
from sansdata.compress.graph import NetworkGraph
from sansdata.compress.signals import Signal, signals


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_a_grid_holds_its_ends_and_rounding_twice_changes_nothing(bits: int) -> None:
    weight = torch.randn(6, 3, 3, 3, dtype=torch.float64)
    for per, scales in (("tensor", 1), ("channel", 6)):
        rounded = on_grid(weight, bits, per)  # type: ignore[arg-type]
        assert torch.equal(rounded.abs().amax(), weight.abs().amax())
        torch.testing.assert_close(on_grid(rounded, bits, per), rounded)  # type: ignore[arg-type]
        rows = rounded.flatten() if scales == 1 else rounded[0].flatten()
        assert len(rows.div(rows.abs().amax() / (2 ** (bits - 1) - 1)).round().unique()) <= 2**bits - 1


def test_the_analytic_correction_is_the_shift_of_normal_inputs() -> None:
    """A layer behind ReLU of a normal value, against its own output on draws of that value."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 6, 1), nn.ReLU(), nn.Conv2d(6, 5, 1)).eval()
    graph = NetworkGraph(module, (1, 1, 1))
    mean, std = torch.randn(6).double(), torch.rand(6).double() + 0.2
    told = signals(graph, {graph.layers[0].node: Normal(mean, std)})
    second = graph.layers[1]
    before = graph.bias(second).double()
    errors = round_weights(graph, 2, "tensor")
    left = correct_by_statistics(graph, errors, told)
    assert left == {"0"}
    draws = torch.relu(mean + std * torch.randn(200_000, 6, dtype=torch.float64))
    shift = (draws @ errors[second.node].flatten(1).T).mean(0)
    torch.testing.assert_close(graph.bias(second).double(), before - shift, atol=5e-3, rtol=0)
    assert float(shift.abs().max()) > 0.02


def test_the_empirical_correction_gives_every_layer_its_mean_back() -> None:
    reference = NetworkGraph(separable(), (1, 8, 8))
    fold_batch_norms(reference)
    rounded = reference.copy()
    round_weights(rounded, 3, "tensor")
    assert (
        float((channel_means(rounded.module(images())) - channel_means(reference.module(images()))).abs().max()) > 0.1
    )
    correct_by_inputs(rounded, reference, images(), {layer.path for layer in rounded.layers})
    torch.testing.assert_close(
        channel_means(rounded.module(images())), channel_means(reference.module(images())), atol=1e-4, rtol=1e-4
    )


def test_ranges_are_of_batch_norm_where_it_tells_and_of_inputs_elsewhere() -> None:
    told = make_ready(separable(), (1, 8, 8), images(), (-1.0, 1.0), by_statistics=True)
    seen = make_ready(separable(), (1, 8, 8), images(), (-1.0, 1.0), by_statistics=False)
    assert told.by_inputs == ("15",)  # the head, behind which no BatchNorm stands
    assert seen.by_inputs == ("0", "3", "6", "9", "15")
    assert told.ranges.keys() == seen.ranges.keys()
    assert told.ranges[next(iter(told.ranges))] == (-1.0, 1.0)
    assert any("without BatchNorm behind them: 15" in note for note in told.notes)


def test_a_range_is_six_standard_deviations_wide_and_a_relu_ends_it_at_zero() -> None:
    normal = Normal(torch.tensor([1.0, -2.0]), torch.tensor([0.5, 0.25]))
    assert Signal.of(normal).range == (-3.5, 4.0)


def test_a_network_without_any_batch_norm_is_said() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    ready = make_ready(module, (1, 8, 8), images(), (0.0, 1.0), "channel", by_statistics=True)
    assert ready.by_inputs == ("0", "3")
    assert ready.notes[:2] == ["0 BatchNorm layers folded", "without BatchNorm behind them: 0, 3"]
    torch.testing.assert_close(ready.module(images()), module(images()), atol=0.05, rtol=0.05)
