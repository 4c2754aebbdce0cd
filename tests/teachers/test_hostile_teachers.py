"""Row 16: whatever a teacher does, preflight says it in a sentence and leaves no trace."""

from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sansdata.contracts import Access, Requirements
from sansdata.errors import TeacherError
from sansdata.models.build import architecture_of, build
from sansdata.network import Network
from sansdata.tasks import ImageTask
from sansdata.teachers.base import Teacher
from sansdata.teachers.preflight import preflight, unmet

TASK = ImageTask(shape=(3, 8, 8), classes=4, mean=(0.5,) * 3, std=(0.5,) * 3)


def head(classes: int = 4, channels: int = 3) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, classes))


class Wrap(nn.Module):
    """A good classifier whose input or answer passes through `change`."""

    def __init__(self, change, before=None):
        super().__init__()
        self.inner, self.change, self.before = head(), change, before
        self.register_buffer("seen", torch.zeros(4))
        self.calls = [0]

    def forward(self, x):
        self.calls[0] += 1
        x = x if self.before is None else self.before(self, x)
        return self.change(self, self.inner(x))


def answers(change):
    return lambda: Wrap(lambda module, logits: change(logits))


def does(change):
    return lambda: Wrap(change)


def sees(before):
    return lambda: Wrap(lambda module, logits: logits, before)


def filled(value: float):
    def make():
        module = head()
        nn.init.constant_(module[1].weight, value)
        return module

    return make


def counting(module, logits):
    module.seen += 1
    return logits


def replacing(module, logits):
    module.seen = module.seen + 1
    return logits


def drifting(module, logits):
    with torch.no_grad():
        module.inner[1].bias.add_(1.0)
    return logits


def raising(module, logits):
    raise ZeroDivisionError("no luck")


def later(module, logits):
    if module.calls[0] > 1:
        raise OSError("lost connection")
    return logits


def slow(module, logits):
    time.sleep(0.01)
    return logits


def in_place(module, x):
    return x.mul_(2)


def batch_norm_in_train_mode():
    class Stubborn(nn.BatchNorm2d):
        def train(self, mode=True):
            return super().train(True)

    return nn.Sequential(nn.Conv2d(3, 4, 1), Stubborn(4), nn.Flatten(), nn.Linear(256, 4))


def dropout_always():
    class Always(nn.Module):
        def forward(self, x):
            return F.dropout(x, 0.5, training=True)

    return nn.Sequential(nn.Flatten(), Always(), nn.Linear(192, 4))


def batch_statistics():
    class Whitened(nn.Module):
        def forward(self, x):
            return (x - x.mean(0)) / (x.std(0) + 1e-3)

    return nn.Sequential(nn.Flatten(), Whitened(), nn.Linear(192, 4))


def nan_buffer():
    module = nn.Sequential(nn.BatchNorm2d(3), head())
    module[0].running_mean.fill_(float("nan"))
    return module


