"""The student's schedule, optimiser and loss, and the ordinary step."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sansdata.config import validate
from sansdata.contracts import Batch, Counters, Losses, Outputs, Progress
from sansdata.errors import ConfigError
from sansdata.method import Context
from sansdata.network import Network
from sansdata.objectives import logits
from sansdata.runtime import Runtime
from sansdata.streams import Streams
from sansdata.tasks import KNOWN_TASKS
from sansdata.teachers.base import Teacher
from sansdata.training.plain import Plain
from sansdata.training.transfer import TransferSettings, set_lr

quick = settings(max_examples=30, deadline=None)


@quick
@given(st.floats(0, 1), st.floats(1e-6, 10), st.floats(0, 1e-6))
def test_cosine_stays_between_its_ends_and_falls(progress, lr, end):
    how = TransferSettings(lr=lr, lr_end=end)
    now = how.lr_at(progress)
    assert end * (1 - 1e-9) <= now <= lr * (1 + 1e-9)
    assert now <= how.lr_at(progress / 2) * (1 + 1e-9)


def test_cosine_begins_and_ends_where_it_is_told():
    how = TransferSettings(lr=0.2, lr_end=2e-4)
    assert [how.lr_at(p) for p in (0, 0.5, 1)] == pytest.approx([0.2, 0.1001, 2e-4])


def test_step_falls_by_ten_at_40_and_80_percent():
    how = TransferSettings(lr=1, schedule="step")
    assert [how.lr_at(p) for p in (0, 0.399, 0.4, 0.799, 0.8, 1)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_step_falls_by_ten_at_each_milestone():
    how = TransferSettings(lr=1, schedule="step", milestones=(0.2, 0.4, 0.9))
    assert [how.lr_at(p) for p in (0, 0.19, 0.2, 0.41, 0.9)] == pytest.approx([1, 1, 0.1, 0.01, 0.001])


@pytest.mark.parametrize("milestones", [[-0.1], [0.4, 1.1], 0.4, ["x"]])
def test_milestones_are_shares_of_the_run(milestones):
    with pytest.raises(ConfigError, match="'milestones"):
        validate(TransferSettings, {"milestones": milestones}, "here")


def test_decay_is_the_share_of_the_rate_that_is_left():
    how = TransferSettings(lr=0.2, lr_end=2e-4)
    assert [how.decay(p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.5005, 1e-3])


def test_constant_is_constant():
    assert {TransferSettings(lr=0.3, schedule="constant").lr_at(p) for p in (0, 0.3, 1)} == {0.3}


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_the_optimiser_is_the_one_asked_for_and_takes_only_what_learns(name):
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    module[0].requires_grad_(False)
    optimizer = TransferSettings(optimizer=name, lr=0.3, weight_decay=0.01, momentum=0.5).make_optimizer(module)
    assert type(optimizer) is {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[name]
    group = optimizer.param_groups[0]
    assert [p is q for p, q in zip(group["params"], module[1].parameters())] == [True, True]
    assert len(group["params"]) == 2
    assert (group["lr"], group["weight_decay"]) == (0.3, 0.01)
    assert group.get("momentum", 0.5) == 0.5
    set_lr(optimizer, 0.07)
    assert optimizer.param_groups[0]["lr"] == 0.07


def test_matching_is_the_named_loss_at_the_temperature():
    s, t = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(3, 4)
    for name in ("kl", "l1", "mse"):
        how = TransferSettings(match=name, temperature=2.5)
        assert torch.equal(how.matching(Outputs(s), Outputs(t)), logits.match(name, s, t, 2.5))


@pytest.mark.parametrize("field", ["lr", "temperature", "clip", "momentum", "batch", "weight_decay", "lr_end"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, "x"])
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ConfigError, match=f"'{field}'"):
        validate(TransferSettings, {field: value}, "here")


# -- the ordinary step


def context_for(student: nn.Module) -> Context:
    task = KNOWN_TASKS["digits"]
    teacher = Teacher(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval(), task)
    return Context(task, teacher, Network.of(student, task), Streams(0), Progress(), Counters(), Runtime())


def quadratic(scale: float = 1.0):
    def loss(forward, batch: Batch) -> Losses:
        losses = Losses()
        outputs = forward(batch.inputs)
        losses.add("q", scale, lambda: outputs.logits.square().mean(1))
        return losses

    return loss


def test_a_plain_step_is_one_forward_and_a_gradient_step():
    student = nn.Linear(3, 2, bias=False)
    before, x = student.weight.detach().clone(), torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    calls = []

    def forward(images: torch.Tensor) -> Outputs:
        calls.append(len(images))
        return Outputs(student(images))

    update = Plain(context_for(student), forward, torch.optim.SGD(student.parameters(), lr=0.1), None)
    losses = update.step(quadratic(), Batch(x))
    wanted = before.clone().requires_grad_()
    (x @ wanted.T).square().mean(1).mean().backward()
    assert wanted.grad is not None
    assert torch.allclose(student.weight, before - 0.1 * wanted.grad)
    assert losses.values()["q"].item() == pytest.approx((x @ before.T).square().mean().item(), rel=1e-5)
    assert calls == [5]
    assert student.weight.grad is None  # nothing outlives the move
    assert update.state() == {}


def test_weights_of_the_batch_choose_what_is_learned():
    student = nn.Linear(3, 2, bias=False)
    x = torch.eye(3)
    before = student.weight.detach().clone()
    update = Plain(
        context_for(student), lambda v: Outputs(student(v)), torch.optim.SGD(student.parameters(), 0.1), None
    )
    update.step(quadratic(), Batch(x, weights=torch.tensor([1.0, 0.0, 0.0])))
    moved = (student.weight - before).abs().sum(0)
    assert moved[0] > 0
    assert moved[1:].sum() == 0


def test_clip_bounds_the_step():
    student = nn.Linear(3, 2, bias=False)
    before = student.weight.detach().clone()
    optimizer = torch.optim.SGD(student.parameters(), lr=1.0)
    update = Plain(context_for(student), lambda v: Outputs(student(v)), optimizer, 0.25)
    update.step(quadratic(1e4), Batch(torch.ones(4, 3)))
    assert (student.weight - before).norm().item() == pytest.approx(0.25, rel=1e-4)
