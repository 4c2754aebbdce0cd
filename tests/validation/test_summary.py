"""What a validation says of planted defects, and what it keeps to itself."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from sansdata.datasets.imageset import ImageSet
from sansdata.errors import ConfigError, DisclosureError
from sansdata.validation.aggregates import require_aggregates
from sansdata.validation.answers import Answers, Who, figures_of
from sansdata.validation.cases import Cases
from sansdata.validation.manifest import Salted
from sansdata.validation.noninferiority import Declaration, declared_before, judge
from sansdata.validation.resampling import Estimate
from sansdata.validation.subgroups import columns_of, fairlearn_figures, group_figures
from sansdata.validation.summary import OUTSIDE, summarise

fairlearn = pytest.importorskip("fairlearn.metrics")
COUNT = 600


def declared(**given) -> Declaration:
    fields = {
        "measure": "auroc",
        "margin": 0.03,
        "resamples": 300,
        "threshold": None,
        "recalibrated": False,
        "classes": 2,
    } | given
    return Declaration.now(**fields)


@pytest.fixture
def cases() -> Cases:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (COUNT, 2, 2, 1), dtype=np.uint8)
    labels = random.integers(0, 2, COUNT)
    names = Salted()
    patients = np.unique([names(f"patient-{n // 2:04d}") for n in range(COUNT)], return_inverse=True)[1]
    groups = {"scanner": np.array(["one", "two"])[random.integers(0, 2, COUNT)]}
    return Cases(ImageSet(images, labels, ("well", "ill"), "local"), patients, groups, names)


def logits_for(labels: np.ndarray, sharpness: float = 1.5, seed: int = 1) -> np.ndarray:
    """Answers whose probabilities are as often right as they say, by construction: log-odds drawn around +-s**2/2."""
    noise = np.random.default_rng(seed).normal(size=len(labels))
    odds = sharpness**2 * (labels - 0.5) + sharpness * noise
    return np.stack([-odds, odds], 1) / 2


def test_a_faithful_student_passes_and_a_much_worse_one_fails(cases: Cases) -> None:
    teacher = logits_for(cases.labels, 2.0)
    same = summarise({"student": teacher * 1.01, "teacher": teacher}, cases, declared())
    assert same.verdict.outcome == "pass"
    assert same.figure("difference auroc").value == pytest.approx(0)
    assert same.figure("student kappa").value == 1
    noise = logits_for(cases.labels, 0.1, seed=2)
    worse = summarise({"student": noise, "teacher": teacher}, cases, declared())
    assert worse.verdict.outcome == "fail"
    few = cases.at(np.arange(60))
    unlike = logits_for(few.labels, 2.0, seed=5)
    unsure = summarise({"student": unlike, "teacher": teacher[:60]}, few, declared())
    assert unsure.verdict.outcome == "inconclusive"


def test_a_planted_defect_of_one_scanner_is_found(cases: Cases) -> None:
    teacher = logits_for(cases.labels, 2.5)
    broken = np.random.default_rng(3).random(COUNT) < 0.35
    student = np.where(((cases.groups["scanner"] == "two") & broken)[:, None], -teacher, teacher)
    found = summarise({"student": student, "teacher": teacher}, cases, declared())
    gap = found.figure("student accuracy against the rest, scanner: two")
    assert gap.interval is not None
    assert gap.value < -0.2
    assert gap.interval[1] < 0
    assert any(one.name == "group gap, scanner: two" for one in found.warnings)
    fine = summarise({"student": teacher, "teacher": teacher}, cases, declared())
    low, high = fine.figure("difference accuracy against the rest, scanner: two").interval or (1, 1)
    assert low <= 0 <= high
    assert not any("scanner" in one.name for one in fine.warnings)


def test_planted_miscalibration_is_flagged(cases: Cases) -> None:
    teacher = logits_for(cases.labels)
    found = summarise({"student": 3 * teacher, "teacher": teacher}, cases, declared())
    rise = found.figure("difference ece")
    assert rise.interval is not None
    assert rise.value > 0.05
    assert rise.interval[0] > 0
    assert found.figure("student calibration_slope").value == pytest.approx(
        found.figure("teacher calibration_slope").value / 3, rel=1e-6
    )
    assert [one.name for one in found.warnings if "group" not in one.name] == ["miscalibration"]
    fine = summarise({"student": teacher, "teacher": teacher}, cases, declared())
    assert not any(one.name == "miscalibration" for one in fine.warnings)


def test_points_of_groups_are_those_of_fairlearn(cases: Cases) -> None:
    answers = Answers.of(logits_for(cases.labels, 1.0))
    (column,) = columns_of(cases, 2)
    ours = group_figures({"student": answers}, cases.labels, column, np.ones((1, COUNT)))
    theirs = fairlearn_figures(answers, cases.labels, cases.groups["scanner"], column)
    assert len(theirs) == 2 * 4 + 3
    by_name = {(key.name, key.group): float(value[0]) for key, value in ours.items()}
    for key, value in theirs.items():
        assert by_name[key] == pytest.approx(value, abs=1e-9), key


def test_small_cells_are_suppressed_and_listed(cases: Cases) -> None:
    site = np.where(np.arange(COUNT) < 16, "tiny", "large")
    band = np.where((np.arange(COUNT) < 300) & (cases.labels == 0), "well only", "mixed")
    several = replace(cases, groups={"site": site, "band": band})
    answers = logits_for(cases.labels)
    found = summarise({"student": answers, "teacher": answers}, several, declared())
    listed = {(one.column, one.level): one.reason for one in found.suppressed}
    assert listed == {
        ("site", "tiny"): "fewer than 10 patients",
        ("band", "well only"): "fewer than 5 patients of one class",
    }
    assert not any("tiny" in one.name or "well only" in one.name for one in found.figures)


def test_a_threshold_moves_decisions_and_nothing_else(cases: Cases) -> None:
    logits = logits_for(cases.labels)
    assert Answers.of(logits, 0.8).decided.sum() < Answers.of(logits).decided.sum()
    one, other = (
        summarise({"student": logits, "teacher": logits}, replace(cases, groups={}), declared(threshold=threshold))
        for threshold in (None, 0.8)
    )
    assert other.figure("student specificity").value > one.figure("student specificity").value
    for name in ("student auroc", "student ece", "student brier"):
        assert other.figure(name).value == one.figure(name).value


def test_a_validation_says_how_many_cases_are_unlike_what_was_synthesised(cases: Cases) -> None:
    answers = logits_for(cases.labels)
    both: dict[Who, np.ndarray] = {"student": answers, "teacher": answers}
    far = np.arange(len(cases)) < 0.7 * len(cases)
    found = summarise(both, replace(cases, groups={}), declared(), outside=far)
    assert found.figure("student unlike the synthetic inputs").value == pytest.approx(0.7)
    assert [one.name for one in found.warnings if "taught on" in one.name]
    assert OUTSIDE.name not in str(summarise(both, replace(cases, groups={}), declared()).figures)


# -- only aggregates leave


def test_a_whole_validation_is_of_aggregates(cases: Cases) -> None:
    teacher = logits_for(cases.labels)
    found = summarise({"student": teacher, "teacher": teacher}, cases, declared()).to_dict()
    require_aggregates(found, cases)
    assert json.loads(json.dumps(found, allow_nan=False)) == json.loads(json.dumps(found))


@pytest.mark.parametrize(
    "row",
    [
        {"probabilities": [0.5] * COUNT},
        {"deep": [{"rows": list(range(COUNT // 2))}]},
        {"figures": [[n, 0.5] for n in range(COUNT)]},
        {"cells": [{"level": "x", "count": 9}]},
        {"note": "the worst is patient-0007, by far"},
        {"patient-0007": 1},
    ],
)
def test_rows_of_single_cases_do_not_leave(cases: Cases, row: dict) -> None:
    with pytest.raises(DisclosureError, match="nothing was written"):
        require_aggregates({"fine": 1, **row}, cases)


# -- the verdict


@pytest.mark.parametrize(
    ("interval", "outcome"),
    [((-0.02, 0.01), "pass"), ((-0.04, 0.01), "inconclusive"), ((-0.2, -0.04), "fail"), (None, "inconclusive")],
)
def test_the_verdict_is_of_the_whole_interval(interval, outcome: str) -> None:
    assert judge(declared(), Estimate(-0.01, interval)).outcome == outcome


@pytest.mark.parametrize(
    "wrong",
    [{"measure": "aurok"}, {"margin": 0.0}, {"margin": 1.5}, {"margin": float("nan")}, {"resamples": 10},
     {"classes": 51}, {"threshold": 1.0}, {"classes": 3, "threshold": 0.5}, {"classes": 3, "measure": "sensitivity"}],
)  # fmt: skip
def test_what_cannot_be_declared_is_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        declared(**wrong)


def test_an_earlier_margin_is_remembered() -> None:
    first, second = declared(), declared(margin=0.1)
    notes = declared_before([first.to_dict()], second)
    assert "an earlier one declared margin 0.03, this one 0.1" in notes
    assert declared_before([], second) == []


def test_a_measure_that_does_not_exist_here_gives_no_verdict_and_says_so(cases: Cases) -> None:
    ill = cases.at(np.flatnonzero(cases.labels == 1))
    answers = logits_for(ill.labels)
    found = summarise({"student": answers, "teacher": answers}, replace(ill, groups={}), declared())
    assert found.verdict.outcome == "inconclusive"
    assert found.warnings[0].name == "no verdict"
    assert found.to_dict()["verdict"]["difference"] is None
    assert [(one.column, one.level) for one in found.suppressed] == [("class", "well")]
    json.dumps(found.to_dict(), allow_nan=False)


def test_cases_are_ranked_where_every_probability_is_one() -> None:
    labels = np.repeat([0, 1], 10)
    logits = np.stack([np.zeros(20), np.where(labels, 60.0, 45.0)], axis=1)
    answers = Answers.of(logits)
    assert (answers.probabilities[:, 1] == 1).all()
    assert figures_of(answers, labels, np.ones((1, 20)), ("a", "b"))["auroc", ""].tolist() == [1]
