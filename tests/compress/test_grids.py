"""The grids of few values, each beside a reference in float64 that is written from the paper's words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sansdata.compress.grids import snap

RULES = ["1", "2 optimal", "2 released", "4", "8"]


def weights(seed: int = 0, shape: tuple[int, ...] = (6, 4, 3, 3)) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def snapped(weight: Tensor, rule: str) -> Tensor:
    bits, _, scale = rule.partition(" ")
    return snap(weight, int(bits), scale or "optimal").values  # type: ignore[arg-type]


def reference(weight: Tensor, rule: str) -> np.ndarray:
    w = weight.double().numpy()
    size = np.abs(w)
    if rule == "1":
        return np.where(w >= 0, 1, -1) * size.mean()
    if rule.startswith("2"):
        kept = size >= 0.7 * size.mean()
        scale = size[kept].mean() if rule == "2 optimal" else (size * kept).mean()
        return scale * np.sign(w) * kept
    if rule == "4":
        delta, levels = size.max() / 15, np.zeros_like(size)
        for j in range(1, 7):
            levels[((2 * j - 1) * delta < size) & (size <= (2 * j + 1) * delta)] = j
        levels[size > 13 * delta] = 7
        return (size * levels).sum() / (levels**2).sum() * levels * np.sign(w)
    step = size.reshape(len(w), -1).max(1).reshape(-1, *[1] * (w.ndim - 1)) / 127
    return step * np.round(w / step)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (5, 7), (3, 2, 5)])
def test_each_grid_is_that_of_the_paper(rule: str, shape: tuple[int, ...]) -> None:
    for seed in range(5):
        weight = weights(seed, shape)
        assert np.allclose(snapped(weight, rule).numpy(), reference(weight, rule), rtol=0, atol=1e-12)
        assert np.allclose(snapped(weight.float(), rule).numpy(), reference(weight.float(), rule), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("rule", "most"), [("1", 2), ("2 optimal", 3), ("2 released", 3), ("4", 15)])
def test_a_layer_has_so_many_values(rule: str, most: int) -> None:
    assert len(snapped(weights().float(), rule).unique()) == most


@pytest.mark.parametrize("rule", ["1", "2 optimal", "4"])
def test_the_scale_is_that_of_the_least_squared_error(rule: str) -> None:
    weight = weights()
    placed = snap(weight, int(rule[0]))
    least = (placed.values - weight).square().sum()
    for share in (0.98, 0.999, 1.001, 1.02):
        assert (share * placed.values - weight).square().sum() > least


@pytest.mark.parametrize("rule", RULES)
def test_what_is_0_stays_0_and_nothing_is_endless(rule: str) -> None:
    weight = weights()
    weight[:2] = 0
    weight[2, 0] = 0
    values = snapped(weight, rule)
    assert torch.equal(values[:2], torch.zeros_like(values[:2]))
    assert torch.equal(values[2, 0], torch.zeros_like(values[2, 0]))
    assert torch.equal(snapped(torch.zeros(3, 4), rule), torch.zeros(3, 4))


def test_one_bit_is_what_torchao_makes_of_it() -> None:
    parq = pytest.importorskip("torchao.prototype.parq", reason="torchao is not installed")
    weight = weights().float()
    theirs, _ = parq.LSBQuantizer().quantize(weight, 1)
    assert torch.allclose(snapped(weight, "1"), theirs, rtol=0, atol=1e-6)
