"""What a user writes, and what is said when it cannot be used."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import sansdata
from sansdata.errors import MissingLibraryError, StudentError, TeacherError, UnsafeFileError, UserError
from sansdata.files import sha256
from sansdata.models.build import architecture_of, build
from sansdata.models.saved import write_model
from sansdata.tasks import load_task
from sansdata.teachers.base import Teacher
from sansdata.teachers.specs import declared_files, load_teacher
from sansdata.teachers.students import load_student

CIFAR = load_task("cifar10")
NET = build(architecture_of("resnet8", CIFAR))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with weights, a run and a module of the user's."""
    monkeypatch.chdir(tmp_path)
    torch.save(NET.state_dict(), "w.pt")
    torch.save({k: v.half() for k, v in NET.state_dict().items()}, "half.pt")
    (tmp_path / "run").mkdir()
    write_model("run/student.safetensors", NET, architecture_of("resnet8", CIFAR), CIFAR, {})
    (tmp_path / "nets_of_mine.py").write_text(
        "from torch import nn\n"
        "def make(task):\n"
        "    parts = nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, task.classes)\n"
        "    return nn.Sequential(*parts)\n"
    )
    return tmp_path


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters()))


@pytest.mark.parametrize("spec", ["resnet8@w.pt", "run", "run/", "run/student.safetensors", "resnet8@run", "./run"])
def test_teachers(here, spec):
    teacher = load_teacher(spec, CIFAR)
    assert same(teacher.module, NET)
    assert teacher.source == spec
    assert teacher.architecture == architecture_of("resnet8", CIFAR)
    assert [sha256(path) for path in declared_files(spec)] == [teacher.sha256]
    assert not any(p.requires_grad for p in teacher.module.parameters())
    assert not teacher.module.training


@pytest.mark.parametrize("spec", ["run/student.safetensors", "run", "resnet8@run"])
def test_a_file_whose_classes_have_another_order_is_refused(here, spec):
    first, second, *others = CIFAR.class_names
    swapped = CIFAR.model_copy(update={"class_names": (second, first, *others)})
    for ask in (load_teacher, lambda spec, task: sansdata.evaluate(spec, "nowhere", task)):
        with pytest.raises(TeacherError, match=rf"class 0 is '{first}' there and '{second}' in the task"):
            ask(spec, swapped)
    unnamed = CIFAR.model_copy(update={"class_names": ()})
    assert load_teacher(spec, unnamed).task.classes == 10


def test_half_precision_files_are_converted(here):
    teacher = load_teacher("resnet8@half.pt", CIFAR)
    assert {p.dtype for p in teacher.module.parameters()} == {torch.float32}


def test_factories(here):
    teacher = load_teacher("nets_of_mine:make", CIFAR)
    torch.save(teacher.module.state_dict(), "mine.pt")
    assert same(load_teacher("nets_of_mine:make@mine.pt", CIFAR).module, teacher.module)
    assert declared_files("nets_of_mine:make") == []


def test_a_file_may_not_choose_code(here):
    """A student file is data from anywhere: code that it names runs only when the user names it too."""
    architecture = architecture_of("nets_of_mine:make", CIFAR)
    write_model("mine.safetensors", build(architecture, code=["nets_of_mine:make"]), architecture, CIFAR, {})
    with pytest.raises(UnsafeFileError, match=r"nets_of_mine:make@mine\.safetensors"):
        load_teacher("mine.safetensors", CIFAR)
    load_teacher("nets_of_mine:make@mine.safetensors", CIFAR)
    shrunk = load_student("shrink:0.5", load_teacher("nets_of_mine:make@mine.safetensors", CIFAR), CIFAR)
    write_model("small.safetensors", shrunk.module, shrunk.architecture, CIFAR, {})
    with pytest.raises(UnsafeFileError):
        load_student("small.safetensors", load_teacher("run", CIFAR), CIFAR)
    assert same(load_teacher("nets_of_mine:make@small.safetensors", CIFAR).module, shrunk.module)


