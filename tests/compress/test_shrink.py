"""Shrinking: any convolutional network by surgery, the others refused with the reason."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sansdata.compress.rebuild import factories_in, rebuild
from sansdata.compress.shrink import shrink
from sansdata.errors import StudentError
from sansdata.models.build import architecture_of, build
from sansdata.models.zoo import IMAGE_ZOO
from sansdata.tasks import load_task

CIFAR = load_task("cifar10").model_copy(update={"shape": (3, 16, 16)})


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def answers(module: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return module.eval()(torch.randn(2, *CIFAR.shape))


def flat() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(),
        nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.inner = nn.Conv2d(3, 24, 3, padding=1), nn.Conv2d(24, 24, 3, padding=1)
        self.norm, self.act = nn.GroupNorm(8, 24), nn.PReLU(24)
        self.head = nn.Linear(24, 10)

    def forward(self, x):
        x = self.stem(x)
        return {"logits": self.head(self.act(x + self.norm(self.inner(x))).mean((2, 3)))}


class Concatenated(nn.Module):
    """Odd widths, so that rounding the sum is not the sum of the rounded."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 5, 1), nn.Conv2d(3, 7, 1)
        self.norm, self.c = nn.BatchNorm2d(12), nn.Conv2d(12, 9, 1)
        self.head = nn.Conv2d(9, 10, 1)

    def forward(self, x):
        both = torch.cat([self.a(x), self.b(x)], 1)
        return F.adaptive_avg_pool2d(self.head(self.c(self.norm(both))), 1).flatten(1)


class Depthwise(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.each = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 32, 3, groups=16)
        self.grouped, self.norm, self.head = nn.Conv2d(32, 32, 1, groups=4), nn.LayerNorm(32), nn.Linear(32, 10)

    def forward(self, x):
        return (self.head(self.norm(self.grouped(self.each(self.up(x))).mean((2, 3)))), x)


SHRINKABLE = {"flat": flat, "residual": Residual, "concatenated": Concatenated, "depthwise": Depthwise}


@pytest.mark.parametrize("make", SHRINKABLE.values(), ids=SHRINKABLE)
@pytest.mark.parametrize("ratio", [1.0, 0.5, 0.3, 0.01])
def test_surgery(make, ratio):
    teacher = make()
    before = [p.clone() for p in teacher.parameters()]
    student, architecture = shrink(teacher, ratio, CIFAR)
    output = answers(student)
    output = output["logits"] if isinstance(output, dict) else output[0] if isinstance(output, tuple) else output
    assert architecture is None
    assert output.shape == (2, 10)
    assert count(student) == count(teacher) if ratio == 1 else count(student) < count(teacher)
    assert all(p.requires_grad for p in student.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, teacher.parameters()))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in student.modules())
    mine = {p.data_ptr() for p in student.parameters()}
    assert not mine & {p.data_ptr() for p in teacher.parameters()}


def test_weights_are_fresh_even_where_sizes_stay():
    teacher = flat()
    student, _ = shrink(teacher, 1.0, CIFAR)
    assert not torch.equal(student[0].weight, teacher[0].weight)
    assert student[1].running_mean.eq(0).all()


@pytest.mark.parametrize("name", IMAGE_ZOO)
def test_zoo_networks_by_scale(name):
    architecture = architecture_of(name, CIFAR)
    student, smaller = shrink(nn.Identity(), 0.25, CIFAR, architecture)
    assert smaller is not None
    assert json.loads(json.dumps(smaller)) == smaller
    assert [p.shape for p in rebuild(smaller, ["my_nets:make"]).parameters()] == [p.shape for p in student.parameters()]
    assert answers(student).shape == (2, 10)
    _, twice = shrink(student, 0.5, CIFAR, smaller)
    assert twice is not None
    assert twice["args"]["scale"] == 0.125


@pytest.mark.parametrize("name", ["lenet5", "resnet8", "resnet18", "wrn-16-1"])
@pytest.mark.parametrize("ratio", [0.5, 0.28])
def test_surgery_fits_the_zoo_too(name, ratio):
    teacher = build(architecture_of(name, CIFAR))
    student, _ = shrink(teacher, ratio, CIFAR)
    assert answers(student).shape == (2, 10)
    assert count(student) < count(teacher)


