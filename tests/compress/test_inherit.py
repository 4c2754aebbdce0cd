"""A student that starts from its teacher's weights."""

import pytest
import torch
from tiny import make_task, zoo
from torch import nn

from sansdata.compress.inherit import inherit, inheritable
from sansdata.errors import StudentError
from sansdata.models.build import architecture_of, build

TASK = make_task((3, 32, 32))


def test_layers_of_a_shorter_network_are_spread_over_the_longer_one():
    teacher, student = build(architecture_of("resnet56", TASK)), build(architecture_of("resnet20", TASK))
    assert inherit(student, teacher) == 1.0
    for mine, theirs in {0: 0, 1: 4, 2: 8}.items():
        for stage in ("layer1", "layer2", "layer3"):
            a, b = student.get_submodule(f"{stage}.{mine}"), teacher.get_submodule(f"{stage}.{theirs}")
            assert all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values()))
    assert torch.equal(student.get_submodule("linear").weight, teacher.get_submodule("linear").weight)


def test_the_copy_is_a_copy():
    teacher, student = build(zoo()), build(zoo())
    inherit(student, teacher)
    with torch.no_grad():
        next(student.parameters()).add_(1)
    assert not torch.equal(next(student.parameters()), next(teacher.parameters()))


def test_statistics_of_batch_norm_come_along():
    teacher = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    teacher(torch.randn(8, 3, 8, 8))
    student = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    inherit(student, teacher)
    assert torch.equal(student[1].running_mean, teacher[1].running_mean)


def test_layers_of_another_width_stay_new_and_are_not_counted():
    teacher = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3))
    student = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3))
    kept = student[1].weight.clone()
    share = inherit(student, teacher)
    assert share == pytest.approx(108 / (108 + 216))
    assert inheritable(student, teacher) == share
    assert torch.equal(student[1].weight, kept)


def test_a_narrower_student_has_nothing_to_inherit():
    with pytest.raises(StudentError, match=r"inherit=true.*resnet20 from resnet56"):
        inherit(build(zoo(scale=0.5)), build(zoo()))
