"""Accuracy over a run: what is made of it, and that a run gives it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sansdata.files import sha256
from sansdata.models.build import architecture_of, build
from sansdata.reproduce.experiments import find_experiment
from sansdata.reproduce.experiments.over_time import MOMENTS, over_time
from sansdata.reproduce.recipes.model import Arm, Recipe, TeacherRecipe
from sansdata.tasks import load_task


def test_figures_are_those_of_the_settled_part() -> None:
    curve = {10: 0.0, 20: 0.9, 30: 0.5, 40: 0.7, 50: 0.6, 60: 0.8, 70: 0.8, 80: 0.8}
    figures = over_time(curve)
    assert figures["mean over time"] == pytest.approx(70)
    assert figures["deviation over time"] == pytest.approx(12.649, abs=1e-3)
    assert figures["worst"] == pytest.approx(50)
    assert figures["largest drop"] == pytest.approx(10)


def test_a_rise_alone_has_no_drop() -> None:
    assert over_time({step: step / 100 for step in range(10, 90, 10)})["largest drop"] == 0


def test_a_run_is_followed_to_its_end(tmp_path: Path) -> None:
    torch.manual_seed(0)
    teacher = tmp_path / "teacher.safetensors"
    save_file(build(architecture_of("resnet8", load_task("digits"))).state_dict(), teacher)
    recipe = Recipe(
        name="here", claim="-", data="digits", task="digits", teacher=TeacherRecipe(network="resnet8"),
        student="shrink:0.25", experiment="over-time", arms={},
    )  # fmt: skip
    arm = Arm(
        name="replay", role="method", method="noise", steps=MOMENTS, options={"transfer": {"batch": 4}},
        run={"update": "retain", "retain": {"mode": "replay"}},
    )  # fmt: skip
    known = {"path": str(teacher), "sha256": sha256(teacher)}
    figures = find_experiment("over-time")(recipe, arm, 0, known, tmp_path)
    assert list(figures["over_time"]) == [str(step) for step in range(1, MOMENTS + 1)]
    assert figures["over_time"][str(MOMENTS)] == pytest.approx(100 * figures["accuracy"], abs=0.01)
    assert set(figures["measures"]) >= {"mean over time", "deviation over time", "worst", "largest drop"}
    assert -1 <= figures["measures"]["alignment"] <= 1