FAULTS = {
    "too many classes": (lambda: head(10), "gives 10 classes and the task has 4"),
    "too few classes": (lambda: head(3), "gives 3 classes and the task has 4"),
    "one class": (lambda: head(1), "1 output"),
    "100,000 classes": (lambda: head(100_000), "gives 100000 classes"),
    "returns None": (answers(lambda y: None), "NoneType"),
    "returns a number": (answers(lambda y: 3.0), "float"),
    "returns a string": (answers(lambda y: "cat"), "str"),
    "empty tuple": (answers(lambda y: ()), "tuple"),
    "empty dict": (answers(lambda y: {}), "dict"),
    "dict without logits": (answers(lambda y: {"features": y}), "dict"),
    "generator": (answers(lambda y: (v for v in y)), "generator"),
    "detection": (answers(lambda y: [{"boxes": y, "labels": y, "scores": y}]), "detection model"),
    "detection dict": (answers(lambda y: {"boxes": y}), "detection model"),
    "segmentation": (answers(lambda y: {"out": y[:, :, None, None].expand(-1, -1, 8, 8)}), "segmentation"),
    "labels": (answers(lambda y: y.argmax(1)), "not labels"),
    "one-hot int": (answers(lambda y: F.one_hot(y.argmax(1), 4)), "not labels"),
    "scalar": (answers(lambda y: y.sum()), "shape"),
    "one row": (answers(lambda y: y[:1]), "shape"),
    "flattened": (answers(lambda y: y.flatten()), "shape"),
    "transposed": (answers(lambda y: y.T), "shape"),
    "sequence": (answers(lambda y: y[:, None]), "shape"),
    "empty": (answers(lambda y: y[:, :0]), "0 classes"),
    "softmax": (answers(lambda y: y.softmax(1)), "leave out its final softmax"),
    "sigmoid": (answers(torch.sigmoid), "multi-label"),
    "NaN logits": (answers(lambda y: y * float("nan")), "logits that are not finite (NaN)"),
    "Inf logits": (answers(lambda y: y + float("inf")), "logits that are not finite (infinite)"),
    "NaN weights": (filled(float("nan")), "'1.weight' is not finite"),
    "NaN buffer": (nan_buffer, "'0.running_mean' is not finite"),
    "zero weights": (filled(0.0), "same answer to every input"),
    "constant": (answers(torch.zeros_like), "same answer to every input"),
    "counts in a buffer": (does(counting), "changes its own 'seen'"),
    "replaces a buffer": (does(replacing), "changes its own 'seen'"),
    "writes a parameter": (does(drifting), "changes its own 'inner.1.bias'"),
    "stays in train mode": (batch_norm_in_train_mode, "changes its own '1."),
    "changes its input": (sees(in_place), "input images in place"),
    "raises": (does(raising), "ZeroDivisionError: no luck"),
    "raises later": (does(later), "asked again: OSError: lost connection"),
    "wants other channels": (lambda: nn.Conv2d(1, 4, 8), "takes 1 channel"),
    "wants a larger image": (lambda: nn.Conv2d(3, 4, 11), "fails on normalised images"),
    "wants another size": (lambda: head(4, 12), "fails on normalised images"),
    "dropout in eval": (dropout_always, "differently each time"),
    "random": (answers(lambda y: y + torch.randn_like(y)), "differently each time"),
    "batch statistics": (batch_statistics, "other images of the batch"),
    "half inside": (sees(lambda module, x: x.half()), "fails on normalised images"),
    "no forward": (nn.Module, "fails on normalised images"),
    "a list of layers": (lambda: nn.ModuleList([head()]), "fails on normalised images"),
}

WARNED = {
    "argmax has no gradient": (does(lambda m, y: y.detach()), "no gradient"),
    "no_grad inside": (does(lambda m, y: torch.no_grad()(lambda: y.clone())()), "no gradient"),
    "no BatchNorm": (head, "no BatchNorm"),
    "dead class": (answers(lambda y: y * torch.tensor([1.0, 1.0, 1.0, 0.0])), "dead outputs: 1"),
    "very sure": (answers(lambda y: y * 1e4), "sure of pure noise"),
    "slow": (does(slow), "took"),
}


def test_there_are_enough():
    assert len(FAULTS) + len(WARNED) + len(REFUSED) + len(GOOD) >= 40


@pytest.mark.parametrize("name", FAULTS)
def test_fault(name):
    make, reason = FAULTS[name]
    found = preflight(Teacher.from_module(make(), TASK))
    assert any(reason in fault for fault in found.faults), found.faults
    assert all("Traceback" not in fault and len(fault) < 600 for fault in found.faults)
    json.dumps(found.to_dict())


@pytest.mark.parametrize("name", WARNED)
def test_warning(name, monkeypatch):
    monkeypatch.setattr("sansdata.teachers.preflight.SLOW_SECONDS", 0.005)
    make, reason = WARNED[name]
    found = preflight(Teacher.from_module(make(), TASK))
    assert not found.faults
    assert any(reason in warning for warning in found.warnings), found.warnings


# -- refused when they are made


def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(4))


def meta():
    with torch.device("meta"):
        return nn.Linear(3, 4)


def locked():
    module = head()
    module.lock = threading.Lock()
    return module


def kept_activation():
    module = head()
    module.last = module[1].weight * 2  # the result of a forward pass, which copy.deepcopy alone refuses
    return module


