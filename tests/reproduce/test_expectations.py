"""What a recipe expects, judged on means, and the page that says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sansdata.reproduce.expectations import checks, paired
from sansdata.reproduce.page import write_page
from sansdata.reproduce.recipes import RECIPES
from sansdata.reproduce.recipes.model import Arm, Expectation, Recipe

MEANS = {"ours": {"accuracy": 80.0, "attack": 20.0}, "host": {"accuracy": 82.0, "attack": 60.0}}


def recipe(*expected: Expectation) -> Recipe:
    return Recipe(
        name="r", claim="c", data="d", task="t", teacher=None, student="s", arms={"small": ()}, expected=expected
    )


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        ({"worse": "host", "margin": -5}, True),
        ({"worse": "host", "margin": -1}, False),
        ({"margin": 80}, True),
        ({"margin": 80.1}, False),
        ({"worse": "host", "measure": "attack", "lower": True, "margin": 40}, True),
        ({"worse": "host", "measure": "attack", "lower": True, "margin": 41}, False),
        ({"measure": "attack", "lower": True, "margin": 19}, False),
        ({"worse": "host", "measure": "attack", "ratio": 0.5}, True),
        ({"worse": "host", "measure": "attack", "ratio": 0.3}, False),
    ],
)
def test_an_expectation_holds_or_not(said: dict[str, Any], holds: bool):
    ((_, verdict),) = checks(recipe(Expectation(better="ours", **said)), MEANS)
    assert verdict is holds


@pytest.mark.parametrize(
    ("ours", "lower", "verdict"),
    [
        ((3.0, 4.0, 5.0), False, "holds"),  # differences 2, 3, 4: their mean is 5.2 standard errors above 0
        ((0.0, 1.0, 5.0), False, "undecided"),  # -1, 0, 4: 1 is 0.7 of them
        ((-3.0, -2.0, -1.0), False, "fails"),
        ((-3.0, -2.0, -1.0), True, "holds"),
    ],
)
def test_pairs_of_seeds_are_judged_by_their_standard_error(ours: tuple[float, ...], lower: bool, verdict: str):
    values = {
        "ours": {"accuracy": dict(enumerate(ours))}, "host": {"accuracy": {0: 1.0, 1: 1.0, 2: 1.0, 3: 90.0}},
    }  # fmt: skip
    expected = recipe(Expectation(better="ours", worse="host", lower=lower, paired=True))
    ((sentence, judged),) = paired(expected, values)
    assert judged == verdict
    assert f"{sum(ours) / 3 - 1:+.2f}" in sentence
    assert list(checks(expected, MEANS)) == []


@pytest.mark.parametrize(
    ("margin", "verdict"), [(3.5, "holds"), (2.5, "undecided"), (2.0, "undecided"), (0.5, "fails")]
)
def test_a_bound_is_judged_by_its_standard_error(margin: float, verdict: str):
    values = {"ours": {"accuracy": dict(enumerate((1.5, 2.0, 2.5)))}}  # 2.00, and 0.29 of standard error
    expected = recipe(Expectation(better="ours", margin=margin, lower=True, paired=True))
    assert list(paired(expected, values)) == [(f"ours is at most {margin:g}: 2.00 ± 0.29 (SE)", verdict)]


def test_what_was_not_run_is_not_judged():
    assert list(checks(recipe(Expectation(better="ours", worse="absent")), MEANS)) == []
    assert list(checks(recipe(Expectation(better="ours", measure="never measured")), MEANS)) == []


def test_measures_have_columns_with_their_spread(tmp_path: Path):
    arms = [Arm(name=name, role="method", method="fm", steps=5) for name in ("ours", "host")]
    runs = [
        {"arm": "ours", "seed": seed, "accuracy": 0.8, "measures": {"attack": attack}, "steps": 5, "cost": {},
         "cpu_seconds": 1, "date": "2026-01-01", "processor": "p", "cores": 2, "torch": "2"}
        for seed, attack in enumerate((10.0, 30.0))
    ]  # fmt: skip
    value = {
        "recipe": recipe(Expectation(better="ours", measure="attack", lower=True, margin=5)).model_dump(mode="json"),
        "scale": "small", "arms": [arm.model_dump(mode="json") for arm in arms], "teacher": {}, "runs": runs,
    }  # fmt: skip
    (tmp_path / "reproduction").mkdir()
    (tmp_path / "reproduction" / "r-small.json").write_text(json.dumps(value))
    text = write_page(tmp_path).read_text()
    assert "| arm | role | paper | ours, % | attack | seeds |" in text
    assert "| ours | method | - | 80.00 ± 0.00 | 20.00 ± 14.14 | 2 |" in text
    assert "| host | method | - | not run | - | 0 |" in text
    assert "**does not hold**: attack of ours is at most 5: 20.00" in text


@pytest.mark.parametrize("name", RECIPES)
def test_every_arm_and_expectation_of_a_recipe_is_sound(name: str):
    """Settings resolve, names are unique, and each expectation speaks of arms that exist."""
    for arms in RECIPES[name].arms.values():
        names = [arm.name for arm in arms]
        assert len(set(names)) == len(names)
        assert all(arm.settings()["name"] == arm.name for arm in arms)
    known = {arm.name for arm in RECIPES[name].arms["small"]}
    for one in RECIPES[name].expected:
        assert one.better in known
        assert one.worse is None or one.worse in known
