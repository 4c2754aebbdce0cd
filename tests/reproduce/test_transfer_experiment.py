"""The experiment 'transfer': every kind of arm gives its figures, by the same floor and ceiling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sansdata.models.build import architecture_of, build
from sansdata.reproduce.experiments.transfer import run
from sansdata.reproduce.recipes.model import Arm, Recipe, TeacherRecipe
from sansdata.tasks import KNOWN_TASKS

BATCH = {"transfer": {"batch": 8}}
ARMS = {
    "noise": {"method": "noise", "role": "method", "steps": 2, "options": BATCH},
    "real-data": {"method": "real-data", "role": "ceiling", "steps": 2, "options": BATCH},
    "random-init": {"method": "random-init", "role": "floor", "steps": 0},
}


@pytest.fixture
def target(tmp_path: Path) -> str:
    """Three classes that differ in brightness."""
    labels = np.arange(60) % 3
    images = np.random.default_rng(0).integers(0, 40, (60, 8, 8)) + 80 * labels[:, None, None]
    np.savez(tmp_path / "shades.npz", x=images.astype(np.uint8), y=labels)
    return str(tmp_path / "shades.npz")


@pytest.fixture
def teacher(tmp_path: Path) -> dict[str, Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build(architecture_of("resnet8", KNOWN_TASKS["digits"]))
    save_file(module.state_dict(), tmp_path / "teacher.safetensors")
    return {"path": str(tmp_path / "teacher.safetensors")}


@pytest.mark.parametrize("name", ARMS)
def test_each_kind_of_arm_is_measured(name: str, target: str, teacher: dict[str, Any], tmp_path: Path) -> None:
    arm = Arm.model_validate(ARMS[name] | {"name": name, "experiment": {"targets": [target], "fine_tune": 5}})
    recipe = Recipe(
        name="made-up", claim="", data="digits", task="digits", teacher=TeacherRecipe(network="resnet8"),
        student="shrink:0.25", experiment="transfer", held_out=200, arms={"small": (arm,)},
    )  # fmt: skip
    figures = run(recipe, arm, 0, teacher, tmp_path / "empty")
    assert 0 <= figures["accuracy"] <= 1
    assert figures["steps"] == arm.steps
    assert isinstance(figures["cost"], dict)
    measures = figures["measures"]
    assert 50 < measures[f"{target} probe"] <= 100
    assert 0 <= measures[f"{target} fine-tuned"] <= 100
    assert set(measures) <= {f"{target} {name}" for name in ("probe", "fine-tuned", "normalised")}
