"""Figures of generators against slow or foreign ways to the same numbers."""

from __future__ import annotations

import json
from importlib import import_module

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel
from torch import Tensor

from sansdata.evaluate.generators import class_shares, frechet, kernel_distance, measured, neighbourhoods
from sansdata.figures import values


def vectors(count: int, seed: int, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(4, 4, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return torch.randn(count, 4, generator=generator, dtype=torch.float64) @ mix + shift


def test_frechet_against_the_matrix_root_of_scipy() -> None:
    real, made = vectors(300, 0), 1.3 * vectors(200, 1, 0.4)
    means = real.mean(0).numpy() - made.mean(0).numpy()
    one, other = np.cov(real.numpy().T), np.cov(made.numpy().T)
    wanted = means @ means + np.trace(one + other - 2 * np.real(sqrtm(one @ other)))
    assert frechet(real, made) == pytest.approx(wanted, rel=1e-6)
    assert frechet(real, real) == pytest.approx(0, abs=1e-6)
    assert frechet(real, real + 2) == pytest.approx(16, rel=1e-9)
    flat = torch.cat([real, torch.zeros(300, 2, dtype=torch.float64)], 1)
    assert frechet(flat, flat) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_samples_that_are_no_numbers_have_no_distance_and_not_the_best(bad: float) -> None:
    broken = vectors(200, 1)
    broken[3, 2] = bad
    assert np.isnan(frechet(vectors(300, 0), broken))


def test_kernel_distance_is_without_bias() -> None:
    real, made = vectors(40, 0), vectors(30, 1, 0.5)
    own, theirs, across = (
        polynomial_kernel(a, b, degree=3, gamma=1 / 4, coef0=1) for a, b in ((real, real), (made, made), (real, made))
    )
    apart = [own[i, j] for i in range(40) for j in range(40) if i != j]
    other = [theirs[i, j] for i in range(30) for j in range(30) if i != j]
    assert kernel_distance(real, made) == pytest.approx(np.mean(apart) + np.mean(other) - 2 * across.mean())
    of_the_same = [kernel_distance(vectors(60, seed), vectors(60, seed + 100)) for seed in range(40)]
    assert abs(np.mean(of_the_same)) < 3 * np.std(of_the_same) / 40**0.5
    assert min(of_the_same) < 0


def test_neighbourhoods_by_hand() -> None:
    real, made = vectors(50, 0), vectors(35, 1, 0.7)
    found = neighbourhoods(real, made, 3)

    def reach(points: Tensor, place: int) -> float:
        return sorted(float((points[place] - one).norm()) for one in points)[3]

    def near(one: Tensor, points: Tensor) -> list[bool]:
        return [float((one - points[place]).norm()) <= reach(points, place) + 1e-12 for place in range(len(points))]

    assert found["precision"] == pytest.approx(np.mean([any(near(one, real)) for one in made]))
    assert found["recall"] == pytest.approx(np.mean([any(near(one, made)) for one in real]))
    assert found["density"] == pytest.approx(np.mean([sum(near(one, real)) for one in made]) / 3)
    covered = [
        any(float((real[place] - one).norm()) <= reach(real, place) + 1e-12 for one in made) for place in range(50)
    ]
    assert found["coverage"] == pytest.approx(np.mean(covered))


def test_lost_variety_is_seen_in_coverage_and_recall() -> None:
    real = vectors(400, 0)
    good, narrow = vectors(400, 1), vectors(400, 2)[:5].repeat(80, 1)
    narrow = narrow + 1e-3 * vectors(400, 3)
    full, lost = neighbourhoods(real, good), neighbourhoods(real, narrow)
    assert full["coverage"] > 0.9
    assert lost["coverage"] < 0.2
    assert lost["recall"] < 0.05 < full["recall"]
    assert lost["precision"] > 0.7


def test_a_set_that_lies_class_by_class_is_judged_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("sansdata.evaluate.generators"), "MOST", 200)
    real, made = (torch.cat([vectors(100, seed, 20.0 * place) for place in range(10)]) for seed in (0, 1))
    mixed = made[torch.randperm(len(made))]
    found = neighbourhoods(real, mixed)
    assert found["precision"] > 0.8
    assert found["coverage"] > 0.8


def test_every_figure_names_its_judge_and_its_better_side() -> None:
    answers = torch.eye(4)[torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])].repeat(10, 1)
    assert class_shares(answers).tolist() == [0.5, 0.3, 0.2, 0.0]
    found = measured(vectors(90, 0), vectors(100, 1), answers, "lenet5@judge", torch.full((4,), 0.25).double())
    figures = values(found)
    assert figures["least_class"] == 0
    assert figures["class_distance"] == pytest.approx(0.3)
    assert all("lenet5@judge" in one.meaning for one in found)
    better = {one.name: getattr(one, "better", "") for one in found}
    assert {name for name, side in better.items() if side == "lower"} == {
        "frechet_distance", "kernel_distance", "class_distance",
    }  # fmt: skip
    assert {name for name, side in better.items() if side == "higher"} == {
        "precision", "recall", "density", "coverage", "least_class",
    }  # fmt: skip
    json.dumps([one.to_dict() for one in found], allow_nan=False)