REFUSED = {
    "not a module": (lambda: lambda x: x, "expected a torch.nn.Module"),
    "a class": (lambda: nn.Linear, "expected a torch.nn.Module"),
    "a state dict": (lambda: head().state_dict(), "expected a torch.nn.Module"),
    "TorchScript": (lambda: torch.jit.trace(head(), torch.zeros(1, 3, 8, 8)), "TorchScript"),
    "lazy": (lazy, "lazy layer"),
    "meta": (meta, "meta device"),
    "locked": (locked, "cannot be copied"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    make, reason = REFUSED[name]
    with pytest.raises(TeacherError, match=reason):
        Teacher.from_module(make(), TASK)


# -- unusual and fine


class NoParameters(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)) @ torch.arange(12.0).reshape(3, 4)


GOOD = {
    "tuple": answers(lambda y: (y, y)),
    "list": answers(lambda y: [y]),
    "dict": answers(lambda y: {"logits": y, "loss": None}),
    "named output": answers(lambda y: SimpleNamespace(logits=y)),
    "log-probabilities": answers(lambda y: y.log_softmax(1)),
    "no parameters": NoParameters,
    "train mode": lambda: nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(3), head()).train(),
    "half": lambda: head().half(),
    "bfloat16": lambda: head().bfloat16(),
    "double": lambda: head().double(),
    "data parallel": lambda: nn.DataParallel(head()),
    "frozen": lambda: head().requires_grad_(False),
    "kept activation": kept_activation,
    "channels last": lambda: nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten()).to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name):
    module = GOOD[name]()
    mode, state = module.training, {k: v.clone() for k, v in module.state_dict().items()}
    learns = [p.requires_grad for p in module.parameters()]
    teacher = Teacher.from_module(module, TASK)
    before = teacher.fingerprint()
    generator = torch.get_rng_state()
    found = preflight(teacher, Network.of(head(), TASK))
    assert found.faults == []
    assert teacher(torch.full((2, 3, 8, 8), 0.3)).logits.dtype == torch.float32
    assert teacher.fingerprint() == before
    assert torch.equal(torch.get_rng_state(), generator)
    assert module.training == mode
    assert [p.requires_grad for p in module.parameters()] == learns
    assert all(
        torch.equal(v, module.state_dict()[k]) and v.dtype == module.state_dict()[k].dtype for k, v in state.items()
    )
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in teacher.module.modules())
    assert not any(part.training for part in teacher.module.modules())


def test_hostile_buffers_are_put_back():
    teacher = Teacher.from_module(Wrap(counting), TASK)
    before = teacher.fingerprint()
    preflight(teacher)
    assert teacher.fingerprint() == before


# -- students


class TrainsDifferently(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.inner, self.change = head(), change

    def forward(self, x):
        return self.change(self.inner(x)) if self.training else self.inner(x)


def fails(logits):
    raise ValueError("needs labels")


STUDENTS = {
    "classes": (lambda: head(5), "gives 5 classes and the task has 4"),
    "frozen": (lambda: head().requires_grad_(False), "no parameters to train"),
    "none": (NoParameters, "no parameters to train"),
    "channels": (lambda: nn.Conv2d(1, 4, 8), "takes 1 channel"),
    "NaN": (filled(float("nan")), "not finite"),
    "fails in train mode": (lambda: TrainsDifferently(fails), "train mode.*needs labels"),
    "another shape in train mode": (lambda: TrainsDifferently(lambda y: y[:, :2]), "train mode"),
    "half": (lambda: head().half(), "fails in eval mode"),
}


@pytest.mark.parametrize("name", STUDENTS)
def test_student(name):
    make, reason = STUDENTS[name]
    student = make()
    mode = student.training
    found = preflight(Teacher.from_module(head(), TASK), Network.of(student, TASK))
    assert len(found.faults) == 1
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found.faults[0])
    assert student.training == mode


def test_a_student_is_left_as_it_was():
    student = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(3), head()).train()
    state, generator = {k: v.clone() for k, v in student.state_dict().items()}, torch.get_rng_state()
    found = preflight(Teacher.from_module(head(), TASK), Network.of(student, TASK))
    assert found.faults == []
    assert "is not smaller" in " ".join(found.warnings)
    assert all(torch.equal(v, student.state_dict()[k]) for k, v in state.items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert student.training
    assert all(p.requires_grad and p.grad is None for p in student.parameters())


# -- what a method needs


def test_unmet():
    everything = Requirements(Access.WEIGHTS, batch_norm=True, head=True)
    small = TASK.model_copy(update={"shape": (3, 32, 32), "classes": 10})
    assert unmet(everything, Teacher.from_module(build(architecture_of("resnet8", small)), small)) == []
    plain = Teacher.from_module(nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten()), TASK)
    assert len(unmet(everything, plain)) == 2
    assert unmet(Requirements(), plain) == []
    detached = Teacher.from_module(Wrap(lambda m, y: y.detach()), TASK)
    assert "no gradient flows" in unmet(Requirements(Access.GRADIENTS), detached)[0]
    assert unmet(Requirements(Access.SCORES), detached) == []
    far = Teacher(head(), TASK, most=Access.LABELS)
    assert "labels" in unmet(Requirements(Access.GRADIENTS), far)[0]
