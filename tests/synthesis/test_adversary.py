"""The generator's step against the student: its gradient, the student's mode, rate and clip."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny import make_student, make_task, make_teacher
from torch import Tensor, nn

from sansdata.contracts import Access, Counters, Outputs, Progress
from sansdata.method import Context
from sansdata.methods.index import find_method, method_config
from sansdata.network import Network
from sansdata.objectives.logits import l1
from sansdata.runtime import Runtime
from sansdata.streams import Streams
from sansdata.synthesis.adversary import Adversary, AdversarySettings

CODES = torch.randn(12, 6, generator=torch.Generator().manual_seed(1))


class Watched(Runtime):
    """Keeps the gradients of the last step and the clip it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.gradients: list[Tensor] = []
        self.clip: float | None = None

    def step(self, optimizer: torch.optim.Optimizer, clip: float | None = None) -> None:
        self.gradients = [p.grad.clone() for p in optimizer.param_groups[0]["params"]]
        self.clip = clip
        super().step(optimizer, clip)


@pytest.fixture
def context() -> Context:
    return Context(
        make_task(),
        make_teacher(),
        Network.of(make_student(), make_task()),
        Streams(3),
        Progress(),
        Counters(),
        Watched(),
    )


def adversary(context: Context) -> Adversary:
    return Adversary(context, AdversarySettings(latent=6, width=4, output="learned"))


def distance(student: Outputs, teacher: Outputs) -> Tensor:
    return l1(student.logits, teacher.logits)


def reference(made: Adversary, context: Context, weight: float) -> list[Tensor]:
    """d/dG of -weight * mean |S - T| in float64, the student in train mode."""
    generator, student, teacher = (
        copy.deepcopy(module).double() for module in (made.generator, context.student, context.teacher.module)
    )
    images = generator.train()(CODES.double())  # standardised: what teacher and student take
    (-weight * (student.train()(images) - teacher.eval()(images)).abs().mean()).backward()
    return [p.grad for p in generator.parameters() if p.grad is not None]


@pytest.mark.parametrize("weight", [1.0, 0.1])
def test_the_gradient_is_that_of_minus_the_disagreement(weight: float, context: Context) -> None:
    made = adversary(context)
    wanted = reference(made, context, weight)
    losses = made.step(CODES, distance, weight)
    runtime = context.runtime
    assert isinstance(runtime, Watched)
    scale = max(float(g.abs().max()) for g in wanted)
    assert len(runtime.gradients) == len(wanted) == 16
    for got, other in zip(runtime.gradients, wanted):
        assert torch.allclose(got.double(), other, atol=1e-4 * scale)
    assert losses.terms["disagreement"][0] == -weight
    assert losses.values()["disagreement"] > 0


def test_some_steps_make_student_and_teacher_disagree_more(context: Context) -> None:
    made = adversary(context)
    found = [float(made.step(CODES, distance).values()["disagreement"]) for _ in range(15)]
    assert found[-1] > 1.2 * found[0]


def test_the_student_runs_in_train_mode_and_is_otherwise_left_as_it_was(context: Context) -> None:
    student = context.student.eval()
    statistics = student.bn1.running_mean.clone()  # type: ignore[union-attr]
    weights = [p.detach().clone() for p in student.parameters()]
    adversary(context).step(CODES, distance)
    assert not torch.equal(statistics, student.bn1.running_mean)  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(weights, student.parameters()))
    assert all(p.requires_grad and p.grad is None for p in student.parameters())
    assert not any(part.training for part in student.modules())


def test_the_batchnorm_term_is_the_distance_of_this_batch_and_moves_the_generator(context: Context) -> None:
    made = Adversary(context, AdversarySettings(latent=6, width=4, output="unit", bn=3.0))
    images = context.pixels(made.generator.train()(CODES)).detach()
    norm = context.teacher.module.bn1
    seen: list[Tensor] = []
    handle = norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        context.teacher.module(images)
    handle.remove()
    mean, var = (seen[0].double().mean((0, 2, 3)), seen[0].double().var((0, 2, 3), unbiased=False))
    first = float((mean - norm.running_mean).norm() + (var - norm.running_var).norm())

    nothing = lambda student, teacher: torch.zeros(len(student.logits))  # noqa: E731
    losses = made.step(CODES, nothing)
    weight, value = losses.terms["bn"]
    assert weight == 3.0
    assert float(value.detach()) > first > 0
    assert isinstance(context.runtime, Watched)
    assert any(gradient.abs().max() > 0 for gradient in context.runtime.gradients)


@pytest.mark.parametrize("method", ["dafl", "dfad", "zskt"])
def test_the_batchnorm_term_needs_a_teacher_that_has_some(method: str) -> None:
    without, with_term = (find_method(method).requires(method_config(method, "default", {"bn": bn})) for bn in (0, 1))
    assert not without.batch_norm
    assert with_term.batch_norm
    assert with_term.access == Access.WEIGHTS


def test_rate_and_clip_are_those_asked_for(context: Context) -> None:
    made = adversary(context)
    made.step(CODES, distance, decay=0.25, clip=5.0)
    assert made.optimizer.param_groups[0]["lr"] == pytest.approx(2.5e-4)
    assert isinstance(context.runtime, Watched)
    assert context.runtime.clip == 5.0


def test_a_batch_is_images_without_gradient_and_the_teachers_answers(context: Context) -> None:
    made = adversary(context)
    batch = made.batch(CODES)
    with torch.no_grad():
        images = context.pixels.undo(made.generator(CODES))
        assert torch.equal(batch.inputs, images)
        assert batch.teacher_outputs is not None
        assert torch.equal(batch.teacher_outputs.logits, context.teacher(images).logits)
    assert batch.weights is None
    assert context.counters["samples"] == 12


def test_a_learned_range_is_standardised_at_first_and_then_free() -> None:
    context = Context(
        make_task(),
        make_teacher(),
        Network.of(make_student(), make_task()),
        Streams(3),
        Progress(),
        Counters(),
        Runtime(),
    )
    generator = adversary(context).generator
    images = generator(CODES)
    assert images.mean().item() == pytest.approx(0, abs=1e-5)
    assert images.std().item() == pytest.approx(1, abs=1e-2)
    norm = generator.standardise
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        norm.weight.fill_(3.0)
        norm.bias.fill_(-1.0)
    images = generator(CODES)
    assert images.mean().item() == pytest.approx(-1, abs=1e-4)
    assert images.std().item() == pytest.approx(3, abs=1e-1)