def test_students(here):
    teacher = load_teacher("run", CIFAR)
    assert same(load_student("run", teacher, CIFAR).module, NET)
    assert all(p.requires_grad for p in load_student("run", teacher, CIFAR).module.parameters())
    assert load_student("lenet5", teacher, CIFAR).architecture == architecture_of("lenet5", CIFAR)
    small = load_student("shrink:0.5", teacher, CIFAR)
    assert small.module.conv1.out_channels == 8
    assert small.module.training
    given = nn.Linear(1, 1)
    assert load_student(given, teacher, CIFAR).module is given
    module_only = load_student("shrink:0.5", Teacher.from_module(NET, CIFAR), CIFAR)
    assert module_only.architecture is None


def test_the_files_preprocessing_goes_with_the_teacher(here):
    other = CIFAR.model_copy(update={"mean": (0.1,) * 3, "std": (0.9,) * 3})
    assert load_teacher("run", other).task.mean == CIFAR.mean
    assert load_student("run", load_teacher("run", CIFAR), other).task.mean == CIFAR.mean
    fresh = load_student("resnet8", load_teacher("run", other), other)
    assert fresh.task.mean == CIFAR.mean  # a student inherits its teacher's, not the task's


@pytest.mark.parametrize(("dtype", "word"), [(torch.complex64, "is complex"), (torch.int8, "whole numbers")])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_numbers_that_would_lose_their_meaning_are_refused(here, dtype, word, suffix):
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in NET.state_dict().items()}
    save_file(state, "n.safetensors") if suffix == ".safetensors" else torch.save(state, "n.pt")
    with pytest.raises(TeacherError, match=word):
        load_teacher(f"resnet8@n{suffix}", CIFAR)


def test_eight_bit_floats_are_read(here):
    torch.save({k: v.to(torch.float8_e4m3fn) if v.ndim == 4 else v for k, v in NET.state_dict().items()}, "n.pt")
    found = load_teacher("resnet8@n.pt", CIFAR).module.conv1.weight
    assert found.dtype == torch.float32
    assert torch.allclose(found, NET.conv1.weight, atol=0.1)


LONG = [
    "x" * 5000, "a/" * 3000, "resnet8@" + "y" * 5000, "z" * 300 + ".skops", "timm:" + "n" * 5000, "m:" + "f" * 5000,
    "shrink:" + "1" * 5000, "a\0b", "resnet8@x\0.pt", "\ud800", "x" * 5000 + "@w.pt",
]  # fmt: skip


@pytest.mark.parametrize("spec", LONG, ids=range(len(LONG)))
def test_no_text_is_too_odd_to_be_refused(here, spec):
    with pytest.raises((TeacherError, MissingLibraryError)):
        load_teacher(spec, CIFAR)
    with pytest.raises((StudentError, TeacherError, MissingLibraryError)):
        load_student(spec, load_teacher("run", CIFAR), CIFAR)
    with pytest.raises(UserError):
        sansdata.evaluate(spec, "digits", task="digits")


WRONG = {
    "resnet9": "Did you mean",
    "resnet8": "random weights",
    "shrink:0.5": "student's spec",
    "w.pt": "ARCH@w.pt",
    "missing.pth": "ARCH@missing.pth",
    "missing.safetensors": "No such file",
    "some/where": "does not exist",
    "empty": "has no student.safetensors",
    "resnet8@missing.pt": "No such file",
    "resnet8@empty": "No such file",
    "resnet9@w.pt": "Did you mean",
    "resnet20@w.pt": "fit the zoo's 'resnet8'",
    "lenet5@w.pt": "fit the zoo's 'resnet8'",
    "resnet20@run": "holds a 'resnet8'",
    "nowhere.mine:make@w.pt": "no module named 'nowhere'",
    "nets_of_mine:made@w.pt": "Did you mean 'make'",
    "nets_of_mine:make@w.pt": "missing: .*not expected: conv1.weight",
    "module.safetensors": "package.module:function@module.safetensors",
    "": "not a network we know",
    "@w.pt": "ARCH@|not a network",
    "resnet8@": "not a network",
    ":": "not a network",
}