def test_rebuild_a_shrunk_factory(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(
        "from torch import nn\n"
        "def make(task):\n"
        "    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.Flatten(), nn.Linear(16 * 14 * 14, task.classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    architecture = architecture_of("my_nets:make", CIFAR)
    student, smaller = shrink(build(architecture, code=["my_nets:make"]), 0.5, CIFAR, architecture)
    assert smaller is not None
    assert json.loads(json.dumps(smaller)) == smaller
    assert factories_in(smaller) == ["my_nets:make"]
    assert [p.shape for p in rebuild(smaller, ["my_nets:make"]).parameters()] == [p.shape for p in student.parameters()]


# -- refusals


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.gamma, self.head = nn.Conv2d(3, 8, 1), nn.Parameter(torch.ones(8)), nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)) * self.gamma)


class FixedView(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 1), nn.Linear(8 * 256, 10)

    def forward(self, x):
        return self.head(self.conv(x).view(-1, 8 * 256))


class FixedHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 24, 8, 8), nn.Linear(24, 10)

    def forward(self, x):
        tokens = self.conv(x).flatten(2).transpose(1, 2)
        heads = tokens.reshape(len(x), 4, 3, 8)
        return self.head(heads.flatten(2).mean(1))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Linear(3, 10)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.head(self.b(self.a(x)).mean((2, 3)))


class Auxiliary(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head, self.extra = nn.Conv2d(3, 8, 1), nn.Linear(8, 10), nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))


def attention() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 4, batch_first=True)
    return nn.Sequential(nn.Flatten(2), nn.Linear(256, 16), layer, nn.Flatten(), nn.Linear(48, 10))


def grey_only() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 1), nn.Flatten(), nn.Linear(8 * 256, 10))


def no_head() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


REFUSED = {
    Scaled: "holds the parameter 'gamma'",
    FixedView: "reshapes|holds a width",
    FixedHeads: "holds a width or a head size",
    Tied: "share one weight",
    Auxiliary: "'extra' did not run",
    attention: "in_proj_weight",
    grey_only: "fails on images of shape",
    no_head: "gives its 10 classes",
}


@pytest.mark.parametrize(("make", "reason"), REFUSED.items(), ids=[make.__name__ for make in REFUSED])
def test_refused_with_the_reason(make, reason):
    with pytest.raises(StudentError, match=reason):
        shrink(make(), 0.5, CIFAR)


@pytest.mark.parametrize("ratio", [0, -1, 1.5, float("nan"), float("inf"), "half", None])
def test_ratios(ratio):
    with pytest.raises(StudentError, match="above 0 and at most 1"):
        shrink(flat(), ratio, CIFAR)


@pytest.mark.parametrize(
    "change", [{"of": None}, {"shape": [3]}, {"ratio": 2}, {"ratio": None}, {"classes": "ten"}, {"of": {"kind": "x"}}]
)
def test_a_bad_shrink_architecture(change):
    good = {"kind": "shrink", "ratio": 0.5, "shape": [3, 16, 16], "classes": 10}
    good["of"] = architecture_of("resnet8", CIFAR)
    rebuild(good)
    with pytest.raises(StudentError):
        rebuild(good | change)


def test_endless_nesting():
    architecture = architecture_of("resnet8", CIFAR)
    for _ in range(12):
        architecture = {"kind": "shrink", "ratio": 1.0, "shape": [3, 16, 16], "classes": 10, "of": architecture}
    with pytest.raises(StudentError, match="times over"):
        rebuild(architecture)


@pytest.mark.usefixtures("vision")
@pytest.mark.parametrize("name", ["timm:mobilenetv3_small_100", "torchvision:shufflenet_v2_x1_0", "timm:regnetx_002"])
def test_library_networks(name):
    task = load_task("cifar10")
    architecture = architecture_of(name, task)
    student, smaller = shrink(build(architecture), 0.5, task, architecture)
    assert smaller is not None
    assert [p.shape for p in rebuild(smaller, ["my_nets:make"]).parameters()] == [p.shape for p in student.parameters()]


@pytest.mark.usefixtures("vision")
@pytest.mark.parametrize("name", ["timm:vit_tiny_patch16_224", "timm:convnext_atto", "torchvision:googlenet"])
def test_library_networks_refused(name):
    task = load_task("cifar10")
    with pytest.raises(StudentError, match="cannot be shrunk"):
        shrink(build(architecture_of(name, task)), 0.5, task)
