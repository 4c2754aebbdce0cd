"""The inner loop of meta-learning against sums done by hand, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sansdata.contracts import Outputs
from sansdata.models.at_weights import StudentAt
from sansdata.training.adaptation import Inner, adapted, few_shot_accuracy, frozen

SUPPORT, QUERY = torch.tensor([[1.0, 2.0], [-1.0, 0.5]]).double(), torch.tensor([[0.5, -1.0]]).double()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([0.3, -0.2]).double())

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.w).sum(1, keepdim=True)


def student_of(module: nn.Module) -> StudentAt:
    return StudentAt(lambda part, inputs: Outputs(part(inputs)), module)


def quartic(at: StudentAt) -> Tensor:
    return (at(SUPPORT).value - 1).pow(4).mean()


def outer(w: Tensor, steps: int, rate: float) -> Tensor:
    """The outer loss as a function of the weights, its inner gradients by hand."""
    for _ in range(steps):
        residual = (SUPPORT * w).sum(1) - 1
        w = w - rate * (4 * residual.pow(3)[:, None] * SUPPORT).mean(0)
    return ((QUERY * w).sum(1) - 2).square().mean()


def gradient(order: bool, steps: int = 3, rate: float = 0.02) -> tuple[Tensor, Tensor]:
    """(the weights that were adapted, the outer gradient in the first ones)."""
    module = Net()
    there = adapted(student_of(module), quartic, Inner(steps, rate, order))
    (there(QUERY).value - 2).square().mean().backward()
    assert module.w.grad is not None
    return there.weights["w"].detach(), module.w.grad


def test_steps_are_those_of_plain_gradient_descent() -> None:
    w = torch.tensor([0.3, -0.2]).double()
    for _ in range(3):
        residual = (SUPPORT * w).sum(1) - 1
        w = w - 0.02 * (4 * residual.pow(3)[:, None] * SUPPORT).mean(0)
    for order in (True, False):
        assert torch.allclose(gradient(order)[0], w, atol=1e-12)


def test_the_second_order_is_the_slope_of_the_whole() -> None:
    start = torch.tensor([0.3, -0.2]).double()
    slopes = []
    for axis in torch.eye(2).double():
        ahead, behind = (outer(start + sign * 1e-6 * axis, 3, 0.02) for sign in (1, -1))
        slopes.append((ahead - behind) / 2e-6)
    assert torch.allclose(gradient(True)[1], torch.stack(slopes), rtol=1e-6)


def test_the_first_order_is_the_slope_at_the_adapted_weights() -> None:
    there, slope = gradient(False)
    expected = 2 * ((QUERY * there).sum(1) - 2)[:, None] * QUERY
    assert torch.allclose(slope, expected.mean(0), atol=1e-12)
    assert not torch.allclose(slope, gradient(True)[1], rtol=0.05)


def test_a_frozen_student_keeps_its_weights_and_gets_no_gradient() -> None:
    module = Net().requires_grad_(False)
    with torch.no_grad():
        there = adapted(student_of(module), quartic, Inner(2, 0.05))
    assert torch.equal(module.w, torch.tensor([0.3, -0.2]).double())
    assert not torch.equal(there.weights["w"], module.w)
    assert module.w.grad is None


@pytest.mark.parametrize(("steps", "least", "most"), [(0, 0.0, 0.0), (60, 1.0, 1.0)])
def test_ways_are_learnt_from_the_support(steps: int, least: float, most: float) -> None:
    """Two clouds apart, by a network that names them the wrong way round at first."""
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
        module.bias.zero_()
    points = torch.tensor([[3.0, 0.1], [2.5, -0.3], [-3.0, 0.2], [-2.0, 0.4]])
    ways = torch.tensor([0, 0, 1, 1])
    student = student_of(module)
    share = few_shot_accuracy(student, (points[::2], ways[::2]), (points[1::2], ways[1::2]), Inner(steps, 0.5))
    assert least <= share <= most
    assert torch.equal(module.weight[0], torch.tensor([-1.0, 0.0]))
    assert all(weight.requires_grad for weight in frozen(student).weights.values())
