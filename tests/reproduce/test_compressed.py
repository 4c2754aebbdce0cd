"""The experiment that makes networks smaller, on the tiny world: which images and which networks it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny import Tiny, make_module

from sansdata.reproduce.experiments import compressed
from sansdata.reproduce.recipes.model import Arm, Recipe, TeacherRecipe
from sansdata.reproduce.teachers import without_paths

HOW = {"quantize": {"teacher": [4, 2]}, "prune": ["teacher"], "keep": 0.5, "steps": 1}
OPTIONS = {"batch": 8, "iterations": 2, "chunk": 2, "steps_per_batch": 2, "transfer": {"batch": 8}}


@pytest.fixture
def teacher(tiny: Tiny, tmp_path: Path) -> dict[str, Any]:
    save_file(make_module(seed=5).state_dict(), tmp_path / "helper.safetensors")
    helper = {"spec": "resnet8", "path": str(tmp_path / "helper.safetensors"), "sha256": "b", "accuracy": 0.5}
    return {"spec": "resnet8", "path": str(tiny.folder / "teacher.safetensors"), "sha256": "a", "helpers": [helper]}


def test_every_use_is_measured_with_the_images_of_the_arms_own_run(
    tiny: Tiny, teacher: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Path]] = []
    whole = compressed.quantize

    def watched(model: str, images: Path, *rest: Any, **more: Any) -> Any:
        asked.append((model, images))
        return whole(model, images, *rest, **more)

    monkeypatch.setattr(compressed, "quantize", watched)
    how = HOW | {"helpers": ["resnet8"], "quantize": {"teacher": [4, 2], "resnet8": [8]}, "judges": ["resnet8"]}
    arm = Arm(name="a", role="method", method="mixmix", steps=2, options=OPTIONS, experiment=how)
    recipe = Recipe(
        name="r", claim="c", data=str(tiny.data), task=tiny.task, teacher=TeacherRecipe(network="resnet8"),
        student="shrink:0.25", arms={"small": (arm,)}, experiment="compressed",
    )  # fmt: skip
    figures = compressed.run(recipe, arm, 0, teacher, tmp_path)
    assert list(figures["measures"]) == [
        "resnet8 agrees",
        "teacher w4a4",
        "teacher w2a2",
        "resnet8 w8a8",
        "teacher pruned",
        "teacher recovered",
    ]
    assert all(0 <= value <= 100 for value in figures["measures"].values())
    assert figures["steps"] == 2
    files = [model.partition("@")[2] for model, _ in asked]
    assert files == [teacher["path"], teacher["path"], teacher["helpers"][0]["path"]]
    assert {images for _, images in asked} == {tmp_path / "run"}
    manifest = (tmp_path / "run" / "run.json").read_text()
    assert "helper.safetensors" in manifest  # the arm's helper took part in the inversion


def test_a_judge_that_is_the_teacher_agrees_with_itself(tiny: Tiny, teacher: dict[str, Any], tmp_path: Path) -> None:
    arm = Arm(
        name="a", role="method", method="mixmix", steps=2, options=OPTIONS,
        experiment={"quantize": {}, "prune": [], "judges": ["teacher", "resnet8"]},
    )  # fmt: skip
    recipe = Recipe(
        name="r", claim="c", data=str(tiny.data), task=tiny.task, teacher=TeacherRecipe(network="resnet8"),
        student="shrink:0.25", arms={"small": (arm,)}, experiment="compressed",
    )  # fmt: skip
    measures = compressed.run(recipe, arm, 0, teacher, tmp_path)["measures"]
    assert measures["teacher agrees"] == 100
    assert measures["resnet8 agrees"] < 100


def test_real_images_are_as_many_as_a_run_keeps_and_differ_by_seed() -> None:
    images = torch.arange(3000, dtype=torch.int32).view(-1, 1, 1, 1)
    one, other = (compressed.real_images(images, seed) for seed in (0, 1))
    assert len(one.unique()) == compressed.IMAGES
    assert not torch.equal(one, other)


def test_figures_do_not_say_where_files_lie(teacher: dict[str, Any]) -> None:
    assert "path" not in str(without_paths(teacher))
    assert without_paths(teacher)["helpers"][0]["accuracy"] == 0.5
