"""BatchNorm as part of the layer before it: the same answers, statistics and gradients, and where it must not be."""

from __future__ import annotations

import importlib

import pytest
import torch
from tiny import make_task, make_teacher
from torch import Tensor, nn

from sansdata.contracts import Access
from sansdata.models.folding import FoldedNorm, folded
from sansdata.models.taps import forward
from sansdata.objectives.batch_stats import BatchStatistics
from sansdata.runtime import Runtime
from sansdata.teachers.base import Teacher


class Net(nn.Module):
    """A layer, its BatchNorm, an activation, and a head. after: what happens to the result of the BatchNorm."""

    def __init__(self, after: str = "relu", dims: int = 2, affine: bool = True) -> None:
        super().__init__()
        layer = (nn.Linear(3, 6), nn.Conv1d(3, 6, 3, padding=1), nn.Conv2d(3, 6, 3, padding=1))[dims]
        norm = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d)[dims](6, affine=affine)
        self.layer, self.norm = layer, norm
        self.act, self.after = nn.ReLU(inplace=after == "inplace"), after
        self.head = nn.Linear(6, 4)
        with torch.no_grad():
            for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
                if value is not None:
                    value.uniform_(0.3, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        z = self.norm(y)
        if self.after == "added":
            z += 1
        z = self.act(z)
        if self.after == "reads before":
            z = z + y
        return self.head(z.flatten(2).mean(2) if z.ndim > 2 else z)


def net(after: str = "relu", dims: int = 2, affine: bool = True) -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net(after, dims, affine).eval().requires_grad_(False)


def drawn(dims: int = 2) -> Tensor:
    shape = ((5, 3), (5, 3, 7), (5, 3, 7, 6))[dims]
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def distance(module: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """(the answers, how far the statistics are)."""
    statistics = BatchStatistics(module, ["norm"])
    outputs = forward(module, inputs, statistics.taps)
    return outputs.value, statistics(outputs.taps)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dims", [0, 1, 2])
def test_answers_statistics_and_gradients_are_those_of_the_network(dims: int, affine: bool) -> None:
    plain, inputs, results = net(dims=dims, affine=affine), drawn(dims), []
    quick = folded(plain, inputs)
    assert quick is not None
    assert isinstance(quick.norm, FoldedNorm)
    for module in (plain, quick):
        x = inputs.double().requires_grad_()
        answers, apart = distance(module.double(), x)
        (slope,) = torch.autograd.grad(apart + answers.square().sum(), x)
        results.append((answers, apart, slope))
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)  # the folded weights were rounded to float32
    assert isinstance(plain.norm, nn.modules.batchnorm._BatchNorm)  # the network itself stays as it was


def test_an_activation_in_place_does_not_spoil_what_is_read() -> None:
    plain, inputs = net("inplace"), drawn()
    quick = folded(plain, inputs)
    assert quick is not None
    torch.testing.assert_close(distance(quick, inputs), distance(plain, inputs), rtol=1e-4, atol=1e-5)
    assert plain.act.inplace


@pytest.mark.parametrize("after", ["added", "reads before"])
def test_a_layer_is_left_where_others_change_or_read_what_it_gave(after: str) -> None:
    assert folded(net(after), drawn()) is None


@pytest.mark.parametrize(("weight", "bias"), [(0.0, 0.5), (0.01, 0.5)])
def test_a_channel_that_hardly_varies_keeps_its_layer_whole(weight: float, bias: float) -> None:
    plain = net()
    with torch.no_grad():
        plain.norm.weight[2], plain.norm.bias[2] = weight, bias
    assert folded(plain, drawn()) is None


class NormAct(nn.BatchNorm2d):
    """As timm writes a BatchNorm with the activation behind it."""

    def __init__(self, channels: int, add: float = 0.0) -> None:
        super().__init__(channels)
        self.drop, self.act, self.add = nn.Identity(), nn.ReLU(inplace=True), add

    def forward(self, input: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(input))) + self.add


def with_norm(norm: nn.BatchNorm2d) -> Net:
    module = net()
    norm.load_state_dict(module.norm.state_dict())
    module.norm = norm
    return module.eval().requires_grad_(False)


def test_a_norm_with_its_activation_is_folded_too() -> None:
    plain, inputs = with_norm(NormAct(6)), drawn()
    quick = folded(plain, inputs)
    assert quick is not None
    assert isinstance(quick.norm, FoldedNorm)
    torch.testing.assert_close(distance(quick, inputs), distance(plain, inputs), rtol=1e-4, atol=1e-5)


def test_a_norm_that_does_something_else_behind_itself_is_left() -> None:
    assert folded(with_norm(NormAct(6, add=1.0)), drawn()) is None


@pytest.mark.usefixtures("vision")
def test_networks_of_timm_are_folded() -> None:
    timm = importlib.import_module("timm")
    plain, inputs = timm.create_model("efficientnet_lite0", num_classes=5).eval(), torch.rand(2, 3, 64, 64)
    for part in plain.modules():
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None and part.running_var is not None:
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    quick = folded(plain, inputs)
    assert quick is not None
    assert sum(isinstance(part, FoldedNorm) for part in quick.modules()) == 49
    torch.testing.assert_close(quick(inputs), plain(inputs), rtol=1e-3, atol=1e-5)


def test_a_layer_that_runs_twice_is_left() -> None:
    same = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    module = nn.Sequential(same, same, net()).eval()
    quick = folded(module, drawn())
    assert quick is not None
    norms = [part for part in quick.modules() if isinstance(part, (FoldedNorm, nn.BatchNorm2d))]
    assert [type(part) for part in norms] == [nn.BatchNorm2d, FoldedNorm]


def test_a_teacher_is_asked_by_the_folded_network_where_statistics_are_read() -> None:
    teacher = make_teacher().to(Runtime())
    statistics = teacher.statistics()
    assert {tap.partition(":")[2] for tap in statistics.taps} == {"folded"}
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = BatchStatistics(teacher.inside.module, teacher.inside.batch_norms)
    fast, slow = teacher(images, statistics.taps), teacher(images, plain.taps)
    torch.testing.assert_close(fast.logits, slow.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(statistics(fast.taps), plain(slow.taps), rtol=1e-4, atol=1e-4)
    assert teacher.counters["teacher_forwards"] == 12


def test_nobody_looks_inside_where_the_statistics_do_not_count() -> None:
    teacher = Teacher(make_teacher().module, make_task(), most=Access.GRADIENTS)
    assert teacher.statistics(False).taps == ()


def test_of_a_teacher_that_cannot_be_folded_what_comes_in_is_read() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.linear = nn.BatchNorm1d(64), nn.Linear(64, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(self.norm(x.flatten(1)))

    assert Teacher.from_module(Flat(), make_task()).statistics().taps == ("norm:input",)
