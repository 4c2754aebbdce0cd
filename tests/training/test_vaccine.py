"""The shuffled copies, the verification that chooses among them, and the terms against sums written out."""

from __future__ import annotations

import math

import pytest
import torch
from tiny import make_student, make_task, make_teacher
from torch import nn

from sansdata.contracts import Batch, Counters, Losses, Outputs, Progress
from sansdata.method import Context
from sansdata.network import Network
from sansdata.runtime import Runtime
from sansdata.settings import VaccineSettings
from sansdata.streams import Streams
from sansdata.teachers.base import Teacher
from sansdata.training.vaccine import (
    ShuffledCopies,
    Vaccine,
    divergence,
    outliers,
    shuffled_layers,
    suspicious,
    trusted,
    unmet_by_vaccine,
    vaccine,
)


def make_context(teacher: Teacher | None = None) -> Context:
    teacher = teacher or make_teacher()
    return Context(
        make_task(),
        teacher,
        Network.of(make_student(), make_task()),
        Streams(0),
        Progress(0, 10),
        Counters(),
        Runtime(),
    )


def test_a_copy_has_the_teachers_weights_in_another_order_of_input_channels() -> None:
    context = make_context()
    copies = ShuffledCopies(context, copies=2, layers=3)
    copies.shuffle()
    theirs = context.teacher.module.state_dict()
    assert len(copies.layers) == 3
    for module, orders in zip(copies.modules, copies.orders, strict=True):
        for name, value in module.state_dict().items():
            layer = name.removesuffix(".weight")
            if layer in copies.layers:
                assert not torch.equal(value, theirs[name])
                assert torch.equal(value, theirs[name][:, orders[copies.layers.index(layer)]])
            else:
                assert torch.equal(value, theirs[name]), name
        assert not module.training
        assert not any(p.requires_grad for p in module.parameters())
    assert [o.tolist() for o in copies.orders[0]] != [o.tolist() for o in copies.orders[1]]


def test_the_answer_is_the_mean_of_the_copies() -> None:
    context = make_context()
    copies = ShuffledCopies(context, copies=3, layers=2)
    copies.shuffle()
    images = torch.rand(4, 1, 8, 8)
    answers = [module((images - 0.5) / 0.25) for module in copies.modules]
    torch.testing.assert_close(copies(images), sum(answers) / 3)
    assert context.counters["vaccine_forwards"] == 12


class Odd(nn.Module):
    """Registered in another order than it runs; with grouped, one-channel and ordinary convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.late = nn.Conv2d(4, 4, 1)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4, padding=1)
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.early = nn.Conv2d(4, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.late(self.depthwise(self.early(self.first(x)))).mean((2, 3))


def test_layers_are_those_that_can_be_shuffled_in_the_order_they_run() -> None:
    teacher = Teacher.from_module(Odd(), make_task())
    assert shuffled_layers(teacher) == ["early", "late"]
    assert ShuffledCopies(make_context(teacher), 1, 5).layers == ["late"]  # half of two
    assert unmet_by_vaccine(teacher) == []


def test_several_teachers_are_refused() -> None:
    teacher = make_teacher()
    teacher.__class__ = type("Two", (Teacher,), {"members": property(lambda self: (self, self))})
    assert "one network" in unmet_by_vaccine(teacher)[0]


def batches(context: Context, logits_of: float) -> list[Batch]:
    """Batches whose cached answers are `logits_of` times the teacher's."""
    made = []
    for seed in range(6):
        images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
        made.append(Batch(images, teacher_outputs=Outputs(logits_of * context.teacher(images).logits.detach())))
    return made


@pytest.mark.parametrize(("tail", "trials", "on"), [(0.9, 3, False), (1e-4, 200, True)])
def test_verification_shuffles_until_some_samples_stand_out_or_gives_up(tail: float, trials: int, on: bool) -> None:
    context = make_context()
    vaccine = Vaccine(VaccineSettings(verify=4, skip=1, tail=tail, trials=trials), context)
    first = [order.clone() for order in vaccine.copies.orders[0]]
    for number, batch in enumerate(batches(context, 1.0)):
        assert not vaccine.on or number >= 4
        losses = Losses()
        vaccine.add_to(losses, batch.inputs, context.teacher(batch.inputs))
        assert ("vaccine" in losses.terms) == vaccine.on
        vaccine.watch(batch)
    assert vaccine.on == on
    seen = vaccine.verification
    assert seen["images"] == []
    assert seen["trials"] == 3 if not on else seen["trials"] <= 200
    assert on or [a.tolist() for a in vaccine.copies.orders[0]] != [a.tolist() for a in first]
    assert bool(vaccine.findings()) != on