@pytest.mark.parametrize("spec", WRONG)
def test_wrong(here, spec):
    (here / "empty").mkdir()
    write_model("module.safetensors", NET, None, CIFAR, {})
    with pytest.raises(TeacherError) as fault:
        load_teacher(spec, CIFAR)
    text = " ".join(str(fault.value).split())
    with pytest.raises(AssertionError, match=WRONG[spec]):
        raise AssertionError(text)


@pytest.mark.parametrize(
    "spec", ["shrink:", "shrink:0", "shrink:2", "shrink:half", "shrink:nan", "shrink:-1", "resnet7x"]
)
def test_wrong_students(here, spec):
    with pytest.raises(StudentError):
        load_student(spec, load_teacher("run", CIFAR), CIFAR)


def test_a_link_in_a_run_directory_is_not_followed(here):
    (here / "linked").mkdir()
    (here / "linked/student.safetensors").symlink_to(here / "run/student.safetensors")
    for spec in ("linked", "resnet8@linked"):
        with pytest.raises(TeacherError, match="a link, which is not followed"):
            load_teacher(spec, CIFAR)
    load_teacher("linked/student.safetensors", CIFAR)  # the user's own word


def test_another_number_of_classes(here):
    with pytest.raises(TeacherError, match="looks like 10 classes but the task has 100"):
        load_teacher("resnet8@w.pt", load_task("cifar100"))
    with pytest.raises(TeacherError, match="classes 10, the task has 100"):
        load_teacher("run", load_task("cifar100"))


def test_another_number_of_channels(here):
    grey = CIFAR.model_copy(update={"shape": (1, 32, 32), "mean": (0.5,), "std": (0.5,)})
    with pytest.raises(TeacherError, match=r"take 3 channel\(s\) and the task has 1"):
        load_teacher("resnet8@w.pt", grey)


def test_libraries_that_are_not_there(here, monkeypatch):
    def dies(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("sansdata.models.libraries.importlib.import_module", dies)
    for spec in ("timm:resnet18", "torchvision:resnet18", "timm:resnet18@w.pt"):
        with pytest.raises(MissingLibraryError, match="pip install"):
            load_teacher(spec, CIFAR)


@pytest.mark.usefixtures("vision")
def test_library_weights_from_a_file(here):
    net = build(architecture_of("timm:mobilenetv3_small_050", CIFAR))
    torch.save(net.state_dict(), "m.pt")
    assert same(load_teacher("timm:mobilenetv3_small_050@m.pt", CIFAR).module, net)


# -- real checkpoints


def accuracy(teacher: Teacher, real_data, count: int) -> float:
    with Image.open(real_data / "cifar10" / "test_00.webp") as sheet:
        tiles = (
            np.asarray(sheet.convert("RGB")).reshape(-1, 32, 50, 32, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, 32, 32)
        )
    labels = torch.tensor(np.load(real_data / "cifar10" / "labels.npz")["test_00"][:count]).long()
    images = torch.tensor(tiles[:count].copy(), dtype=torch.float32) / 255
    with torch.no_grad():
        return float((teacher(images).logits.argmax(1) == labels).float().mean())


@pytest.mark.parametrize(("file", "least"), [("resnet20-12fca82f", 0.88), ("resnet56-4bfd9763", 0.90)])
def test_public_cifar_checkpoints(real_data, file, least):
    task = CIFAR.model_copy(update={"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)})
    spec = f"{file.partition('-')[0]}@{real_data}/checkpoints/cifar10_resnet/{file}.th"
    assert accuracy(load_teacher(spec, task), real_data, 300) >= least


def test_public_mnist_checkpoint(real_data):
    teacher = load_teacher(f"lenet5@{real_data}/checkpoints/kegnet_mnist/mnist.pth.tar", load_task("mnist-32"))
    digits = np.load(real_data / "mnist" / "test.npz")
    images = torch.tensor(digits["x"][:300], dtype=torch.float32)[:, None] / 255
    images = nn.functional.interpolate(images, (32, 32), mode="bilinear")
    with torch.no_grad():
        right = teacher(images).logits.argmax(1) == torch.tensor(digits["y"][:300]).long()
    assert right.float().mean() >= 0.97
