"""Preprocessing belongs to a network: nobody asks a teacher through a task's mean and std."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import CASES
from tiny import ENGINE, make_module, make_student, zoo

import sansdata
from sansdata.contracts import Access
from sansdata.errors import TeacherError
from sansdata.models.saved import read_model, write_model
from sansdata.settings import VaccineSettings
from sansdata.tasks import ImageTask
from sansdata.teachers.base import Teacher
from sansdata.training.vaccine import Vaccine

OWN = ImageTask(shape=(1, 8, 8), classes=4, mean=(0.305,), std=(0.376,))
OTHER = OWN.model_copy(update={"mean": (0.0,), "std": (1.0,)})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run under a task that has another mean and std than the teacher's file."""
    folder = tmp_path_factory.mktemp("door")
    write_model(folder / "teacher.safetensors", make_module(), zoo(), OWN, {})
    sansdata.distill(
        str(folder / "teacher.safetensors"), "resnet8", "dafl", "20steps", folder / "run", task=OTHER, strict=True,
        options=CASES["dafl"].options, settings={"threads": 1, "engine": ENGINE, "precision": "fp32"},
    )  # fmt: skip
    return folder / "run"


def answers_of(x: np.ndarray) -> torch.Tensor:
    """The teacher's true answers (N, 4) to images uint8 (N, H, W, C)."""
    images = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        return make_module()((images - 0.305) / 0.376)


def test_the_kept_images_carry_the_teachers_own_answers(run: Path) -> None:
    with np.load(run / "images.npz") as file:
        truth = answers_of(file["x"])
        assert np.allclose(file["logits"], truth.numpy(), atol=1e-3)
        assert (file["y"] == truth.argmax(1).numpy()).all()


def test_the_described_samples_are_as_the_teacher_sees_them(run: Path) -> None:
    with np.load(run / "images.npz") as file:
        shares = np.bincount(answers_of(file["x"]).argmax(1), minlength=4) / len(file["x"])
    assert np.allclose(json.loads((run / "summary.json").read_text())["samples"]["class_histogram"], shares, atol=1e-5)


def test_a_student_inherits_the_teachers_preprocessing(run: Path) -> None:
    assert read_model(run / "student.safetensors").task == OWN
    assert json.loads((run / "run.json").read_text())["task"]["mean"] == [0.0], "the job stays as it was given"


def test_agreement_with_oneself_is_whole_whatever_the_task_says(tmp_path: Path) -> None:
    """The teacher as its own student, which learns nothing: any other door would tear them apart."""
    teacher, student = Teacher.from_module(make_module(), OWN), make_module()
    for part in student.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 0.0
    result = sansdata.distill(
        teacher, student, "noise", "2steps", tmp_path / "run", options={"transfer": {"lr": 1e-12, "batch": 16}},
        settings={"threads": 1, "engine": ENGINE, "precision": "fp32"},
    )  # fmt: skip
    assert result.summary["agreement"]["last"] == pytest.approx(1)


def test_the_vaccine_asks_its_copies_through_the_teachers_door() -> None:
    from sansdata.contracts import Counters, Progress
    from sansdata.method import Context
    from sansdata.network import Network
    from sansdata.runtime import Runtime
    from sansdata.streams import Streams

    teacher = Teacher.from_module(make_module(), OWN)
    context = Context(
        OTHER, teacher, Network.of(make_student(), OTHER), Streams(0), Progress(), Counters(), Runtime()
    )  # fmt: skip
    copies = Vaccine(VaccineSettings(copies=1), context).copies
    copies.load_state_dict({"orders": [[torch.arange(len(order)) for order in own] for own in copies.orders]})
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(copies(images), teacher(images).logits, atol=1e-5)


# -- access is what is measured


class Outside(torch.nn.Module):
    """Answers that are made outside of torch, as of a forest in a module; its weights take no part."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = make_module()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.from_numpy(self.inner(x).numpy().copy())


def test_a_teacher_that_gives_scores_only_is_recorded_as_that(tmp_path: Path) -> None:
    teacher = Teacher.from_module(Outside(), OWN)
    assert teacher.access == Access.SCORES
    options = {"transfer": {"batch": 8}}
    settings = {"precision": "fp32"}
    sansdata.distill(
        teacher, make_student(), "noise", "2steps", tmp_path / "run", options=options, settings=settings
    )  # fmt: skip
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["teacher"]["access"] == "SCORES"
    assert "no gradient flows" in sansdata.check(teacher)["methods"]["fm"][0]
    with pytest.raises(TeacherError, match="nobody looks inside"):
        _ = teacher.inside


def test_a_module_that_lets_gradients_pass_is_white() -> None:
    assert Teacher.from_module(make_module(), OWN).access == Access.WEIGHTS


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_batchnorm_of_any_dimension_has_statistics(dimensions: int) -> None:
    from sansdata.kinds.index import input_kind
    from sansdata.network import Network
    from sansdata.objectives.batch_stats import channel_statistics
    from sansdata.teachers.base import dissect

    norm = {1: torch.nn.BatchNorm1d, 2: torch.nn.BatchNorm2d, 3: torch.nn.BatchNorm3d}[dimensions](6)
    shape = {1: (6, 10), 2: (6, 2, 5), 3: (6, 1, 2, 5)}[dimensions]
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 60), torch.nn.Unflatten(1, shape), norm, torch.nn.Flatten(),
        torch.nn.Linear(60, 4),
    ).eval()  # fmt: skip
    probe = input_kind(OWN).draw(2, torch.Generator().manual_seed(0))
    assert dissect(Network.of(net, OWN), probe).batch_norms == ("3",)
    x = torch.randn(16, *shape, dtype=torch.float64, requires_grad=True)
    flat = x.transpose(0, 1).flatten(1)
    mean, variance = channel_statistics(x)
    assert torch.allclose(mean, flat.mean(1))
    assert torch.allclose(variance, flat.var(1, unbiased=False))
    assert torch.autograd.gradcheck(channel_statistics, (x,))
