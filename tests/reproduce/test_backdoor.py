"""The experiment with a poisoned teacher, on the digits that come with scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sansdata.datasets.images import load_images
from sansdata.reproduce import poisoned
from sansdata.reproduce.experiments import find_experiment
from sansdata.reproduce.poisoned import ensure_poisoned_teacher
from sansdata.reproduce.recipes.model import Arm, Recipe

TEACHER: dict[str, Any] = {"network": "resnet8", "attack": "badnets-square", "epochs": 6}
ARMS = (
    Arm(
        name="kd", role="ceiling", method="real-data", steps=3, experiment=TEACHER,
        options={"view": "none", "transfer": {"batch": 16}},
    ),
    Arm(
        name="abd", role="method", method="pool-kd", steps=3, experiment=TEACHER | {"pool": "digits"},
        options={"transfer": {"batch": 16}}, run={"defence": "abd", "retrospect": {"rounds": 1}},
    ),
)  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sansdata" / "teachers"


def test_the_arms_share_a_teacher_that_follows_its_trigger(cache: Path, tmp_path: Path) -> None:
    recipe = Recipe(
        name="x", claim="x", data="digits", task="digits", teacher=None, student="shrink:0.25", experiment="backdoor",
        held_out=100, arms={"small": ARMS},
    )  # fmt: skip
    run, found = find_experiment("backdoor"), {}
    for arm in ARMS:
        (tmp_path / arm.name).mkdir()
        found[arm.name] = run(recipe, arm, 0, {"spec": "none", "sha256": "none"}, tmp_path / arm.name)
    for figures in found.values():
        assert figures["measures"]["teacher's ASR"] > 80
        assert figures["measures"]["teacher's accuracy"] > 80
        assert 0 <= figures["accuracy"] <= 1
        assert 0 <= figures["measures"]["ASR"] <= 100
        assert figures["steps"] == 3
    assert found["kd"]["teacher"] == found["abd"]["teacher"]
    assert 0 <= found["abd"]["measures"]["suspicious"] <= 100
    assert found["abd"]["cost"]["vaccine_judged"] == 3 * 16
    assert "suspicious" not in found["kd"]["measures"]
    assert len(list(cache.glob("*.safetensors"))) == 1


def test_a_kept_teacher_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    original = poisoned.train
    monkeypatch.setattr(poisoned, "train", lambda *args, **how: trained.append(args) or original(*args, **how))
    data = load_images("digits", "digits", "train")
    asked = (data, "digits", "resnet8", "blend", 1)
    paths = [ensure_poisoned_teacher(*asked, folder=tmp_path) for _ in range(2)]
    assert paths[0] == paths[1]
    assert len(trained) == 1
    assert "poisoned by blend" in trained[0][1].notes[-1]
    assert ensure_poisoned_teacher(*asked, target=3, folder=tmp_path) != paths[0]
