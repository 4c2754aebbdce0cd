"""Estimates of gradients beside autograd: cosine, bias, scale, what they cost, and rounding."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sansdata.objectives.estimate import (
    Differences,
    calls_of_value_and_gradient,
    directions,
    estimated,
    pullback,
    smallest_step,
)

SIZE = 12 * 12


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(3)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(SIZE, 32), nn.Tanh(), nn.Linear(32, 5))
    return layers.double().requires_grad_(False)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(16, 1, 12, 12, generator=seeded(1), dtype=torch.float64)


def value(network: nn.Module):
    return lambda points: F.cross_entropy(network(points), torch.zeros(len(points), dtype=torch.long), reduction="none")


def exact(ask, images: Tensor) -> Tensor:
    moved = images.clone().requires_grad_()
    return torch.autograd.grad(ask(moved).sum(), moved)[0]


def gradient(ask, inputs: Tensor, how: Differences, generator: torch.Generator, values: Tensor | None = None) -> Tensor:
    """The estimate of the gradient of a value per sample."""
    return pullback(ask, inputs, torch.ones(len(inputs)), how, generator, values)


def cosines(one: Tensor, other: Tensor) -> Tensor:
    return F.cosine_similarity(one.flatten(1), other.flatten(1))


class Counting:
    def __init__(self, ask) -> None:
        self.ask, self.asked = ask, 0

    def __call__(self, points: Tensor) -> Tensor:
        self.asked += len(points)
        return self.ask(points)


@pytest.mark.parametrize("along", ["sphere", "gaussian", "orthogonal", "coordinate"])
@pytest.mark.parametrize("scheme", ["forward", "antithetic"])
@pytest.mark.parametrize("count", [6, 20])
def test_cosine_is_about_the_root_of_directions_over_numbers(network, images, along, scheme, count):
    ask = value(network)
    how = Differences(count, 1e-4, along, scheme)
    seen = torch.cat([cosines(gradient(ask, images, how, seeded(s)), exact(ask, images)) for s in range(12)])
    expected = math.sqrt(count / SIZE) if along in ("orthogonal", "coordinate") else math.sqrt(count / (SIZE + count))
    assert seen.mean().item() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("along", ["sphere", "gaussian", "orthogonal", "coordinate"])
def test_estimates_are_unbiased_and_of_the_true_size(network, images, along):
    ask, true = value(network), exact(value(network), images)
    how = Differences(48, 1e-5, along)
    mean = torch.stack([gradient(ask, images, how, seeded(s)) for s in range(200)]).mean(0)
    assert cosines(mean, true).min() > 0.97
    assert (mean.flatten(1).norm(dim=1) / true.flatten(1).norm(dim=1)).mean().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("along", ["orthogonal", "coordinate"])
def test_all_directions_give_the_whole_gradient(network, images, along):
    ask = value(network)
    how = Differences(SIZE, 1e-5, along, "antithetic")
    torch.testing.assert_close(gradient(ask, images, how, seeded()), exact(ask, images), rtol=1e-6, atol=1e-9)


def test_antithetic_bias_falls_with_the_square_of_the_step(network, images):
    ask, true = value(network), exact(value(network), images)

    def worst(scheme, step):
        return (gradient(ask, images, Differences(SIZE, step, "coordinate", scheme), seeded()) - true).abs().max()

    assert worst("forward", 0.1) / worst("forward", 0.01) == pytest.approx(10, rel=0.2)
    assert worst("antithetic", 0.1) / worst("antithetic", 0.01) == pytest.approx(100, rel=0.2)


@pytest.mark.parametrize("scheme", ["forward", "antithetic"])
@pytest.mark.parametrize("known", [True, False])
def test_queries_are_those_of_the_formula(network, images, scheme, known):
    counting, how = Counting(value(network)), Differences(7, 1e-3, "sphere", scheme)
    gradient(counting, images, how, seeded(), value(network)(images) if known else None)
    at_the_sample = 0 if known or scheme == "antithetic" else 1
    assert counting.asked == len(images) * (how.queries + at_the_sample)
    assert how.queries == (7 if scheme == "forward" else 14)


def test_many_directions_are_asked_in_parts_and_sum_alike(network, images, monkeypatch):
    ask, how = value(network), Differences(9, 1e-4)
    whole = gradient(ask, images, how, seeded())
    monkeypatch.setattr("sansdata.objectives.estimate.ROWS", 2 * len(images))
    torch.testing.assert_close(gradient(ask, images, how, seeded()), whole)


def test_backward_asks_what_the_formula_says_and_the_student_keeps_its_exact_gradient(network, images):
    torch.manual_seed(5)
    student = nn.Sequential(nn.Flatten(), nn.Linear(SIZE, 5)).double().requires_grad_(False)
    counting, how = Counting(network), Differences(SIZE, 1e-6, "coordinate")

    moved = images.clone().requires_grad_()
    loss = (student(moved) - estimated(counting, moved, how, seeded())).abs().mean(1).sum()
    loss.backward()
    assert counting.asked == len(images) * (1 + how.queries)

    def whole(points: Tensor) -> Tensor:
        return (student(points) - network(points)).abs().mean(1)

    torch.testing.assert_close(moved.grad, exact(whole, images), rtol=1e-4, atol=1e-7)

    few = Differences(1, 1e-4)
    answers = estimated(network, moved, few, seeded(2)).detach()
    by_student = exact(lambda points: (student(points) - answers).abs().mean(1), images)
    moved.grad = None
    (student(moved) - estimated(network, moved, few, seeded(2))).abs().mean(1).sum().backward()
    slope = -torch.sign(student(images) - answers) / 5
    torch.testing.assert_close(moved.grad, by_student + pullback(network, images, slope, few, seeded(2)))


def test_estimated_at_the_point_before_the_activation_goes_back_through_it(network):
    before = torch.randn(8, 1, 12, 12, generator=seeded(4), dtype=torch.float64)
    how = Differences(SIZE, 1e-6, "coordinate", "antithetic")

    def ask(points: Tensor) -> Tensor:
        return network(points.sigmoid())

    moved = before.clone().requires_grad_()
    estimated(ask, moved, how, seeded()).square().sum().backward()
    torch.testing.assert_close(moved.grad, exact(lambda p: ask(p).square().sum(1), before), rtol=1e-5, atol=1e-8)


def test_a_second_derivative_is_refused(network, images):
    moved = images.clone().requires_grad_()
    loss = estimated(network, moved, Differences(2, 1e-3), seeded()).square().sum()
    (first,) = torch.autograd.grad(loss, moved, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize("along", ["sphere", "orthogonal", "gaussian", "coordinate"])
def test_rounded_inputs_give_nothing_below_the_rule_and_something_at_it(network, images, along):
    def eight_bits(points: Tensor) -> Tensor:
        return value(network)((points * 255).round() / 255)

    grid = (images * 200 + 20).round() / 255  # on the levels themselves, as what is stored as uint8 is
    rule = smallest_step(along, SIZE)
    assert rule == pytest.approx(12 / 255 if along in ("sphere", "orthogonal") else 1 / 255)
    below = gradient(eight_bits, grid, Differences(10, rule / 12, along), seeded())
    assert below.count_nonzero() == 0
    above = gradient(eight_bits, grid, Differences(30, rule, along), seeded())
    assert cosines(above, exact(value(network), grid)).mean() > 0.3


def test_the_rule_reckons_with_the_activation():
    assert smallest_step("sphere", 784, slope=0.25) == pytest.approx(4 * 28 / 255)


@pytest.mark.parametrize("along", ["orthogonal", "coordinate"])
def test_more_directions_than_there_are_is_said(images, along):
    with pytest.raises(ValueError, match="at most 144"):
        directions(images, Differences(SIZE + 1, 1e-3, along), seeded())


@pytest.mark.parametrize(("scheme", "count"), [("forward", 1), ("forward", 9), ("antithetic", 5)])
def test_calls_are_those_that_are_made(network, images, monkeypatch, scheme, count):
    monkeypatch.setattr("sansdata.objectives.estimate.ROWS", 2 * len(images))
    calls: Counter[int] = Counter()

    def ask(points: Tensor) -> Tensor:
        calls[len(points)] += 1
        return network(points)

    how, moved = Differences(count, 1e-3, "sphere", scheme), images.clone().requires_grad_()
    estimated(ask, moved, how, seeded()).sum().backward()
    assert calls == calls_of_value_and_gradient(len(images), how)
    assert sum(rows * times for rows, times in calls.items()) == len(images) * (1 + how.queries)


def test_differences_are_taken_in_full_precision_where_the_run_computes_in_bf16() -> None:
    """In bf16 a step of 5e-3 is lost in the answers: a cosine here is then about 0.5."""
    from sansdata.network import Network
    from sansdata.runtime import Runtime
    from sansdata.tasks import ImageTask

    torch.manual_seed(0)
    task = ImageTask(shape=(1, 12, 12), classes=5, mean=(0.5,), std=(0.25,))
    module = nn.Sequential(nn.Flatten(), nn.Linear(SIZE, 64), nn.Tanh(), nn.Linear(64, 5)).requires_grad_(False)
    images, how = torch.rand(16, 1, 12, 12, generator=seeded(1)), Differences(SIZE, 5e-3, "orthogonal")
    true = exact(value(lambda points: Network.of(module, task)(points).value), images)
    run = Runtime(precision="bf16")

    def asked(points: Tensor) -> Tensor:
        with torch.no_grad():
            return run.forward(Network.of(module, task), points).value

    points = images.clone().requires_grad_()
    loss = F.cross_entropy(estimated(asked, points, how, seeded()), torch.zeros(16, dtype=torch.long), reduction="sum")
    (slope,) = torch.autograd.grad(loss, points)
    assert cosines(slope, true).min() > 0.95
    moved = gradient(value(asked), images, how, seeded())
    assert cosines(moved, true).min() > 0.95
