"""Feature alignment on two small nets: what is paired, what is added, what is trained and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sansdata.contracts import Counters, Losses, Outputs, Progress
from sansdata.errors import ConfigError, MethodError
from sansdata.method import Context
from sansdata.models.taps import forward
from sansdata.network import Network
from sansdata.objectives.features import attention_transfer, hint
from sansdata.runtime import Runtime
from sansdata.settings import FeatureTerms
from sansdata.streams import Streams
from sansdata.tasks import KNOWN_TASKS
from sansdata.teachers.base import Teacher
from sansdata.training.added_terms import AddedTerms, stage_ends

TASK = KNOWN_TASKS["digits"]


class Net(nn.Module):
    """Two stages, 8x8 and 4x4, then a head."""

    def __init__(self, width: int, stride: int = 2) -> None:
        super().__init__()
        self.stem, self.stage1 = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.stage2 = nn.Sequential(nn.Conv2d(width, 2 * width, 3, stride, 1), nn.BatchNorm2d(2 * width))
        self.head = nn.Linear(2 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stage2(self.stage1(self.stem(x)).relu()).mean((2, 3)))


def nets(teacher: int = 6, student: int = 3, stride: int = 2) -> tuple[Net, Net]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net(teacher).eval(), Net(student, stride)


def context_of(teacher: Net, student: Net) -> Context:
    network = Network.of(student, TASK)
    return Context(TASK, Teacher.from_module(teacher, TASK), network, Streams(0), Progress(), Counters(), Runtime())


def terms_and_outputs(settings: FeatureTerms, **how: int) -> tuple[AddedTerms, Outputs, Outputs, Net]:
    teacher, student = nets(**how)
    terms = AddedTerms(settings, context_of(teacher, student))
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        seen = forward(teacher, x, terms.teacher_taps)
    return terms, forward(student, x, terms.student_taps), seen, student


def test_stage_ends_are_the_last_of_each_resolution_and_leave_no_trace():
    net = nets()[1].train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert stage_ends(Network.of(net, TASK), torch.zeros(2, 1, 8, 8)) == ("stage1", "stage2")
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules())


def test_attention_is_the_sum_over_pairs_and_hint_is_not_computed():
    terms, student, teacher, _ = terms_and_outputs(FeatureTerms(attention=250))
    losses = Losses()
    terms.add_to(losses, student, teacher)
    assert set(losses.terms) == {"attention"}
    wanted = sum(attention_transfer(student.taps[n], teacher.taps[n]) for n in ("stage1", "stage2"))
    assert isinstance(wanted, Tensor)
    assert torch.allclose(losses.values()["attention"], wanted.mean())
    assert losses.total().item() == pytest.approx(250 * wanted.mean().item(), rel=1e-5)
    assert len(list(terms.parameters())) == 0  # attention has no channels to regress


def test_hint_regresses_to_the_teachers_width_and_trains_the_regressor_with_the_student():
    terms, student, teacher, net = terms_and_outputs(FeatureTerms(hint=2.0))
    assert [tuple(r.weight.shape) for r in terms.regressors] == [(6, 3, 1, 1), (12, 6, 1, 1)]
    losses = Losses()
    terms.add_to(losses, student, teacher)
    wanted = sum(hint(r(student.taps[n]), teacher.taps[n]) for r, n in zip(terms.regressors, ("stage1", "stage2")))
    assert isinstance(wanted, Tensor)
    assert torch.allclose(losses.values()["hint"], wanted.mean())
    losses.total().backward()
    for part in (*terms.regressors, net.stem, net.stage1):
        assert part.weight.grad is not None
        assert part.weight.grad.abs().sum() > 0
    assert net.head.weight.grad is None  # the hint does not see the head


def test_equal_widths_need_no_regressor():
    terms, student, teacher, _ = terms_and_outputs(FeatureTerms(hint=1.0), student=6)
    assert list(terms.parameters()) == []
    losses = Losses()
    terms.add_to(losses, student, teacher)
    assert losses.values()["hint"] > 0


def test_named_pairs_of_other_size_are_pooled():
    named = FeatureTerms(hint=1.0, attention=1.0, teacher=("stage2",), student=("stage1",))
    terms, student, teacher, _ = terms_and_outputs(named)
    assert terms.pairs == [("stage2", "stage1")]
    losses = Losses()
    terms.add_to(losses, student, teacher)
    pooled = nn.functional.adaptive_avg_pool2d(terms.regressors[0](student.taps["stage1"]), 4)
    assert torch.allclose(losses.values()["hint"], hint(pooled, teacher.taps["stage2"]).mean())


def test_stages_that_cannot_be_paired_are_refused_with_the_mend():
    teacher, student = nets(stride=1)
    with pytest.raises(MethodError, match=r"2 stage\(s\) in the teacher and 1 in the student.*features\.teacher="):
        AddedTerms(FeatureTerms(hint=1.0), context_of(teacher, student))


def test_a_tap_without_places_is_refused_by_name():
    teacher, student = nets()
    with pytest.raises(MethodError, match="'head' gives"):
        AddedTerms(FeatureTerms(hint=1.0, teacher=("head",), student=("head",)), context_of(teacher, student))


def test_names_go_in_pairs():
    from sansdata.config import validate

    with pytest.raises(ConfigError, match="pairs"):
        validate(FeatureTerms, {"teacher": ["a"], "hint": 1}, "here")
    assert not FeatureTerms().active
    assert FeatureTerms(hint=0.1).active
