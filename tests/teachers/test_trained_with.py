"""The preprocessing that a model says it was trained with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sansdata.errors import TeacherError
from sansdata.models.build import architecture_of, build
from sansdata.tasks import KNOWN_TASKS, ImageTask, load_task
from sansdata.teachers import specs
from sansdata.teachers.specs import load_teacher
from sansdata.teachers.students import load_student
from sansdata.teachers.trained_with import TrainedWith, of_library, of_processor, of_timm

IMAGENET = load_task("imagenet")
assert isinstance(IMAGENET, ImageTask)


def test_what_differs_is_used_and_said():
    half = of_timm("timm:x", {"mean": (0.5,) * 3, "std": (0.5,) * 3, "input_size": (3, 299, 299)})
    assert half is not None
    task, notes = half.applied_to(IMAGENET)
    assert task.own_preprocessing == {"mean": [0.5] * 3, "std": [0.5] * 3}
    assert "was trained on images of 299 x 299, the task has 224 x 224" in notes[0]
    assert "its own mean [0.5, 0.5, 0.5]" in notes[1]
    same = of_timm("timm:y", SimpleNamespace(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), input_size=None))
    assert same is not None
    assert same.applied_to(IMAGENET) == (IMAGENET, [])


def test_figures_that_cannot_be_used_leave_the_task():
    task, notes = TrainedWith("x", (0.5,), (0.0,)).applied_to(IMAGENET)
    assert task == IMAGENET
    assert "cannot be used" in notes[0]
    assert of_timm("x", {"mean": "0.5", "std": None}) is None
    assert TrainedWith("x", (0.5,) * 3, (0.5,) * 3).applied_to(KNOWN_TASKS["adult"])[1] == []


@pytest.mark.parametrize("fields", [
    {}, {"do_normalize": False}, {"do_rescale": False}, {"rescale_factor": 1 / 127.5, "rescale_offset": True},
    {"include_top": True}, {"image_mean": [0.0] * 3, "rescale_factor": 0.01},
])  # fmt: skip
def test_processors_come_to_a_mean_and_a_std(fields: dict[str, Any]):
    """Against the steps of the library, on pixels of 0..255."""
    fields = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]} | fields
    training = of_processor("p", fields)
    assert training is not None
    unit = torch.rand(3, 4, 4, dtype=torch.float64)
    mean, std = (torch.tensor(fields[f"image_{name}"], dtype=torch.float64)[:, None, None] for name in ("mean", "std"))
    theirs = 255 * unit
    if fields.get("do_rescale", True):
        theirs = theirs * fields.get("rescale_factor", 1 / 255) - (1 if fields.get("rescale_offset") else 0)
    if fields.get("do_normalize", True):
        theirs = (theirs - mean) / std
    if fields.get("include_top"):
        theirs = theirs / std
    ours = (unit - torch.tensor(training.mean)[:, None, None]) / torch.tensor(training.std)[:, None, None]
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_a_processor_that_says_nothing():
    assert of_processor("p", {"do_normalize": True}) is None


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        *(({"rescale_factor": wrong}, "rescale_factor") for wrong in (None, 0, -1, "1/255", 1e-320, [], 10**400)),
        ({"image_mean": [10**400] * 3}, "image_mean"), ({"image_std": [float("nan")] * 3}, "image_std"),
        ({"image_std": float("inf")}, "image_std"),
    ],
)  # fmt: skip
def test_a_number_that_is_none_is_named_with_its_file(fields: dict[str, Any], field: str):
    with pytest.raises(TeacherError, match=f"there/preprocessor.json: '{field}' must be"):
        of_processor("there/preprocessor.json", {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, **fields})


@pytest.mark.parametrize("wrong", [[3, float("nan"), 8], [3, 10**400, 8]])
def test_a_size_that_is_none_is_named_with_its_file(wrong: list[float]):
    with pytest.raises(TeacherError, match=r"config\.json: 'input_size' must be"):
        of_timm("config.json", {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": wrong})
    training = of_processor("p", {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 10**400})
    assert training is not None
    assert training.size is None


@pytest.mark.usefixtures("vision")
def test_networks_of_the_libraries_are_seen_as_they_were_trained(monkeypatch: pytest.MonkeyPatch):
    import timm  # pyright: ignore[reportMissingImports]

    name = next(
        one for one in timm.list_models("*mobilenet*", pretrained=True)
        if timm.get_pretrained_cfg(one).mean == (0.5, 0.5, 0.5) and timm.get_pretrained_cfg(one).num_classes == 1000
    )  # fmt: skip
    architecture = architecture_of(f"timm:{name}", IMAGENET)
    with torch.device("meta"):
        module = build(architecture)
    training = of_library(architecture, module)
    assert training is not None
    assert training.mean == (0.5, 0.5, 0.5)
    vit = of_library({"kind": "torchvision", "name": "efficientnet_v2_l"}, module)
    assert vit is not None
    assert (vit.mean, vit.size) == ((0.5, 0.5, 0.5), (480, 480))

    small = build(architecture)  # no weights can be fetched in a test
    monkeypatch.setattr(specs, "build", lambda *_, **more: small)
    teacher = load_teacher(f"timm:{name}", IMAGENET)
    assert teacher.task.own_preprocessing["mean"] == [0.5, 0.5, 0.5]
    assert any("its own mean" in note for note in teacher.notes)
    assert load_student(f"timm:{name}", teacher, IMAGENET).notes == ()  # random weights were trained with nothing
