"""Key regions against loops in float64, and the cases that their definition names."""

from __future__ import annotations

import math

import pytest
import torch

from sansdata.objectives.key_regions import bell, class_activation, off_key_region


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_the_mean_of_an_activation_and_the_bias_are_the_logit() -> None:
    maps, head, targets = random(3, 5, 4, 2), torch.nn.Linear(5, 7), torch.tensor([6, 0, 2])
    logits = head(maps.mean((2, 3)))
    seen = class_activation(maps, head.weight, targets).mean((1, 2)) + head.bias[targets]
    torch.testing.assert_close(seen, logits[torch.arange(3), targets], rtol=1e-5, atol=1e-5)


def test_the_difference_is_that_of_a_loop() -> None:
    activation, region = random(2, 3, 4).double(), random(2, 3, 4).double().abs()
    for got, seen, meant in zip(off_key_region(activation, region).tolist(), activation.tolist(), region.tolist()):
        cells = [(max(0.0, a), b) for row, other in zip(seen, meant) for a, b in zip(row, other)]
        most, largest = (max(cell[side] for cell in cells) for side in (0, 1))
        differences = [(a / (most + 1e-6) - b / (largest + 1e-6)) ** 2 for a, b in cells]
        assert got == pytest.approx(sum(differences) / len(cells), rel=1e-5)


def test_nothing_is_off_in_the_region_itself_and_more_beside_it() -> None:
    region = bell((8, 8), 0.3, torch.tensor([[0.5, 0.5]]))
    assert float(off_key_region(3 * region, region)) < 1e-9
    by_one, by_two = (float(off_key_region(region.roll(cells, 2), region)) for cells in (1, 2))
    assert 0.01 < by_one < by_two
    assert float(off_key_region(-region, region)) > by_two  # seen nowhere


def test_a_bell_is_that_of_its_formula_and_an_infinite_one_flat() -> None:
    one = bell((4, 6), 0.25, torch.tensor([[0.5, 0.25], [1.0, 0.0]]))
    for row, column in ((0, 0), (3, 5), (2, 1)):
        for place, (down, right) in enumerate(((2.0, 1.5), (4.0, 0.0))):
            squares = (row + 0.5 - down) ** 2 + (column + 0.5 - right) ** 2
            assert float(one[place, row, column]) == pytest.approx(math.exp(-squares / (2 * 1.5**2)), rel=1e-5)
    assert bell((4, 6), float("inf"), torch.full((1, 2), 0.5)).equal(torch.ones(1, 4, 6))
