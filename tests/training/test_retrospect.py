"""Self-retrospection: its hyper-gradient against autograd through the inner step, its search, what it leaves alone."""

from __future__ import annotations

import pytest
import torch
from tiny import make_module, make_student, make_task, make_teacher, same_bits
from torch import Tensor, nn

from sansdata.contracts import Batch, Counters, Losses, Outputs, Progress
from sansdata.method import Context
from sansdata.models.modes import in_mode
from sansdata.network import Network
from sansdata.objectives.logits import kl
from sansdata.runtime import Runtime
from sansdata.settings import RetrospectSettings
from sansdata.streams import Streams
from sansdata.training.retrospect import Retrospect, hyper_gradient

RATE = 0.1


def outer_of(delta: Tensor, theta: Tensor) -> Tensor:
    return (theta[0] * delta).sin().sum() + theta[1] * theta[0] ** 2


def inner_of(delta: Tensor, theta: Tensor) -> Tensor:
    return (delta - theta[1] * torch.tensor([1.0, -2.0, 0.5], dtype=delta.dtype)).square().sum() + theta[0] * delta[0]


def toy() -> tuple[Tensor, Tensor]:
    delta = torch.tensor([0.3, -0.4, 0.2], dtype=torch.float64, requires_grad=True)
    return delta, torch.tensor([0.7, 1.3], dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_hyper_gradient_is_that_of_differentiating_through_the_inner_steps(steps: int) -> None:
    """With a quadratic inner loss the Hessian is the same everywhere, so K iterations are K unrolled steps."""
    delta, theta = toy()
    (found,) = hyper_gradient(outer_of(delta, theta), inner_of(delta, theta), delta, [theta], steps, RATE)
    # Unrolled backwards from the present delta: the K earlier iterates are where K steps of the map lead to it.
    start, parameters = toy()
    with torch.no_grad():
        goal = start.clone()
        for _ in range(steps):  # invert d' = d - RATE * (2 (d - t) + e)
            target = parameters[1] * torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
            push = torch.tensor([float(parameters[0]), 0, 0], dtype=torch.float64)
            goal = (goal - 2 * RATE * target + RATE * push) / (1 - 2 * RATE)
    walked = goal.requires_grad_()
    for _ in range(steps):
        (slope,) = torch.autograd.grad(inner_of(walked, parameters), [walked], create_graph=True)
        walked = walked - RATE * slope
    torch.testing.assert_close(walked, start)
    (expected,) = torch.autograd.grad(outer_of(walked, parameters), [parameters])
    torch.testing.assert_close(found, expected)


def test_many_iterations_give_the_implicit_gradient_at_the_solution() -> None:
    """At the minimum of the inner loss: d f/d theta through delta(theta) = t(theta) - theta_0 / 2 on the first."""
    theta = torch.tensor([0.7, 1.3], dtype=torch.float64, requires_grad=True)

    def solved(parameters: Tensor) -> Tensor:
        shift = torch.stack([parameters[0] / 2, torch.zeros_like(parameters[0]), torch.zeros_like(parameters[0])])
        return parameters[1] * torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) - shift

    (expected,) = torch.autograd.grad(outer_of(solved(theta), theta), [theta])
    delta = solved(theta).detach().requires_grad_()
    (found,) = hyper_gradient(outer_of(delta, theta), inner_of(delta, theta), delta, [theta], 500, RATE)
    torch.testing.assert_close(found, expected)


def test_no_iteration_gives_the_first_order_gradient() -> None:
    delta, theta = toy()
    (found,) = hyper_gradient(outer_of(delta, theta), inner_of(delta, theta), delta, [theta], 0, RATE)
    torch.testing.assert_close(found, torch.autograd.grad(outer_of(delta, theta), [theta])[0])


class World:
    """The tiny teacher and student, and one batch of noise."""

    def __init__(
        self, student: nn.Module | None = None, host_temperature: float = 1.0, scale: float = 1.0, **settings
    ) -> None:
        teacher, self.student = make_teacher(), student or make_student()
        self.context = Context(
            make_task(),
            teacher,
            Network.of(self.student, make_task()),
            Streams(3),
            Progress(90, 100),
            Counters(),
            Runtime(),
        )
        self.context.streams.begin(0)
        optimizer = torch.optim.SGD(self.student.parameters(), lr=0.1)
        self.update = Retrospect(
            self.context,
            self.forward,
            optimizer,
            self.student,
            RetrospectSettings(share=0.1, **settings),
            host_temperature,
            scale,
        )
        images = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        self.batch = self.context.teach(images)
        self.student.train()

    def forward(self, images: Tensor) -> Outputs:
        return self.context.runtime.forward(self.context.network, images)

    @staticmethod
    def loss(student, batch: Batch) -> Losses:
        losses = Losses()
        losses.add("match", 1, lambda: kl(student(batch.inputs).logits, batch.teacher_outputs.logits))
        return losses

    def changed(self, delta: Tensor) -> float:
        """Mean KL between the teacher's answers without and with delta, written out in float64."""
        task = self.context.task
        normalised = (self.batch.inputs - task.mean[0]) / task.std[0]
        with torch.no_grad():
            p, q = (self.context.teacher.module(x).double().softmax(1) for x in (normalised, normalised + delta))
        return float((p * (p.log() - q.log())).sum(1).mean())


