"""What a recipe expects, judged on pairs of seeds, and the page that says so."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sansdata.reproduce.expectations import Judgement, Seed, judgements
from sansdata.reproduce.page import _by_seed, _row, _where, write_page
from sansdata.reproduce.pictures import apart
from sansdata.reproduce.recipes import RECIPES
from sansdata.reproduce.recipes.model import Arm, Expectation, Recipe


def recipe(*expected: Expectation) -> Recipe:
    return Recipe(
        name="r", claim="c", data="d", task="t", teacher=None, student="s", arms={"small": ()}, expected=expected
    )


def by_seed(values: tuple[float, ...], processor: str = "p") -> dict[Seed, float]:
    return {(seed, processor): value for seed, value in enumerate(values)}


def judged(ours: tuple[float, ...], host: tuple[float, ...] = (), **expectation: Any) -> Judgement:
    values = {"ours": {"accuracy": by_seed(ours)}, "host": {"accuracy": by_seed(host)}}
    ((_, judgement),) = judgements(recipe(Expectation(better="ours", **expectation)), values)
    return judgement


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
    judgement = judged(ours, (1.0, 1.0, 1.0, 90.0), worse="host", lower=lower)  # the fourth has no partner
    assert judgement.verdict == verdict
    assert judgement.measured.startswith(f"{sum(ours) / 3 - 1:+.2f} ±")
    assert judgement.measured.endswith(", 3 seeds")


@pytest.mark.parametrize(
    ("margin", "lower", "verdict"),
    [
        (1, False, "holds"),  # 3 ± 0.58 above, or below by -3
        (2, True, "fails"),
        (-5, False, "holds"),
        (3.5, False, "undecided"),
        (5, False, "fails"),
        (-5, True, "holds"),  # above by less than 5
        (-2.5, True, "undecided"),
    ],
)
def test_a_margin_lies_on_the_wanted_side(margin: float, lower: bool, verdict: str):
    assert judged((3.0, 4.0, 5.0), (1.0, 1.0, 1.0), worse="host", margin=margin, lower=lower).verdict == verdict


@pytest.mark.parametrize(
    ("margin", "verdict"), [(3.5, "holds"), (2.5, "undecided"), (2.0, "undecided"), (0.5, "fails")]
)
def test_a_bound_is_judged_by_its_standard_error(margin: float, verdict: str):
    judgement = judged((1.5, 2.0, 2.5), margin=margin, lower=True)  # 2.00, and 0.29 of standard error
    assert judgement == Judgement(f"ours is at most {margin:g}", "2.00 ± 0.29, 3 seeds", verdict)


@pytest.mark.parametrize(("ratio", "verdict"), [(0.9, "holds"), (0.5, "undecided"), (0.2, "fails")])
def test_a_share_is_judged_on_pairs_too(ratio: float, verdict: str):
    judgement = judged((20.0, 26.0, 29.0), (50.0, 48.0, 52.0), worse="host", ratio=ratio)
    assert judgement.verdict == verdict
    assert judgement.measured.startswith("25.00 of 50.00, ")


def test_one_seed_decides_nothing():
    assert judged((99.0,), margin=1) == Judgement("ours reaches 1", "99.00, 1 seed", "undecided")


def test_what_was_not_run_is_not_judged():
    values = {"ours": {"accuracy": by_seed((1.0,))}}
    assert list(judgements(recipe(Expectation(better="ours", worse="absent")), values)) == []
    assert list(judgements(recipe(Expectation(better="ours", measure="never measured")), values)) == []


def test_runs_of_two_processors_are_no_pair():
    ours, host = by_seed((5.0, 6.0, 7.0)), by_seed((1.0, 1.0)) | {(2, "another"): 1.0}
    ((_, judgement),) = judgements(
        recipe(Expectation(better="ours", worse="host")),
        {"ours": {"accuracy": ours}, "host": {"accuracy": host}},
    )
    assert judgement.measured == "+4.50 ± 0.50, 2 seeds"


def test_runs_beside_two_teachers_are_no_pair(tmp_path: Path):
    """Where an experiment trains its own teacher a run says which; an arm that is left from an earlier one is not
    compared with those of the present one."""
    arms = [Arm(name=name, role="method", method="fm", steps=5) for name in ("ours", "host")]
    runs = [
        {"arm": arm, "seed": seed, "accuracy": share, "teacher": {"sha256": teacher}, "steps": 5, "cost": {},
         "cpu_seconds": 1, "date": "2026-01-01", "processor": "p", "cores": 2, "torch": "2"}
        for arm, seed, share, teacher in (
            ("ours", 0, 0.8, "new"), ("host", 0, 0.5, "new"), ("ours", 1, 0.8, "new"), ("host", 1, 0.1, "old"),
        )
    ]  # fmt: skip
    value = {
        "recipe": recipe(Expectation(better="ours", worse="host")).model_dump(mode="json"), "scale": "small",
        "arms": [arm.model_dump(mode="json") for arm in arms], "teacher": {}, "runs": runs,
    }  # fmt: skip
    (tmp_path / "reproduction").mkdir()
    (tmp_path / "reproduction" / "r-small.json").write_text(json.dumps(value))
    assert "| +30.00, 1 seed |" in write_page(tmp_path).read_text()


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
    claim = "| [r](#r-small-scale) | attack of ours is at most 5 | - | 20.00 ± 10.00, 2 seeds |"
    assert f"{claim} undecided (earlier version) |" in text
    total = next(line for line in text.splitlines() if line.startswith("0 holds, 0 fails, 1 undecided."))
    assert " muse," in total  # which nobody ran here
    assert " fm," not in total


def test_every_processor_that_made_a_run_is_named():
    run = {"processor": "A", "cores": 2, "torch": "2", "date": "2026-01-02"}
    assert _where([run]).startswith("Machine: A, 2 cores")
    assert _where([run, run | {"processor": "B", "date": "2026-01-01"}]).startswith("Machines: A and B, 2 cores")


def test_names_beside_a_plane_keep_their_order_and_do_not_cover_each_other():
    heights = [0.0, 0.5, 0.51, 0.52, 0.98, 1.0]
    moved = apart(heights, 0.05)
    assert all(above - below >= 0.05 - 1e-12 for below, above in pairwise(moved))
    assert moved[0] == 0.0
    assert moved[-1] == 1.0
    assert apart([0.2, 0.8], 0.05) == [0.2, 0.8]


def test_a_recipe_with_a_plane_has_a_picture_of_its_arms(tmp_path: Path):
    arms = [Arm(name="ours", role="method", method="fm", steps=5, paper="0.9"),
            Arm(name="host", role="floor", method="fm", steps=5, paper="0.8 by eye"),
            Arm(name="unrun", role="floor", method="fm", steps=5)]  # fmt: skip
    runs = [
        {"arm": arm, "seed": seed, "accuracy": share, "measures": {"size": size}, "steps": 5, "cost": {},
         "cpu_seconds": 1, "date": "2026-01-01", "processor": "p", "cores": 2, "torch": "2"}
        for arm, size in (("ours", 10.0), ("host", 4000.0)) for seed, share in enumerate((0.7, 0.8))
    ]  # fmt: skip
    drawn = recipe().model_copy(update={"plane": ("size", "accuracy")})
    value = {
        "recipe": drawn.model_dump(mode="json"), "scale": "small", "teacher": {}, "runs": runs,
        "arms": [arm.model_dump(mode="json") for arm in arms],
    }  # fmt: skip
    (tmp_path / "reproduction").mkdir()
    (tmp_path / "reproduction" / "r-small.json").write_text(json.dumps(value))
    assert "(pictures/r.svg)" in write_page(tmp_path).read_text()
    picture = (tmp_path / "pictures" / "r.svg").read_text()
    for text in ("ours", "host", "size", "accuracy", "method", "floor", "published"):
        assert f">{text}<" in picture
    assert ">unrun<" not in picture
    write_page(tmp_path)
    assert (tmp_path / "pictures" / "r.svg").read_text() == picture  # no date, no chance


def test_figures_of_settings_that_have_changed_say_so(tmp_path: Path):
    """A run is kept under the hash of its settings; the page compares it with that of the recipe's present ones."""
    current = RECIPES["fedgen"]
    plain, released = (arm for arm in current.arms["small"] if arm.name in ("fedavg", "fedgen-released"))
    runs = [
        {"arm": arm.name, "seed": seed, "key": f"{key}/{seed}", "accuracy": 0.8 + gain, "measures": {}, "steps": 5,
         "cost": {}, "cpu_seconds": 1, "date": "2026-01-01", "processor": "p", "cores": 2, "torch": "2"}
        for arm, key, gain in ((plain, plain.key("t"), 0), (released, "another", 0.1)) for seed in range(3)
    ]  # fmt: skip
    value = {
        "recipe": current.model_dump(mode="json", exclude={"arms"}), "scale": "small", "teacher": {"sha256": "t"},
        "arms": [arm.model_dump(mode="json") for arm in current.arms["small"]], "runs": runs,
    }  # fmt: skip
    (tmp_path / "reproduction").mkdir()
    file = tmp_path / "reproduction" / "fedgen-small.json"
    file.write_text(json.dumps(value))
    assert "| holds (earlier version) |" in write_page(tmp_path).read_text()
    for run in runs[3:]:
        run["key"] = f"{released.key('t')}/{run['seed']}"
    file.write_text(json.dumps(value))
    page = write_page(tmp_path).read_text()
    assert "| holds |" in page
    assert "(earlier version)" not in page


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


