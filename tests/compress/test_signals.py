"""What BatchNorm tells of inner values, against a million draws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sansdata.compress.fold import fold_batch_norms
from sansdata.compress.graph import NetworkGraph
from sansdata.compress.signals import clipped_normal, signals

INFINITE = float("inf")


@pytest.mark.parametrize(("low", "high"), [(0.0, INFINITE), (0.0, 6.0), (-1.0, 1.0), (-INFINITE, INFINITE)])
@pytest.mark.parametrize(("mean", "std"), [(0.3, 1.0), (-2.0, 0.7), (4.0, 3.0), (1.0, 0.0)])
def test_the_mean_of_what_a_clip_leaves_is_that_of_draws(low: float, high: float, mean: float, std: float) -> None:
    draws = mean + std * torch.randn(1_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left = draws.clamp(low, high)
    one = torch.tensor([mean], dtype=torch.float64)
    first, spread = clipped_normal(one, torch.tensor([std], dtype=torch.float64), low, high)
    assert float(first) == pytest.approx(float(left.mean()), abs=4e-3 * max(std, 0.25))
    assert float(spread) == pytest.approx(float(left.std()), abs=4e-3 * max(std, 0.25))


class Branches(nn.Module):
    """An addition, a concatenation, ReLU6, pooling and zero channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4)) for _ in range(2))
        self.head = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b = torch.relu(self.a(x)), nn.functional.relu6(self.b(x))
        padded = nn.functional.pad(a[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        joined = torch.cat([(a + b)[:, :, ::2, ::2], padded], 1)
        return self.head(joined.mean((2, 3)))


def test_means_pass_branches_and_zero_channels() -> None:
    module = Branches().eval()
    for norm in (module.a[1], module.b[1]):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    graph = NetworkGraph(module, (1, 4, 4))
    known = fold_batch_norms(graph)
    told = signals(graph, known)
    first = {node: clipped_normal(normal.mean, normal.std, 0.0, end) for (node, normal), end in
             zip(known.items(), (INFINITE, 6.0))}  # fmt: skip
    a, b = (mean for mean, _ in first.values())
    pooled = told[graph.layers[-1].node.args[0]]  # type: ignore[index]
    assert pooled.mean is not None
    torch.testing.assert_close(pooled.mean, torch.cat([a + b, torch.zeros(2), a, torch.zeros(2)]).double())
    assert pooled.low.min() >= 0


def test_nothing_is_told_behind_what_is_not_followed() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.SiLU(), nn.Flatten(), nn.Linear(16, 2)).eval()
    graph = NetworkGraph(module, (1, 2, 2))
    told = signals(graph, fold_batch_norms(graph))
    assert [node.name for node in told] == ["conv2d"]
