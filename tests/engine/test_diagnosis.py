"""Runs that go wrong in a known way, really: each is named with what to do, and a healthy run is left in peace."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sansdata.datasets.images import load_images
from sansdata.decoding.pixels import pack, unpack
from sansdata.engine.run import run
from sansdata.figures import values
from sansdata.kinds.index import input_kind, output_kind
from sansdata.kinds.inputs import image
from sansdata.kinds.outputs import classes
from sansdata.methods import fm
from sansdata.reproduce.supervised import train
from sansdata.settings import RunSettings
from sansdata.synthesis import rounds
from sansdata.tasks import KNOWN_TASKS

TASK = KNOWN_TASKS["digits"]
TRANSFER = {"batch": 64}
FM = {
    "k": 5, "latent": 64, "width": 8, "batch": 128, "warmup_rounds": 4, "steps_per_round": 10, "view": "none",
    "bn_momentum": 0.0, "bn": 2.0, "ce": 1.0, "transfer": TRANSFER,
}  # fmt: skip
DAFL = {
    "latent": 64,
    "width": 8,
    "one_hot": 1.0,
    "activation": 0.1,
    "generator_lr": 0.02,
    "entropy": 0.0,
    "transfer": TRANSFER,
}
INVERSION = {
    "batch": 64, "iterations": 20, "chunk": 20, "pixel_lr": 0.2, "steps_per_batch": 12, "view": "none",
    "transfer": TRANSFER,
}  # fmt: skip

Warned = dict[str, dict[str, Any]]
Distil = Callable[..., Warned]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-8 that knows digits."""
    module = train("resnet8", load_images("digits", TASK, "train"), TASK, epochs=6, batch=64)
    file = tmp_path_factory.mktemp("teacher") / "digits.safetensors"
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, file)
    return file


@pytest.fixture
def distil(teacher: Path, tmp_path: Path) -> Distil:
    """Runs a method and gives the warnings of its summary by name."""

    def call(method: str, options: dict[str, Any], steps: int, task: Any = "digits") -> Warned:
        settings = RunSettings.model_validate(
            {
                "teacher": f"resnet8@{teacher}", "task": task, "student": "shrink:0.5", "method": method, "threads": 1,
                "device": "cpu", "precision": "fp32", "strict": True, "options": options, "budget": f"{steps}steps",
                "engine": {"snapshots": 2, "sample_grids": 2},
            }
        )  # fmt: skip
        summary = json.loads((run(settings, tmp_path / "run") / "summary.json").read_text())
        return {warning["name"]: warning for warning in summary["warnings"]}

    return call


def test_a_healthy_run_raises_no_warning(distil: Distil):
    assert distil("fm", FM, 80) == {}


def test_a_generator_that_falls_onto_one_class(distil: Distil):
    """DAFL without its entropy term: nothing spreads the classes."""
    found = distil("dafl", DAFL, 60)["collapse of classes"]
    assert found["value"] < classes.COLLAPSED_ENTROPY
    assert "few of the 10 classes" in found["text"]
    assert "Raise the weight that spreads classes" in found["text"]


def test_a_class_that_is_never_made_is_named(distil: Distil, monkeypatch: pytest.MonkeyPatch):
    keep = rounds.keep

    def without_threes(pool: Any, images: torch.Tensor, targets: torch.Tensor, context: Any, view: Any) -> None:
        seen = context.teacher(unpack(pack(images))).logits.argmax(1) != 3
        keep(pool, images[seen], targets[seen], context, view)

    monkeypatch.setattr(rounds, "keep", without_threes)
    found = distil("deepinversion", INVERSION, 60)["class imbalance"]
    assert found["value"] == 0
    assert found["text"].startswith("'3' is never among the")
    assert "Raise the weight of the class loss" in found["text"]


def test_a_generator_stuck_at_the_ends_of_its_range(distil: Distil, monkeypatch: pytest.MonkeyPatch):
    make = fm.make_generator

    def saturated(*given: Any, **named: Any) -> nn.Module:
        generator = make(*given, **named)
        last = [part for part in generator.modules() if isinstance(part, nn.Conv2d)][-1]
        with torch.no_grad():
            last.weight.mul_(1000)
        return generator

    monkeypatch.setattr(fm, "make_generator", saturated)
    found = distil("fm", FM, 80)["saturated samples"]
    assert found["value"] > image.SATURATED
    assert "lower generator_lr" in found["text"]


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.0, 1 / 255)])
def test_a_mean_and_std_that_are_not_the_teachers(distil: Distil, mean: float, std: float):
    task = TASK.model_dump(mode="json") | {"mean": [mean], "std": [std]}
    found = distil("fm", FM, 20, task)["wrong mean and std"]
    assert "Give the task those that it was trained with" in found["text"]


def test_a_student_that_learned_nothing(distil: Distil):
    found = distil("fm", FM | {"transfer": {"batch": 64, "lr": 1e-9, "lr_end": 0.0}}, 20)["low agreement"]
    assert found["value"] < 0.235
    assert "hardly more often than by guessing (10.0%)" in found["text"]


# -- the same faults where real ones are hard to make


def described(logits: torch.Tensor, late: torch.Tensor | None = None, images: torch.Tensor | None = None) -> Warned:
    """Warnings on samples that the teacher sees as `logits` says."""
    if images is None:
        images = torch.randint(256, (len(logits), 1, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    task = TASK.model_copy(update={"classes": logits.shape[1], "class_names": ()})
    inputs, outputs = input_kind(task), output_kind(task)
    said = outputs.warnings(values(outputs.describe(logits, late)), 1.0, len(logits), task.name_of)
    said += inputs.warnings(values(inputs.statistics(images)))
    return {one.name: one.to_dict() for one in said}


def seen_as(labels: torch.Tensor, classes: int) -> torch.Tensor:
    return 5.0 * torch.nn.functional.one_hot(labels, classes).float()


def test_a_late_fall_is_found_in_the_last_samples():
    whole = seen_as(torch.arange(1000) % 10, 10)
    assert described(whole, late=seen_as(torch.arange(64) % 10, 10)) == {}
    found = described(whole, late=seen_as(torch.zeros(64, dtype=torch.int64), 10))["collapse of classes"]
    assert "at the end of the run" in found["text"]


def test_few_samples_of_many_classes_are_no_fault():
    """1,024 samples cannot show 1,000 classes evenly: chance leaves a third of them out."""
    labels = torch.randint(1000, (1024,), generator=torch.Generator().manual_seed(0))
    late = torch.randint(1000, (64,), generator=torch.Generator().manual_seed(1))
    assert described(seen_as(labels, 1000), seen_as(late, 1000)) == {}


def test_several_missing_classes_are_listed_and_counted():
    text = described(seen_as(torch.arange(1000) % 8, 10))["class imbalance"]["text"]
    assert text.startswith("'8', '9' are never among the 1,000 samples")


def test_samples_that_are_all_alike():
    images = torch.full((100, 1, 4, 4), 90, dtype=torch.uint8)
    assert "identical samples" in described(seen_as(torch.arange(100) % 4, 4), images=images)
