"""Image classifiers from folders as hubs have them: transformers and timm, tiny and with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tiny import ENGINE

import sansdata
from sansdata.errors import StudentError, TeacherError, UnsafeFileError
from sansdata.tasks import ImageTask
from sansdata.teachers.base import Teacher
from sansdata.teachers.specs import load_teacher
from sansdata.teachers.students import load_student

TASK = ImageTask(shape=(3, 32, 32), classes=3, mean=(0.5,) * 3, std=(0.25,) * 3)
PROCESSOR = {
    "do_normalize": True, "do_rescale": True, "rescale_factor": 1 / 255, "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.4, 0.5, 0.6], "size": {"shortest_edge": 40}, "crop_size": {"height": 36, "width": 36},
    "do_center_crop": True,
}  # fmt: skip
NAMES = {0: "cat", 1: "dog", 2: "ship"}


def configs(library: Any) -> dict[str, tuple[Any, Any]]:
    """Architecture -> (config, model class)."""
    names = {"num_labels": 3, "id2label": NAMES, "label2id": {name: place for place, name in NAMES.items()}}
    vit = library.ViTConfig(
        image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        **names,
    )  # fmt: skip
    resnet = library.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=None, **names
    )
    convnext = library.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, **names)
    return {
        "vit": (vit, library.ViTForImageClassification),
        "resnet": (resnet, library.ResNetForImageClassification),
        "convnext": (convnext, library.ConvNextForImageClassification),
    }


Maker = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, transformers: Any) -> Maker:
    """Writes a folder of one of the architectures."""

    def write(name: str = "resnet", **saving: Any) -> Path:
        config, cls = configs(transformers)[name]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            cls(config).save_pretrained(tmp_path / name, safe_serialization=True, **saving)
        (tmp_path / name / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
        return tmp_path / name

    return write


def change(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@pytest.mark.parametrize("name", ["resnet", "vit", "convnext"])
def test_it_answers_as_the_library_does(make: Maker, transformers: Any, name: str):
    folder = make(name)
    teacher = load_teacher(str(folder), TASK)
    images = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(PROCESSOR[field])[:, None, None] for field in ("image_mean", "image_std"))
    direct = configs(transformers)[name][1].from_pretrained(folder).eval()
    with torch.no_grad():
        assert torch.allclose(teacher(images).logits, direct((images - mean) / std).logits, atol=1e-5)
    assert teacher.access.name == "WEIGHTS"
    assert teacher.inside.head is not None
    assert teacher.task.class_names == ("cat", "dog", "ship")
    assert any("was trained on images of 36 x 36, the task has 32 x 32" in note for note in teacher.notes)
    assert any("mean [0.1, 0.2, 0.3]" in note for note in teacher.notes)


def test_it_is_checked_and_makes_a_strict_run(make: Maker, tmp_path: Path):
    folder = make()
    verdict = sansdata.check(str(folder), TASK)
    assert not verdict["faults"]
    assert any("preprocessor_config.json" in note for note in verdict["notes"])
    sansdata.distill(
        str(folder), "lenet5", "noise", "2steps", tmp_path / "run", task=TASK, strict=True,
        options={"transfer": {"batch": 4}}, settings={"engine": ENGINE},
    )  # fmt: skip
    ledger = json.loads((tmp_path / "run" / "ledger.json").read_text())
    assert ledger["violations"] == []
    assert sansdata.load(tmp_path / "run").task.mean == (0.1, 0.2, 0.3)  # the student inherits the teacher's


def test_classes_in_another_order_are_put_right(make: Maker):
    folder = make()
    images = torch.rand(4, 3, 32, 32)
    plain = load_teacher(str(folder), TASK)(images).logits
    ordered = load_teacher(str(folder), TASK.model_copy(update={"class_names": ("ship", "cat", "dog")}))
    assert torch.allclose(ordered(images).logits, plain[:, [2, 0, 1]], atol=1e-6)
    others = load_teacher(str(folder), TASK.model_copy(update={"class_names": ("a", "b", "c")}))
    assert any("taken in their order" in note for note in others.notes)


def test_shards_are_read_and_stay_in_the_folder(make: Maker):
    folder = make(max_shard_size="4KB")
    index = folder / "model.safetensors.index.json"
    assert index.is_file()
    shards = set(json.loads(index.read_text())["weight_map"].values())
    assert len(shards) > 1
    whole = load_teacher(str(folder), TASK)
    assert whole.sha256 is not None
    (folder / sorted(shards)[0]).rename(folder / "away")
    with pytest.raises(TeacherError, match="shard is missing"):
        load_teacher(str(folder), TASK)
    for name in ("../outside.safetensors", "/etc/passwd", "sub/w.safetensors", "evil.bin"):
        change(index, weight_map={"a": name})
        with pytest.raises(UnsafeFileError, match="no safetensors file of the folder"):
            load_teacher(str(folder), TASK)


def test_what_cannot_be_used_is_refused(make: Maker):
    folder = make()
    with pytest.raises(TeacherError, match="gives 3 classes and the task has 4"):
        load_teacher(str(folder), TASK.model_copy(update={"classes": 4}))
    grey = ImageTask(shape=(1, 32, 32), classes=3, mean=(0.5,), std=(0.5,))
    with pytest.raises(TeacherError, match=r"takes 3 channel\(s\) and the task has 1"):
        load_teacher(str(folder), grey)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    body = {name: value for name, value in tensors.items() if not name.startswith("classifier")}
    safetensors.torch.save_file(body, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(TeacherError, match=r"lack classifier\.\d\.bias.*before it was trained"):
        load_teacher(str(folder), TASK)  # the library would draw a head at random
    change(folder / "config.json", auto_map={"AutoModelForImageClassification": "evil.Model"})
    with pytest.raises(UnsafeFileError, match="auto_map"):
        load_teacher(str(folder), TASK)
    (folder / "model.safetensors").write_bytes(b"\x08")
    change(folder / "config.json", auto_map=None)
    with pytest.raises(TeacherError, match="truncated"):
        load_teacher(str(folder), TASK)


def test_a_folder_without_preprocessing_says_so(make: Maker):
    folder = make()
    (folder / "preprocessor_config.json").unlink()
    teacher = load_teacher(str(folder), TASK)
    assert teacher.task.mean == TASK.mean
    assert any("the task's are used" in note for note in teacher.notes)


# -- timm's folders


@pytest.fixture
def timm_folder(tmp_path: Path, vision: None) -> Path:
    import timm  # pyright: ignore[reportMissingImports]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = timm.create_model("mobilenetv3_small_050", num_classes=3)
    folder = tmp_path / "hub"
    folder.mkdir()
    safetensors.torch.save_file(module.state_dict(), folder / "model.safetensors")
    cfg = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 64, 64], "interpolation": "bicubic"}
    config = {"architecture": "mobilenetv3_small_050", "num_classes": 3, "pretrained_cfg": cfg}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_folder_of_timms(timm_folder: Path):
    for spec in (str(timm_folder), f"timm:mobilenetv3_small_050@{timm_folder}/model.safetensors"):
        teacher = load_teacher(spec, TASK)
        assert teacher.source == spec
        assert teacher.task.mean == (0.1, 0.2, 0.3)
        assert teacher.task.std == (0.4, 0.5, 0.6)
        assert any("64 x 64 (bicubic), the task has 32 x 32" in note for note in teacher.notes)
        assert teacher.architecture is not None  # so that it can be shrunk
    tensors = safetensors.torch.load_file(timm_folder / "model.safetensors")
    assert all(torch.equal(value, tensors[name]) for name, value in teacher.module.state_dict().items())
    student = load_student(str(timm_folder), Teacher.from_module(teacher.module, TASK), TASK)
    assert student.sha256 == teacher.sha256
    other = TASK.model_copy(update={"classes": 5})
    with pytest.raises(TeacherError, match="looks like 3 classes but the task has 5"):
        load_teacher(str(timm_folder), other)


def test_a_folder_of_timms_may_not_choose_a_giant(timm_folder: Path):
    """The name is from a file: the network gets no more memory than the weights explain."""
    change(timm_folder / "config.json", architecture="vit_giant_patch14_224")
    with pytest.raises((TeacherError, StudentError), match="a file of"):
        load_teacher(str(timm_folder), TASK)
    for name in ("no_such_model", "hf-hub:someone/model", "os:system"):
        change(timm_folder / "config.json", architecture=name)
        with pytest.raises(TeacherError, match="timm has no model"):
            load_teacher(str(timm_folder), TASK)
