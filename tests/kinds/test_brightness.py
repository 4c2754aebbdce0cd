"""The first BatchNorm tells a wrong mean and std: no false alarm on right ones, an alarm on each wrong one."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from sansdata.kinds.inputs.brightness import plausible, training_brightness
from sansdata.tasks import ImageTask, load_task
from sansdata.teachers.base import Teacher
from sansdata.teachers.preflight import preflight
from sansdata.teachers.specs import load_teacher


def scaled(task: ImageTask, mean: float, std: float) -> ImageTask:
    return task.model_copy(update={"mean": (mean,) * task.channels, "std": (std,) * task.channels})


def settings(task: ImageTask) -> dict[str, ImageTask]:
    return {"own": task, "0..1": scaled(task, 0.0, 1.0), "0..255": scaled(task, 0.0, 1 / 255)}


def trained(images: torch.Tensor, labels: torch.Tensor, task: ImageTask) -> nn.Module:
    """A small net that saw normalised images for a few steps; `task` says how they were normalised."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
            nn.Flatten(), nn.Linear(256, 10),
        )  # fmt: skip
        optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
        for _ in range(80):
            chosen = torch.randint(len(images), (64,))
            inputs = (images[chosen] - task.mean[0]) / task.std[0]
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(inputs), labels[chosen]).backward()
            optimizer.step()
    return net


@pytest.mark.parametrize("fed", ["own", "0..1", "0..255"])
def test_digits(fed):
    digits = load_digits()
    images = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
    tasks = settings(load_task("digits"))
    net = trained(images, torch.tensor(digits.target), tasks[fed])
    for declared, task in tasks.items():
        warnings = preflight(Teacher.from_module(net, task)).warnings
        assert any("mean and std" in text for text in warnings) == (declared != fed), declared


class Inside(nn.Module):
    """A network that normalises what it is given, and changes it by `before` first."""

    def __init__(self, net, task, before=lambda x: x):
        super().__init__()
        self.net, self.mean, self.std, self.before = net, task.mean[0], task.std[0], before

    def forward(self, x):
        return self.net((self.before(x) - self.mean) / self.std)


def test_a_network_that_normalises_inside():
    """No word under the right task, which has mean 0 and std 1, and one under every other: it asks what arrives."""
    digits = load_digits()
    images = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
    tasks = settings(load_task("digits"))
    net = Inside(trained(images, torch.tensor(digits.target), tasks["own"]), tasks["own"])
    for declared, task in tasks.items():
        found = preflight(Teacher.from_module(net, task))
        assert found.faults == []
        assert any("mean and std" in text for text in found.warnings) == (declared != "0..1"), declared
        assert found.training_brightness is not None


def test_what_is_no_straight_line_says_nothing():
    digits = load_digits()
    images = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
    own = load_task("digits")
    net = Inside(trained(images, torch.tensor(digits.target), own), own, lambda x: x.clamp(0, 1).sqrt())
    found = preflight(Teacher.from_module(net, scaled(own, 0.0, 1.0)))
    assert found.training_brightness is None
    assert not any("mean and std of the task" in text for text in found.warnings)


IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.mark.parametrize("file", ["resnet20-12fca82f", "resnet32-d509ac18", "resnet56-4bfd9763"])
def test_public_checkpoints(real_data, file):
    spec = f"{file.partition('-')[0]}@{real_data}/checkpoints/cifar10_resnet/{file}.th"
    cifar = load_task("cifar10")
    right = {"cifar": cifar, "imagenet": cifar.model_copy(update=IMAGENET)}
    wrong = {name: scaled(cifar, *values) for name, values in WRONG.items()}
    for name, task in (right | wrong).items():
        found = preflight(load_teacher(spec, task))
        assert found.faults == []
        assert any("mean and std" in text for text in found.warnings) == (name in wrong), name


WRONG = {"0..1": (0, 1), "0..255": (0, 1 / 255), "mean alone": (0.47, 1), "-1..1": (0.5, 0.5), "mixed": (0.47, 1 / 255)}


def test_no_verdict_without_a_plain_stem():
    task = load_task("digits")
    inputs = torch.zeros(2, *task.shape)
    flat, norm_first = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), nn.Sequential(nn.BatchNorm2d(1), nn.Flatten())
    relu_between = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4))
    for module in (flat, norm_first, relu_between):
        assert training_brightness(module.eval(), inputs, inputs) is None


def test_a_bias_is_taken_off():
    task = load_task("digits")
    conv, norm = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8)
    inputs = torch.randn(2, *task.shape)
    with torch.no_grad():
        found = []
        for bias in (0.0, 30.0):
            conv.bias.fill_(bias)
            norm.running_mean.copy_(0.2 * conv.weight.sum((1, 2, 3)) + bias)
            images = task.mean[0] + task.std[0] * inputs
            found.append(training_brightness(nn.Sequential(conv, norm).eval(), images, inputs))
    assert found[0].mean == pytest.approx(found[1].mean, abs=1e-3)
    assert found[0].mean == pytest.approx(task.mean[0] + 0.2 * task.std[0], abs=1e-3)
    assert isinstance(plausible(found[0], task.std), bool)
