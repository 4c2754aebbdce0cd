"""The slow copy of a generator: its average, what it adds to a batch, and that it is nothing where it is off."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny import make_student, make_task, make_teacher
from torch import Tensor

from sansdata.contracts import Batch, Counters, Losses, Outputs, Progress
from sansdata.method import Context
from sansdata.network import Network
from sansdata.objectives.logits import l1
from sansdata.runtime import Runtime
from sansdata.streams import Streams
from sansdata.synthesis.ema import EMAGenerator, EMASettings
from sansdata.synthesis.generator import make_generator

LATENT = 6


@pytest.fixture
def context() -> Context:
    task, counters, teacher = make_task(), Counters(), make_teacher()
    teacher.counters = counters
    return Context(task, teacher, Network.of(make_student(), task), Streams(3), Progress(), counters, Runtime())


def averaging(context: Context, **settings: float) -> tuple[EMAGenerator, torch.nn.Module]:
    generator = make_generator(context, LATENT, 4, "standard")
    return EMAGenerator(EMASettings.model_validate(settings), generator, LATENT), generator


def shift(module: torch.nn.Module, seed: int) -> None:
    """As an optimiser would: every parameter moves."""
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn(p.shape, generator=noise))


def test_the_copy_is_the_exponential_mean_of_all_generators(context: Context) -> None:
    ema, generator = averaging(context, rate=0.8, weight=1.0)
    wanted = [p.detach().double() for p in generator.parameters()]
    for step in range(5):
        shift(generator, step)
        ema.follow(generator)  # type: ignore[arg-type]
        wanted = [0.8 * old + 0.2 * new.detach().double() for old, new in zip(wanted, generator.parameters())]
    assert ema.copy is not None
    for mine, reference in zip(ema.copy.parameters(), wanted):
        assert torch.allclose(mine.double(), reference, atol=1e-5)


def test_rate_0_is_the_generator_itself(context: Context) -> None:
    ema, generator = averaging(context, rate=0.0, weight=1.0)
    shift(generator, 1)
    ema.follow(generator)  # type: ignore[arg-type]
    assert ema.copy is not None
    assert all(torch.equal(a, b) for a, b in zip(ema.copy.parameters(), generator.parameters()))


def test_off_is_nothing(context: Context) -> None:
    ema, generator = averaging(context)
    ema.follow(generator)  # type: ignore[arg-type]
    batch = context.teach(torch.rand(4, 1, 8, 8))
    asked = context.counters["teacher_forwards"]
    assert ema.join(batch, context) is batch
    assert ema.state() == {}
    assert context.counters["teacher_forwards"] == asked


def test_a_joined_batch_is_both_and_the_copy_counts_by_its_weight(context: Context) -> None:
    context.teacher_taps = ("layer1",)
    ema, generator = averaging(context, weight=0.25)
    shift(generator, 1)
    before = copy.deepcopy(generator.state_dict())
    images = torch.rand(4, 1, 8, 8)
    alone = context.teach(images)
    both = ema.join(alone, context)
    assert both.inputs.shape == (8, 1, 8, 8)
    assert torch.equal(both.inputs[:4], images)
    assert not both.inputs.requires_grad
    answers, again = alone.teacher_outputs, both.teacher_outputs
    assert answers is not None
    assert again is not None
    assert torch.equal(again.logits[:4], answers.logits)
    with torch.no_grad():
        wanted = context.teacher(both.inputs[4:], ("layer1",))
    assert torch.equal(again.logits[4:], wanted.logits)
    assert torch.equal(again.taps["layer1"], torch.cat([answers.taps["layer1"], wanted.taps["layer1"]]))
    assert context.counters["samples"] == 4
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


def test_the_loss_of_a_joined_batch_is_the_weighted_mean_of_both(context: Context) -> None:
    ema, _ = averaging(context, weight=0.25)
    both = ema.join(context.teach(torch.rand(4, 1, 8, 8)), context)
    logits = context.student_outputs(both.inputs).logits.detach()
    assert both.teacher_outputs is not None
    total = loss(logits, both)
    error = (logits - both.teacher_outputs.logits).double().abs().mean(1)
    assert total == pytest.approx(float((error[:4].mean() + 0.25 * error[4:].mean()) / 1.25), rel=1e-5)


def loss(logits: Tensor, batch: Batch) -> float:
    losses, outputs = Losses(), batch.teacher_outputs
    assert isinstance(outputs, Outputs)
    losses.add("match", 1, lambda: l1(logits, outputs.logits))
    return float(losses.total(batch.weights))
