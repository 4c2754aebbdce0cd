"""The networks: sizes known from the papers, any task's images, rebuilt from plain data."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from sansdata.errors import MissingLibraryError, StudentError, TeacherError
from sansdata.models.build import architecture_of, build
from sansdata.models.zoo import IMAGE_ZOO
from sansdata.tasks import ImageTask, load_task

CIFAR = load_task("cifar10")

PARAMETERS = {
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet56": 853_018,
    "resnet20-b": 272_474,
    "resnet56-b": 855_770,
    "resnet8x4": 1_210_410,
    "resnet32x4": 7_410_730,
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "wrn-16-1": 175_066,
    "wrn-16-2": 691_674,
    "wrn-40-1": 563_930,
    "wrn-40-2": 2_243_546,
}


@pytest.mark.parametrize(("name", "count"), PARAMETERS.items())
def test_sizes_are_those_published(name, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in build(architecture_of(name, CIFAR)).parameters()) == count


@pytest.mark.parametrize("name", IMAGE_ZOO)
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (1, 28), (3, 32), (3, 50)])
def test_any_image(name, channels, size):
    task = ImageTask(shape=(channels, size, size), classes=7, mean=(0.5,) * channels, std=(0.5,) * channels)
    architecture = architecture_of(name, task) | {"args": {"channels": channels, "classes": 7, "scale": 0.25}}
    with torch.no_grad():
        assert build(architecture).eval()(torch.zeros(1, *task.shape)).shape == (1, 7)


@pytest.mark.parametrize("name", [*IMAGE_ZOO, "timm:resnet18", "torchvision:resnet18", "my.module:make"])
def test_an_architecture_is_json(name):
    architecture = architecture_of(name, CIFAR)
    assert json.loads(json.dumps(architecture)) == architecture


def test_same_generator_same_weights():
    with torch.random.fork_rng(devices=[]):
        first, second = (torch.manual_seed(3) and build(architecture_of("resnet8", CIFAR)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))


def test_lenet_pads_small_digits_as_the_paper():
    net = build(architecture_of("lenet5", load_task("mnist"))).eval()
    digits = torch.rand(2, 1, 28, 28)
    with torch.no_grad():
        assert torch.equal(net(digits), net(nn.functional.pad(digits, (2, 2, 2, 2))))


@pytest.mark.parametrize(
    "architecture",
    [
        {},
        {"kind": "zoo"},
        {"kind": "zoo", "name": "resnet20"},
        {"kind": "zoo", "name": "resnet21", "args": {"channels": 3, "classes": 10}},
        {"kind": "zoo", "name": "resnet20", "args": {"channels": 0, "classes": 10}},
        {"kind": "zoo", "name": "resnet20", "args": {"channels": 3, "classes": 10**9}},
        {"kind": "zoo", "name": "resnet20", "args": {"channels": 3, "classes": True}},
        {"kind": "zoo", "name": "resnet20", "args": {"channels": 3, "classes": 10, "scale": 1e9}},
        {"kind": "zoo", "name": "resnet20", "args": {"channels": 3, "classes": 10, "scale": float("nan")}},
        {"kind": "keras", "name": "resnet20", "args": {}},
        {"kind": "factory", "name": "no.such.module:f", "args": {}},
        {"kind": "factory", "name": "sansdata.errors:nothing", "args": {}},
        {"kind": "factory", "name": "os:getcwd", "args": {}},
        {"kind": "factory", "name": "sansdata.errors:did_you_mean", "args": {}},
    ],
)
def test_what_cannot_be_built_says_why(architecture):
    with pytest.raises(StudentError) as fault:
        build(architecture, code=[architecture.get("name")])
    assert len(str(fault.value)) > 20


def test_unknown_name_has_a_hint():
    with pytest.raises(StudentError, match="Did you mean 'wrn-16-2'"):
        architecture_of("wrn16-2", CIFAR)


FACTORY = """
import torch
def plain(): return torch.nn.Linear(1, 1)
def sized(task): return torch.nn.Linear(1, task.classes)
def broken(): raise KeyError("weights")
"""


def test_factories_come_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "zoo_of_mine.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    assert build(architecture_of("zoo_of_mine:plain", CIFAR), code=["zoo_of_mine:plain"]).out_features == 1
    assert (
        build(architecture_of("zoo_of_mine:sized", load_task("cifar100")), code=["zoo_of_mine:sized"]).out_features
        == 100
    )
    with pytest.raises(StudentError, match=r"KeyError.*weights"):
        build(architecture_of("zoo_of_mine:broken", CIFAR), code=["zoo_of_mine:broken"])
    with pytest.raises(StudentError, match="Did you mean 'plain'"):
        build(architecture_of("zoo_of_mine:plane", CIFAR), code=["zoo_of_mine:plane"])


def test_a_library_that_dies_is_one_clear_error(monkeypatch):
    def dies(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("sansdata.models.libraries.importlib.import_module", dies)
    for name in ("timm:resnet18", "torchvision:resnet18"):
        with pytest.raises(MissingLibraryError, match=r"nms does not exist.*pip install"):
            build(architecture_of(name, CIFAR))


@pytest.mark.usefixtures("vision")
class TestLibraries:
    @pytest.mark.parametrize(("name", "task"), [("timm:resnet18", "mnist"), ("torchvision:resnet18", "cifar10")])
    def test_built_for_the_task(self, name, task):
        task = load_task(task)
        with torch.no_grad():
            assert build(architecture_of(name, task)).eval()(torch.zeros(1, *task.shape)).shape == (1, 10)

    def test_transformers_get_the_size(self):
        net = build(architecture_of("timm:vit_tiny_patch16_224", CIFAR)).eval()
        with torch.no_grad():
            assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 10)

    @pytest.mark.parametrize("name", ["timm:resnet1", "torchvision:resnet1", "timm:hf-hub:someone/something"])
    def test_unknown(self, name):
        with pytest.raises(StudentError, match="has no"):
            build(architecture_of(name, CIFAR))

    def test_torchvision_takes_colour_only(self):
        with pytest.raises(StudentError, match="3 channels"):
            build(architecture_of("torchvision:resnet18", load_task("mnist")))

    @pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:resnet18"])
    def test_a_pretrained_head_for_other_classes_is_no_teacher(self, name):
        with pytest.raises(TeacherError, match="1000 classes and the task has 10"):
            build(architecture_of(name, CIFAR), pretrained=True)

    def test_no_network_is_said(self, monkeypatch):
        import torchvision

        def offline(*_, **__):
            raise OSError("Name or service not known")

        monkeypatch.setattr(torchvision.models, "get_model", offline)
        with pytest.raises(TeacherError, match=r"cannot be fetched.*Name or service"):
            build(architecture_of("torchvision:resnet18", load_task("imagenet")), pretrained=True)
