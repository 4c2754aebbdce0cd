"""What a student brings to another weakness: the same fragments for every arm, none of them in the test."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from sansdata.finetuning.settings import FineTuneSettings
from sansdata.models.build import architecture_of, build
from sansdata.reproduce import contracts
from sansdata.reproduce.experiments import migration
from sansdata.reproduce.recipes import find_recipe
from sansdata.reproduce.texts import Texts

pytest.importorskip("tree_sitter_solidity")
RECIPE = find_recipe("af-stip-migration")


def fragments(count: int) -> Texts:
    bodies = tuple(f"function FUN1 ( ) {{ VAR{number} ; }}" for number in range(count))
    return Texts(bodies, np.arange(count) % 2, 2)


def test_no_fragment_that_is_learned_is_in_the_test_and_each_draw_is_another() -> None:
    whole = fragments(migration.TEST + 60)
    test, rest = migration.parted(whole, 0)
    assert (len(test), len(rest)) == (migration.TEST, 60)
    assert not set(test.texts) & set(rest.texts)
    assert set(test.texts) | set(rest.texts) == set(whole.texts)
    assert migration.parted(whole, 0)[1].texts == rest.texts
    assert migration.parted(whole, 1)[1].texts != rest.texts


def test_the_student_that_it_begins_from_stays_and_its_last_layer_does_not() -> None:
    task = contracts.task()
    torch.manual_seed(0)
    begun = build(architecture_of("gru", task)).eval().requires_grad_(False)
    before = {name: value.clone() for name, value in begun.state_dict().items()}
    settings = FineTuneSettings(last_layer="fresh", synthetic=0, free="head", epochs=1)
    after = migration.tuned(begun, fragments(20).read(task), settings, seed=0).state_dict()
    assert all(torch.equal(value, before[name]) for name, value in begun.state_dict().items())
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {"head.weight", "head.bias"}


def test_migrated_and_random_arms_meet_the_same_labels_and_stop_by_the_same_rule() -> None:
    arms = {arm.name: arm for arm in RECIPE.arms["small"]}
    rates = {"free", "head_lr", "block_lr"}
    rules = [
        {name: value for name, value in arm.experiment["tuning"].items() if name not in rates} for arm in arms.values()
    ]
    assert all(rule == rules[0] and rule["last_layer"] == "fresh" for rule in rules)
    assert {tuple(arm.experiment["labels"]) for arm in arms.values()} == {(20, 50, 100)}
    body = FineTuneSettings.model_validate(arms["migrated"].experiment["tuning"])
    assert body.free == "all"
    assert body.block_lr < body.head_lr


@pytest.mark.skipif(
    not (Path(os.environ.get("SANSDATA_DATA", "")) / "solidity/rechecker").is_dir(),
    reason="SANSDATA_DATA has no solidity/",
)
def test_an_arm_from_random_weights_measures_every_number_of_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "DRAWS", 1)
    arm = next(arm for arm in RECIPE.arms["small"] if arm.name == "random-weights")
    tuning = {**arm.experiment["tuning"], "epochs": 1, "free": "head"}
    arm = arm.model_copy(update={"experiment": {**arm.experiment, "labels": [20, 50], "tuning": tuning}})
    figures = migration.run(RECIPE, arm, 0, {}, tmp_path)
    assert set(figures["measures"]) == {"F1 20", "MCC 20", "F1 50", "MCC 50"}
    assert all(-100 <= value <= 100 for value in figures["measures"].values())
    bodies = contracts.distinct(contracts.raw("infinite-loop"))
    assert not set(bodies.texts) & set(contracts.raw("reentrancy").texts)
