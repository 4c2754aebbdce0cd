"""The experiment with synthetic rows, on German credit: what its arms are, and what they share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sansdata.reproduce.experiments import fair_rows, find_experiment
from sansdata.reproduce.recipes import find_recipe
from sansdata.reproduce.recipes.model import Arm

pytest.importorskip("fairlearn", reason="figures of fairness are fairlearn's (extra 'fair')")
NO_TEACHER = {"spec": "none", "sha256": "none"}
OWN = {"autoencoder": {"epochs": 2, "batch": 64, "latent": 4, "hidden": 16}}
TINY = {"transfer": {"batch": 32}}


@pytest.mark.skipif(
    not (Path(os.environ.get("SANSDATA_DATA", "")) / "tabular/german.csv.gz").is_file(),
    reason="SANSDATA_DATA has no tabular/german.csv.gz",
)
def test_arms_share_autoencoder_and_student_and_differ_in_the_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(fair_rows, "ROWS", 600)
    recipe, run = find_recipe("fair4free-german-credit"), find_experiment("fair-rows")
    arms = (
        Arm(name="a", role="method", method="fair4free", steps=8, experiment=OWN, options=TINY),
        Arm(name="b", role="ablation", method="fair4free", steps=8, experiment=OWN | {"rule": "own"}, options=TINY),
        Arm(name="c", role="method", method="fair4free", steps=8, experiment=OWN,
            options=TINY | {"handover": "latent-bank", "personal_data": True}),
        Arm(name="d", role="floor", method="fair4free", steps=1, experiment=OWN | {"draws": "prior"}),
        Arm(name="e", role="ceiling", method="real-rows", steps=1, experiment=OWN),
        Arm(name="f", role="floor", method="constant", steps=1, experiment=OWN),
    )  # fmt: skip
    figures = {arm.name: run(recipe, arm, 0, NO_TEACHER, tmp_path) for arm in arms}
    for name, one in figures.items():
        assert 0 <= one["measures"]["DPR"] <= 1, name
        assert 0 <= one["measures"]["positive"] <= 100, name
    assert figures["a"]["cost"] == figures["b"]["cost"], "a student is trained once for arms that differ in the rule"
    assert figures["a"]["cost"]["samples"] == 8 * 32
    assert figures["a"]["measures"] != figures["b"]["measures"]
    assert figures["f"]["measures"] == {
        "AUROC": 0.5, "DPR": 1, "EOR": 1, "balanced": 50, "positive": pytest.approx(100),
    }  # fmt: skip
    assert 0.3 < figures["a"]["measures"]["s-AUC of z"] < 0.8
    assert len(list((tmp_path / "sansdata" / "teachers").iterdir())) == 1, "one autoencoder, and no bank is kept"


@pytest.mark.parametrize("name", ["fair4free-adult", "fair4free-german-credit"])
def test_expectations_name_arms_and_measures_that_there_are(name: str) -> None:
    recipe = find_recipe(name)
    arms = {arm.name: arm for arm in recipe.arms["small"]}
    everywhere = {"AUROC", "DPR", "EOR", "balanced", "positive"}
    of_rows = everywhere | {"s-AUC", "density", "coverage", "s-AUC of z", "class AUC of z"}
    for one in recipe.expected:
        for side in filter(None, (one.better, one.worse)):
            known = everywhere if arms[side].method in fair_rows.OTHERS else of_rows
            trained = not arms[side].experiment.get("draws") and arms[side].method == "fair4free"
            assert one.measure in known | ({"latent spread"} if trained else set()), (side, one.measure)
