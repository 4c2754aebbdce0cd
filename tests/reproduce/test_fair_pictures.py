"""The experiment with synthetic pictures: the planted colour, what its arms are, and what they share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from sansdata.reproduce.coloured import coloured
from sansdata.reproduce.experiments import fair_pictures, find_experiment
from sansdata.reproduce.recipes import find_recipe
from sansdata.reproduce.recipes.model import Arm

pytest.importorskip("fairlearn", reason="figures of fairness are fairlearn's (extra 'fair')")
needs_data = pytest.mark.skipif(
    not (Path(os.environ.get("SANSDATA_DATA", "")) / "fashion_mnist").is_dir(),
    reason="SANSDATA_DATA has no fashion_mnist",
)
NO_TEACHER = {"spec": "none", "sha256": "none"}
OWN = {"autoencoder": {"epochs": 1, "latent": 3, "components": 1}}
TINY = {"transfer": {"batch": 32}}


@needs_data
def test_the_colour_knows_the_class_as_often_as_is_said() -> None:
    dyed = coloured("fashion-mnist", "test", 0.2, seed=0)
    late = torch.from_numpy(dyed.pictures.labels) >= 5
    assert float((dyed.groups != late.long()).double().mean()) == pytest.approx(0.2, abs=0.015)
    red, green, _ = torch.from_numpy(dyed.pictures.images).double().mean((1, 2)).unbind(1)
    assert torch.equal(red < green, dyed.groups == 1)
    even = coloured("fashion-mnist", "test", 0.5, seed=0)
    assert float(even.groups[late].double().mean()) == pytest.approx(0.5, abs=0.03)
    assert "20%" in dyed.pictures.notes[-1]


@needs_data
@pytest.mark.long
def test_arms_share_autoencoder_and_student_and_differ_in_the_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(fair_pictures, "PICTURES", 600)
    monkeypatch.setattr(fair_pictures, "EPOCHS", 1)
    recipe, run = find_recipe("fair4free-fashion"), find_experiment("fair-pictures")
    arms = (
        Arm(name="a", role="method", method="fair4free", steps=8, experiment=OWN, options=TINY),
        Arm(name="b", role="ablation", method="fair4free", steps=8, experiment=OWN | {"rule": "own"}, options=TINY),
        Arm(name="d", role="floor", method="fair4free", steps=1, experiment=OWN | {"draws": "prior"}),
        Arm(name="e", role="ceiling", method="real-pictures", steps=1),
    )  # fmt: skip
    figures = {arm.name: run(recipe, arm, 0, NO_TEACHER, tmp_path) for arm in arms}
    for name, one in figures.items():
        assert 0 <= one["accuracy"] <= 1, name
        usual, rare, gap = (one["measures"][part] for part in ("usual colour", "rare colour", "colour gap"))
        assert gap == pytest.approx(usual - rare)
        assert 100 * one["accuracy"] == pytest.approx((usual + rare) / 2, abs=1.5)
    assert figures["a"]["cost"] == figures["b"]["cost"], "a student is trained once for arms that differ in the rule"
    assert figures["a"]["cost"]["samples"] == 8 * 32
    assert figures["a"]["measures"] != figures["b"]["measures"]
    assert len(list((tmp_path / "sansdata" / "teachers").iterdir())) == 1


def test_expectations_name_arms_and_measures_that_there_are() -> None:
    recipe = find_recipe("fair4free-fashion")
    arms = {arm.name: arm for arm in recipe.arms["small"]}
    everywhere = {"accuracy", "colour gap", "rare colour", "usual colour", "DPR", "EOR"}
    for one in recipe.expected:
        for side in filter(None, (one.better, one.worse)):
            trained = "draws" not in arms[side].experiment and arms[side].method == "fair4free"
            assert one.measure in everywhere | ({"latent spread"} if trained else set()), (side, one.measure)
