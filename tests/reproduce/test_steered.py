"""A student of images that a denoiser drew: what a run of the experiment gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sansdata.files import sha256
from sansdata.models.build import architecture_of, build
from sansdata.reproduce import generators
from sansdata.reproduce.experiments import find_experiment, steered
from sansdata.reproduce.recipes.model import Arm, Recipe, TeacherRecipe
from sansdata.tasks import load_task


class Here(generators.Pictures):
    def teacher(self, task: object) -> str:
        return "priors:gaussian"

    def judging(self, task: object) -> str:
        raise NotImplementedError


def test_arms_are_judged_by_who_took_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steered, "domain_of", lambda name: Here())
    files = []
    for name in ("lenet5", "resnet8"):
        torch.manual_seed(len(files))
        files.append(tmp_path / f"{name}.safetensors")
        save_file(build(architecture_of(name, load_task("digits"))).state_dict(), files[-1])
    recipe = Recipe(
        name="here", claim="-", data="digits", task="digits", teacher=TeacherRecipe(network="lenet5"),
        helpers=(TeacherRecipe(network="resnet8"),), student="lenet5-half", experiment="steered", arms={},
    )  # fmt: skip
    known = {"path": str(files[0]), "sha256": sha256(files[0]), "helpers": [{"path": str(files[1])}]}
    arm = Arm(
        name="guided", role="method", method="diffdfkd", steps=2, experiment={"prior": "here"},
        options={"bn": 0.0, "times": 3, "batch": 20, "steps_per_batch": 2, "transfer": {"batch": 4}},
    )  # fmt: skip
    guided = find_experiment("steered")(recipe, arm, 0, known, tmp_path / "guided")
    assert guided["measures"].keys() == {"judge agrees", "rarest class", "class hit"}
    assert guided["cost"]["prior_forwards"] == 20 * 5
    floor = Arm(name="noise", role="floor", method="noise", steps=2, options={"transfer": {"batch": 8}})
    assert find_experiment("steered")(recipe, floor, 0, known, tmp_path / "noise")["measures"].keys() == {
        "judge agrees", "rarest class"
    }  # fmt: skip
