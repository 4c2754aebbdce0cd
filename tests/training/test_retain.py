"""The update that retains: its gradient against finite differences, its memory, and what it must leave alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sansdata.contracts import Batch, Counters, Losses, Outputs, Progress
from sansdata.errors import ConfigError
from sansdata.method import Context
from sansdata.models.at_weights import AtWeights
from sansdata.runtime import Runtime
from sansdata.settings import RetainSettings
from sansdata.streams import Streams
from sansdata.training.retain import Retain, joined


class Kept(Runtime):
    """Keeps the gradients of a step instead of taking it."""

    def step(self, optimizer, clip=None) -> None:
        self.grads = [p.grad.clone() for group in optimizer.param_groups for p in group["params"]]
        optimizer.zero_grad(set_to_none=True)


class World:
    """A two-layer tanh student in float64 and a linear teacher."""

    def __init__(self, **settings) -> None:
        torch.manual_seed(0)
        self.student = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
        self.teacher = nn.Linear(3, 2).double()
        self.new, self.old = self.batch(8), self.batch(4)
        self.runtime = Kept()
        self.context = Context(
            None,
            None,
            self.student,
            Streams(0),
            Progress(0, 100),
            Counters(),
            self.runtime,  # type: ignore[arg-type]
        )
        self.context.teach = lambda images, targets=None, logits=None: self.old  # type: ignore[method-assign]
        self.optimizer = torch.optim.SGD(self.student.parameters(), lr=0.1)
        self.update = Retain(
            self.context, self.at(self.student), self.optimizer, None, self.student,
            lambda weights: self.at(AtWeights(self.student, weights)), RetainSettings(**settings),
        )  # fmt: skip
        self.ring = self.update.state()["memory"]
        self.ring["images"].append(self.old.inputs)
        self.ring["targets"].append(None)

    def batch(self, count: int) -> Batch:
        x = torch.randn(count, 3, dtype=torch.float64)
        return Batch(x, teacher_outputs=Outputs(self.teacher(x).detach()))

    @staticmethod
    def at(module: nn.Module):
        return lambda images: Outputs(module(images))

    @staticmethod
    def loss(student, batch: Batch) -> Losses:
        losses = Losses()
        losses.add("match", 1, lambda: (student(batch.inputs).logits - batch.teacher_outputs.logits).square().mean())
        return losses

    def value(self, batch: Batch, weights: dict[str, Tensor]) -> Tensor:
        """The loss written out, without any of the code under test."""
        hidden = (batch.inputs @ weights["0.weight"].T + weights["0.bias"]).tanh()
        logits = hidden @ weights["2.weight"].T + weights["2.bias"]
        return (logits - batch.teacher_outputs.logits).square().mean()

    def weights(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.student.named_parameters()}

    def slopes(self, batch: Batch, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        leaves = {name: p.clone().requires_grad_() for name, p in weights.items()}
        return dict(zip(leaves, torch.autograd.grad(self.value(batch, leaves), list(leaves.values()))))

    def objective(self, weights: dict[str, Tensor], rate: float) -> float:
        slopes = self.slopes(self.new, weights)
        ahead = {name: p - rate * slopes[name] for name, p in weights.items()}
        return (self.value(self.new, weights) + self.value(self.old, ahead)).item()

    def gradient(self) -> Tensor:
        self.update.step(self.loss, self.new)
        return torch.cat([g.flatten() for g in self.runtime.grads])


def test_the_exact_gradient_is_that_of_the_written_objective():
    world, rate, h = World(rate=0.3), 0.3, 1e-5
    expected = []
    for name, p in world.weights().items():
        for i in range(p.numel()):
            values = []
            for sign in (1, -1):
                moved = world.weights()
                moved[name].view(-1)[i] += sign * h
                values.append(world.objective(moved, rate))
            expected.append((values[0] - values[1]) / (2 * h))
    torch.testing.assert_close(world.gradient(), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-8)


def test_to_first_order_in_the_rate_it_aligns_the_two_gradients():
    """What is left after g_new + g_old - rate * grad <g_new, g_old> falls as the square of the rate."""
    rests = []
    for rate in (0.2, 0.1, 0.05):
        world = World(rate=rate)
        leaves = {name: p.requires_grad_() for name, p in world.weights().items()}
        slopes = [
            torch.autograd.grad(world.value(batch, leaves), list(leaves.values()), create_graph=True)
            for batch in (world.new, world.old)
        ]
        product = sum((a * b).sum() for a, b in zip(*slopes))
        aligned = torch.autograd.grad(product, list(leaves.values()))
        parts = [a + b - rate * c for a, b, c in zip(*slopes, aligned)]
        rests.append((world.gradient() - torch.cat([part.flatten() for part in parts])).norm().item())
    assert rests[0] > 1e-6
    assert rests[0] / rests[1] == pytest.approx(4, rel=0.15)
    assert rests[1] / rests[2] == pytest.approx(4, rel=0.15)


def test_the_first_order_gradient_takes_the_slope_at_the_look_ahead():
    world = World(rate=0.3, mode="first-order")
    here = world.weights()
    new = world.slopes(world.new, here)
    there = world.slopes(world.old, {name: p - 0.3 * new[name] for name, p in here.items()})
    torch.testing.assert_close(world.gradient(), torch.cat([(new[name] + there[name]).flatten() for name in here]))


@pytest.mark.parametrize("mode", ["exact", "first-order"])
def test_a_rate_of_zero_is_the_sum_of_both_losses(mode: str):
    world = World(rate=0.0, mode=mode)
    here = world.weights()
    new, old = world.slopes(world.new, here), world.slopes(world.old, here)
    torch.testing.assert_close(world.gradient(), torch.cat([(new[name] + old[name]).flatten() for name in here]))


@pytest.mark.parametrize("mode", ["exact", "first-order"])
def test_without_a_rate_it_is_that_of_the_student(mode: str):
    own, given = World(mode=mode), World(mode=mode, rate=0.07)
    own.optimizer.param_groups[0]["lr"] = 0.07
    torch.testing.assert_close(own.gradient(), given.gradient(), rtol=0, atol=0)
    assert not torch.equal(World(mode=mode).gradient(), given.gradient())


def test_replay_is_one_plain_step_on_both():
    world = World(mode="replay")
    slopes = world.slopes(joined(world.new, world.old), world.weights())
    torch.testing.assert_close(world.gradient(), torch.cat([slope.flatten() for slope in slopes.values()]))


def test_an_empty_memory_is_a_plain_step():
    world = World()
    world.ring["images"].clear()
    slopes = world.slopes(world.new, world.weights())
    torch.testing.assert_close(world.gradient(), torch.cat([slope.flatten() for slope in slopes.values()]))


def test_the_ring_is_filled_evenly_and_keeps_the_newest():
    world = World(slots=3, pushes=10, share=0.5)
    world.ring["images"].clear()
    world.ring["targets"].clear()
    filled = []
    for step in range(100):
        world.context.progress.steps = step
        batch = world.batch(8)
        batch.inputs = torch.full_like(batch.inputs, step)
        world.update.step(world.loss, batch)
        filled.append(world.ring["pushed"])
    assert filled[-1] == 10
    assert filled[49] == 5
    images = world.ring["images"]
    assert [len(i) for i in images] == [4, 4, 4]
    assert [i[0, 0].item() for i in images] == [79, 89, 99]


def test_joined_keeps_weights_targets_and_order():
    a = Batch(torch.zeros(2, 3), targets=torch.tensor([1, 2]), teacher_outputs=Outputs(torch.zeros(2, 4)))
    b = Batch(torch.ones(1, 3), targets=torch.tensor([3]), teacher_outputs=Outputs(torch.ones(1, 4)))
    b.weights = torch.tensor([0.5])
    both = joined(a, b)
    assert both.inputs[:, 0].tolist() == [0, 0, 1]
    assert both.targets is not None
    assert both.targets.tolist() == [1, 2, 3]
    assert both.weights is not None
    assert both.weights.tolist() == [1, 1, 0.5]


@pytest.mark.parametrize("mode", ["exact", "first-order"])
def test_at_theta_the_remembered_samples_also_join_the_batch(mode: str) -> None:
    """The released objective: acquire and replay at theta, retain at the weights that acquiring alone leads to."""
    world, plain = World(rate=0.3, mode=mode, at_theta=True), World(rate=0.3, mode=mode)
    here = world.weights()
    both, new = world.slopes(joined(world.new, world.old), here), world.slopes(world.new, here)
    more = torch.cat([(both[name] - new[name]).flatten() for name in here])
    torch.testing.assert_close(world.gradient(), plain.gradient() + more)


def test_at_theta_is_refused_where_the_samples_join_anyway() -> None:
    with pytest.raises(ConfigError, match="at_theta"):
        RetainSettings(mode="replay", at_theta=True)


@pytest.mark.parametrize("mode", ["exact", "first-order", "replay"])
def test_the_alignment_is_the_cosine_of_both_gradients(mode: str) -> None:
    world = World(mode=mode, pushes=100)
    here = world.weights()
    new, old = world.slopes(world.new, here), world.slopes(world.old, here)
    one, other = (torch.cat([slopes[name].flatten() for name in here]) for slopes in (new, old))
    logged = world.update.step(world.loss, world.new).values()
    assert float(logged["alignment"]) == pytest.approx(float(one @ other / one.norm() / other.norm()), rel=1e-6)


def test_the_bending_is_the_share_of_the_second_order() -> None:
    exact, straight = World(rate=0.3, pushes=100), World(rate=0.3, mode="first-order", pushes=100)
    new = torch.cat([slope.flatten() for slope in exact.slopes(exact.new, exact.weights()).values()])
    one, other = exact.gradient() - new, straight.gradient() - new
    logged = World(rate=0.3, pushes=100)
    value = logged.update.step(logged.loss, logged.new).values()["bending"]
    assert float(value) == pytest.approx(float((one - other).norm() / other.norm()), rel=1e-6)


def test_between_the_moments_of_the_run_nothing_more_is_computed() -> None:
    world = World(pushes=2)
    for step in range(60):
        world.context.progress.steps = step
        logged = world.update.step(world.loss, world.new).values()
        assert ("alignment" in logged) == ("bending" in logged) == (step == 49)
