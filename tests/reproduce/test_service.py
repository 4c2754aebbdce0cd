"""A student of a simulated service: what a run of the experiment gives; the recipes' steps are their queries."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sansdata.engine.questions import Formula
from sansdata.files import sha256
from sansdata.methods.index import find_method, method_config
from sansdata.models.build import architecture_of, build
from sansdata.reproduce.experiments import find_experiment
from sansdata.reproduce.experiments.service import MOMENTS
from sansdata.reproduce.recipes import find_recipe
from sansdata.reproduce.recipes.model import Arm, Recipe, TeacherRecipe
from sansdata.settings import GradientSettings
from sansdata.tasks import load_task


@pytest.mark.parametrize("name", ["black-box", "black-box-fashion"])
def test_the_steps_of_the_arms_are_what_their_queries_buy(name: str) -> None:
    for arm in find_recipe(name).arms["small"]:
        config = method_config(arm.method, arm.preset, arm.options)
        formula = Formula(find_method(arm.method), config, GradientSettings(), load_task("mnist-32"))
        assert formula.steps_within(arm.experiment["queries"]) == arm.steps, arm.name


def test_a_run_is_followed_over_its_queries(tmp_path: Path) -> None:
    torch.manual_seed(0)
    teacher = tmp_path / "teacher.safetensors"
    save_file(build(architecture_of("resnet8", load_task("digits"))).state_dict(), teacher)
    recipe = Recipe(
        name="here", claim="-", data="digits", task="digits", teacher=TeacherRecipe(network="resnet8"),
        student="resnet8", experiment="service", arms={},
    )  # fmt: skip
    arm = Arm(
        name="noise", role="floor", method="noise", steps=MOMENTS, options={"transfer": {"batch": 4}},
        experiment={"service": {"answers": "labels"}, "queries": 4 * MOMENTS},
    )  # fmt: skip
    known = {"path": str(teacher), "sha256": sha256(teacher)}
    figures = find_experiment("service")(recipe, arm, 0, known, tmp_path)
    assert [point["queries"] for point in figures["over_queries"]] == [4 * step for step in range(1, MOMENTS + 1)]
    assert figures["measures"]["queries"] == 4 * MOMENTS
    assert 0 <= figures["measures"]["agreement"] <= 100