def test_copies_are_shuffled_anew_every_so_many_steps() -> None:
    context = make_context()
    vaccine = Vaccine(VaccineSettings(renew=3), context)
    batch, orders = batches(context, 1.0)[0], []
    for step in range(7):
        context.progress.steps = step
        context.streams.begin(step)
        vaccine.watch(batch)
        orders.append([order.tolist() for own in vaccine.copies.orders for order in own])
    assert orders[0] == orders[1] == orders[2] != orders[3]
    assert orders[3] == orders[4] == orders[5] != orders[6]


def test_findings_name_a_shuffle_that_keeps_every_class() -> None:
    vaccine = Vaccine(VaccineSettings(), make_context())
    assert vaccine.findings() == []
    vaccine._count(torch.ones(100, dtype=torch.bool))
    assert "100%" in vaccine.findings()[0]


# -- the terms


LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 3.0, 1.0], [1.0, 0.5, 0.0]], dtype=torch.float64)
SHUFFLED = torch.tensor([[1.0, 0.5, 0.0], [2.0, 0.0, 1.0], [0.5, 0.2, 0.1]], dtype=torch.float64)
"""The class of the first and the third survives."""


def row(i: int) -> float:
    p, q = ([math.exp(v) / sum(map(math.exp, x)) for v in x] for x in (LOGITS[i].tolist(), SHUFFLED[i].tolist()))
    return sum(a * math.log(a / b) for a, b in zip(p, q)) / 3


def test_what_keeps_its_class_is_suspicious() -> None:
    assert suspicious(LOGITS, SHUFFLED).tolist() == [True, False, True]


def test_the_term_is_the_mean_divergence_of_the_suspicious() -> None:
    assert divergence(LOGITS, SHUFFLED).tolist() == pytest.approx([row(0), row(1), row(2)])
    assert float(vaccine(LOGITS, SHUFFLED)) == pytest.approx(-(row(0) + row(2)) / 2)
    assert float(vaccine(LOGITS[1:2], SHUFFLED[1:2])) == 0


def test_only_suspicious_samples_get_a_gradient_and_both_networks_give_one() -> None:
    logits, shuffled = LOGITS.clone().requires_grad_(), SHUFFLED.clone().requires_grad_()
    vaccine(logits, shuffled).backward()
    for tensor in (logits, shuffled):
        assert tensor.grad is not None
        assert tensor.grad[1].abs().sum() == 0
        assert (tensor.grad[[0, 2]].abs().sum(1) > 0).all()


def test_suspicious_samples_count_against_up_to_the_cap() -> None:
    loss = torch.tensor([1.0, 2.0, 3.0, 100.0], requires_grad=True)
    distrusted = torch.tensor([False, False, True, True])
    value = trusted(loss, distrusted, weight=0.1, cap=4.0)
    assert value.item() == pytest.approx(1.5 - 0.1 * (3 + 6) / 2)
    value.backward()
    assert loss.grad is not None
    assert loss.grad.tolist() == pytest.approx([0.5, 0.5, -0.05, 0.0])


def test_weights_count_in_both_means() -> None:
    loss, distrusted = torch.tensor([1.0, 3.0, 2.0, 4.0]), torch.tensor([False, False, True, True])
    value = trusted(loss, distrusted, 0.5, 10.0, torch.tensor([1.0, 3.0, 3.0, 1.0]))
    assert value.item() == pytest.approx(10 / 4 - 0.5 * 10 / 4)


def test_a_batch_of_one_kind_only_is_no_division_by_nought() -> None:
    loss = torch.tensor([1.0, 2.0], requires_grad=True)
    assert trusted(loss, torch.tensor([False, False]), 0.1, 2.0).item() == pytest.approx(1.5)
    nothing = trusted(loss, torch.tensor([True, True]), 0.1, 2.0)
    nothing.backward()
    assert nothing.item() == 0
    assert loss.grad is not None
    assert loss.grad.abs().sum() == 0


def test_outliers_are_three_deviations_below_on_a_logarithmic_scale() -> None:
    close = 10 ** torch.linspace(-0.1, 0.1, 99)
    assert int(outliers(close).sum()) == 0
    assert outliers(torch.cat([close, torch.tensor([1e-6])])).tolist() == [False] * 99 + [True]
    assert int(outliers(torch.cat([close, torch.tensor([1e6])])).sum()) == 0