def test_the_search_finds_what_changes_the_teacher_most() -> None:
    few, many = World(rounds=1), World(rounds=20)
    short, long = few.update.search(few.batch), many.update.search(many.batch)
    drawn = World(rounds=20, search="random")
    random = drawn.update.search(drawn.batch)
    torch.testing.assert_close(random.norm(), long.norm())
    assert few.changed(short) < many.changed(long)
    assert many.changed(random) < 0.5 * many.changed(long)


def test_the_trigger_of_a_search_with_a_price_is_smaller() -> None:
    free, priced = World(rounds=10), World(rounds=10, search_l2=1.0)
    assert priced.update.search(priced.batch).norm() < 0.8 * free.update.search(free.batch).norm()


def test_what_is_unlearned_has_the_scale_of_the_matching_loss() -> None:
    """A reader found zskt's, a mean over classes, beside divergences that were sums: ten times too heavy."""
    whole, tenth = World(marked=1.0), World(marked=1.0, scale=0.1)
    delta = torch.full((1, 1, 8, 8), 0.5)
    unlearned = [world.update._unlearn(world.batch.inputs, delta) for world in (whole, tenth)]
    torch.testing.assert_close(unlearned[1], 0.1 * unlearned[0])


def test_without_rounds_the_step_is_an_ordinary_one() -> None:
    """R = 0, the ablation: the random start is too small to teach anything."""
    world = World(rounds=0)
    world.update.step(world.loss, world.batch)
    with_nothing = {name: p.clone() for name, p in world.student.named_parameters()}
    other = World()
    other.loss(other.forward, other.batch).total().backward()
    other.context.runtime.step(other.update.optimizer)
    for name, p in other.student.named_parameters():
        torch.testing.assert_close(with_nothing[name], p, atol=1e-4, rtol=0)


def test_statistics_of_batchnorm_see_the_clean_batch_only() -> None:
    world, plain = World(), World()
    world.update.step(world.loss, world.batch)
    with torch.no_grad():
        plain.forward(plain.batch.inputs)
    for (name, mine), (_, other) in zip(world.student.named_buffers(), plain.student.named_buffers(), strict=True):
        assert same_bits(mine, other), name
    assert all(part.training for part in world.student.modules())


def test_looking_back_makes_the_student_steadier_under_the_trigger() -> None:
    """The student begins as the teacher's double, which follows a trigger as far as the teacher does."""
    world = World(student=make_module(), marked=1.0, lr=1e-3)
    delta = world.update.search(world.batch)

    def moved() -> float:
        world.student.eval()
        with torch.no_grad():
            task = world.context.task
            images = task.std[0] * ((world.batch.inputs - task.mean[0]) / task.std[0] + delta) + task.mean[0]
            value = kl(world.forward(images).logits, world.forward(world.batch.inputs).logits).mean()
        world.student.train()
        return float(value)

    before = moved()
    for step in range(10):
        world.context.progress.steps = 90 + step
        world.context.streams.begin(step)
        losses = world.update.step(world.loss, world.batch)
        assert torch.isfinite(losses.values()["retrospect"])
    assert moved() < 0.7 * before


@pytest.mark.parametrize(("temperature", "own"), [(4.0, {}), (1.0, {"temperature": 4.0})])
def test_the_divergences_have_the_temperature_of_the_run_or_their_own(temperature: float, own: dict) -> None:
    world, cold = World(host_temperature=temperature, marked=1.0, **own), World(marked=1.0)
    delta = torch.full((1, 1, 8, 8), 0.5)
    with in_mode(world.student, train=False), torch.no_grad():
        clean = world.forward(world.batch.inputs).logits.double()
        moved = world.forward(world.update._moved(world.batch.inputs, delta)).logits.double()
    p, q = (clean / 4).softmax(1), (moved / 4).softmax(1)
    wanted = 16 * (p * (p.log() - q.log())).sum(1).mean()
    torch.testing.assert_close(world.update._unlearn(world.batch.inputs, delta).double(), wanted, rtol=1e-4, atol=1e-7)
    assert not torch.isclose(cold.update._unlearn(cold.batch.inputs, delta).double(), wanted, rtol=1e-2)


def test_the_weight_multiplies_what_is_unlearned() -> None:
    gradients = []
    for weight in (1.0, 640.0):
        world = World(marked=1.0, weight=weight)
        world.update._unlearn(world.batch.inputs, torch.full((1, 1, 8, 8), 0.5))
        gradients.append(torch.cat([p.grad.flatten() for p in world.student.parameters() if p.grad is not None]))
    torch.testing.assert_close(640 * gradients[0], gradients[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("steps", "said"), [(100, None), (94, "4 of 10"), (50, "0 of 10")])
def test_a_run_that_was_cut_says_how_far_it_looked_back(steps: int, said: str | None) -> None:
    world = World()
    world.context.progress.steps = steps
    assert [said in text for text in world.update.findings()] == ([True] if said else [])


def test_it_is_active_in_the_last_share_and_at_least_once() -> None:
    world = World()
    steps = [world.update.active(Progress(step, 50)) for step in range(50)]
    assert steps == [False] * 45 + [True] * 5
    assert [world.update.active(Progress(step, 3)) for step in range(3)] == [False, False, True]