def test_a_seed_on_two_processors_counts_once():
    """As the mean of both: they differ by rounding alone, and would make the standard error look smaller."""
    ours = by_seed((3.0, 5.0)) | by_seed((4.0, 6.0), "q") | by_seed((90.0, 90.0), "alone")
    values = {"ours": {"accuracy": ours}, "host": {"accuracy": by_seed((1.0, 1.0)) | by_seed((1.0, 1.0), "q")}}
    ((_, judgement),) = judgements(recipe(Expectation(better="ours", worse="host")), values)
    assert judgement.measured == "+3.50 ± 1.00, 2 seeds"


def test_a_measure_without_a_value_is_left_out_and_the_row_says_of_how_many() -> None:
    """Masks that are all empty have no ejection fraction."""
    runs = [
        {"arm": "noise", "seed": seed, "processor": "here", "accuracy": 0.5, "measures": {"r": r, "gap": float("nan")},
         "cpu_seconds": 1, "cost": {}}
        for seed, r in enumerate((0.25, 0.75, float("nan")))
    ]  # fmt: skip
    arm = {"name": "noise", "role": "floor", "paper": "", "steps": 10}
    assert "| 50.00 ± 0.00 | 0.50 ± 0.35 (2 of 3) | - | 3 | 10 |" in _row(arm, runs, ["r", "gap"])
    assert set(_by_seed(runs)["noise"]) == {"accuracy", "r"}
    assert len(_by_seed(runs)["noise"]["r"]) == 2
