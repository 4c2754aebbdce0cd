"""What a validation says of planted defects, and what it keeps to itself."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sansdata.audit.groups import class_change
from sansdata.audit.levels import Entry, Unmeasured
from sansdata.datasets.imageset import ImageSet
from sansdata.errors import ConfigError, DataError, DisclosureError
from sansdata.finetuning.comparison import compare
from sansdata.validation.aggregates import require_aggregates
from sansdata.validation.answers import Answers, Who, figures_of
from sansdata.validation.calibration import bins_of
from sansdata.validation.cases import Cases, cases_of_set
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


@pytest.mark.parametrize("measure", ["accuracy", "auroc", "sensitivity", "auprc"])
def test_a_handful_of_cases_on_which_both_are_right_is_too_few(measure: str) -> None:
    """The specimen: 12 cases, 6 of them ill, on which student and teacher make no mistake."""
    few = cases_with([6, 6])
    right = np.eye(2)[few.labels]
    validation = summarise({"student": right, "teacher": right}, few, declared(measure=measure))
    assert validation.verdict.outcome == "inconclusive"
    own = validation.figure(f"student {measure}")
    assert own.value == 1
    if measure == "auprc":
        assert (own.interval, validation.verdict.interval) == (None, None)
    else:
        count = 12 if measure == "accuracy" else 6
        assert own.interval == pytest.approx((0.025 ** (1 / count), 1))
        assert validation.verdict.interval == pytest.approx((0.025 ** (1 / count) - 1, 1 - 0.025 ** (1 / count)))


def test_before_and_after_fine_tuning_too() -> None:
    few = cases_with([6, 6])
    right = Answers.of(np.eye(2)[few.labels])
    compared = compare(right, right, few, [], None)
    for name, count in (("accuracy", 12), ("sensitivity", 6), ("auroc", 6)):
        low, high = compared.figure(f"change in {name}").interval or (0, 0)
        assert -low == high == pytest.approx(1 - 0.025 ** (1 / count))
        assert compared.figure(f"after {name}").interval == pytest.approx((0.025 ** (1 / count), 1))
    assert compared.figure("after auprc").interval is None


def test_a_student_that_misses_cases_does_not_pass_by_luck() -> None:
    """Its teacher finds every case and it 94 of 100; of ten, it finds all on every second day."""
    random, outcomes = np.random.default_rng(0), []
    few = cases_with([10, 10])
    teacher = 4.0 * np.eye(2)[few.labels]
    for _ in range(20):
        missed = (few.labels == 1) & (random.random(20) > 0.94)
        both: dict[Who, np.ndarray] = {"student": np.where(missed[:, None], -teacher, teacher), "teacher": teacher}
        outcomes.append(summarise(both, few, declared(measure="sensitivity", resamples=200)).verdict.outcome)
    assert "pass" not in outcomes
    many = cases_with([130, 130])
    same = np.eye(2)[many.labels]
    whole = summarise({"student": same, "teacher": same}, many, declared(measure="sensitivity"))
    assert whole.verdict.outcome == "pass"


def test_a_planted_defect_of_one_scanner_is_found(cases: Cases) -> None:
    teacher = logits_for(cases.labels, 2.5)
    broken = np.random.default_rng(3).random(COUNT) < 0.35
    student = np.where(((cases.groups["scanner"] == "two") & broken)[:, None], -teacher, teacher)
    validation = summarise({"student": student, "teacher": teacher}, cases, declared())
    gap = validation.figure("student accuracy against the rest, scanner: two")
    assert gap.interval is not None
    assert gap.value < -0.2
    assert gap.interval[1] < 0
    assert any(one.name == "group gap, scanner: two" for one in validation.warnings)
    fine = summarise({"student": teacher, "teacher": teacher}, cases, declared())
    low, high = fine.figure("difference accuracy against the rest, scanner: two").interval or (1, 1)
    assert low <= 0 <= high
    assert not any("scanner" in one.name for one in fine.warnings)


def test_the_ends_of_a_reliability_bin_are_of_no_single_case() -> None:
    random = np.random.default_rng(0)
    sure = random.beta(4, 1, 600)
    bins = bins_of(sure, (random.random(600) < sure) * 1.0, 10)
    assert len(bins) == 15
    for one in bins:
        assert one["lower"] == round(one["lower"], 2) <= one["confidence"] <= one["upper"] == round(one["upper"], 2)
    assert bins[0]["lower"] <= sure.min() < bins[0]["lower"] + 0.01
    assert bins[-1]["upper"] <= 1


def test_planted_miscalibration_is_flagged(cases: Cases) -> None:
    teacher = logits_for(cases.labels)
    validation = summarise({"student": 3 * teacher, "teacher": teacher}, cases, declared())
    rise = validation.figure("difference ece")
    assert rise.interval is not None
    assert rise.value > 0.05
    assert rise.interval[0] > 0
    assert validation.figure("student calibration_slope").value == pytest.approx(
        validation.figure("teacher calibration_slope").value / 3, rel=1e-6
    )
    assert [one.name for one in validation.warnings if "group" not in one.name] == ["miscalibration"]
    fine = summarise({"student": teacher, "teacher": teacher}, cases, declared())
    assert not any(one.name == "miscalibration" for one in fine.warnings)


def test_a_calibrated_student_is_seldom_called_miscalibrated_on_few_cases() -> None:
    """One in twenty may be, by construction; each of them was, whose ECE on so few cases is 0.1 and more."""
    warned, random = [], np.random.default_rng(0)
    for _ in range(20):
        odds = 1.5 * random.normal(size=100)
        labels = (random.random(100) < 1 / (1 + np.exp(-odds))).astype(np.int64)
        few = replace(cases_with([50, 50]), data=ImageSet(np.zeros((100, 2, 2, 1), np.uint8), labels, ("a", "b"), "x"))
        logits = np.stack([-odds, odds], 1) / 2
        surer: dict[Who, np.ndarray] = {"student": logits, "teacher": np.eye(2)[labels] * 9}
        for both in ({"student": logits, "teacher": logits}, surer):
            validation = summarise(both, few, declared(resamples=200))
            assert validation.figure("student ece").value > 0.05
            warned.append("miscalibration" in {one.name for one in validation.warnings})
    assert sum(warned) <= 6


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
    validation = summarise({"student": answers, "teacher": answers}, several, declared())
    listed = {(one.column, one.level): one.reason for one in validation.suppressed}
    assert listed == {
        ("site", "tiny"): "fewer than 10 patients",
        ("band", "well only"): "fewer than 5 patients of one class",
    }
    assert not any("tiny" in one.name or "well only" in one.name for one in validation.figures)


def cases_with(counts: list[int]) -> Cases:
    """A patient a case, so many of each class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    images, names = np.zeros((len(labels), 2, 2, 1), np.uint8), tuple("abcdef"[: len(counts)])
    return Cases(ImageSet(images, labels, names, "local"), np.arange(len(labels)), {}, Salted())


def both_on(few: Cases, measure: str = "accuracy"):
    """The validation of two rankers that differ."""
    classes, random = len(few.data.class_names), np.random.default_rng(0)
    logits = [2 * np.eye(classes)[few.labels] + random.normal(size=(len(few), classes)) for _ in range(2)]
    of_two = {} if classes == 2 else {"classes": classes}
    return summarise({"student": logits[0], "teacher": logits[1]}, few, declared(measure=measure, **of_two)), logits


def test_of_two_classes_the_other_does_not_tell_of_the_rare_one() -> None:
    """The specimen: 98 % of 100 cases, and balanced accuracy beside accuracy, which give its number and sensitivity."""
    validation, _ = both_on(cases_with([98, 2]))
    assert validation.prevalence == (None, None)
    assert [(one.column, one.level) for one in validation.suppressed] == [("class", "b")]
    shown = {one.name.split(" ", 1)[1] for one in validation.figures}
    assert shown == {"accuracy", "ece", "brier", "agreement", "kappa", "reliability"}


@pytest.mark.parametrize("measure", ["balanced_accuracy", "auroc", "sensitivity"])
def test_a_verdict_says_no_more_than_the_figures(measure: str) -> None:
    validation, _ = both_on(cases_with([98, 2]), measure)
    assert validation.verdict.outcome == "inconclusive"
    assert (validation.verdict.interval, validation.to_dict()["verdict"]["difference"]) == (None, None)
    assert validation.warnings[0].name == "no verdict"
    assert both_on(cases_with([92, 8]), measure)[0].verdict.interval is not None


@pytest.mark.parametrize(
    ("counts", "hidden"),
    [([50, 40, 30, 20], ""), ([50, 40, 30, 4], "cd"), ([50, 40, 2, 4], "cd"), ([50, 40, 1, 2], "bcd"),
     ([90, 4, 0, 0], "abcd"), ([4, 60, 30, 20], "ad")],
)  # fmt: skip
def test_what_the_shown_classes_leave_over_is_of_two_classes_and_five_patients(counts: list[int], hidden: str) -> None:
    validation, _ = both_on(cases_with(counts))
    names = validation.class_names
    assert "".join(name for name, share in zip(names, validation.prevalence) if share is None) == hidden
    assert "".join(sorted(one.level for one in validation.suppressed)) == hidden
    assert {one.name[-1] for one in validation.figures if " of " in one.name} == set(names) - set(hidden)
    over = {one.name for one in validation.figures} & {"student balanced_accuracy", "student auroc", "difference auprc"}
    assert len(over) == (0 if hidden else 3)


def test_rare_classes_are_hidden_in_every_record_of_cases() -> None:
    few = cases_with([98, 2])
    _, logits = both_on(few)
    student, teacher = (Answers.of(one) for one in logits)
    compared = compare(teacher, student, few, [], None)
    assert {one.name.split()[-1] for one in compared.figures} == {"accuracy", "ece", "brier"}
    assert [one.level for one in compared.suppressed] == ["b"]
    evidence: Any = SimpleNamespace(cases=few, of_cases=SimpleNamespace(student=logits[0], teacher=logits[1]))
    several = list(class_change(evidence))
    assert {one.name for one in several if isinstance(one, Entry)} == {
        f"{who} {name}" for who in ("student", "teacher", "difference") for name in ("accuracy", "ece")
    }
    assert "class: b" in {one.name for one in several if isinstance(one, Unmeasured)}


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
    validation = summarise(both, replace(cases, groups={}), declared(), outside=far)
    assert validation.figure("student unlike the synthetic inputs").value == pytest.approx(0.7)
    assert [one.name for one in validation.warnings if "taught on" in one.name]
    assert OUTSIDE.name not in str(summarise(both, replace(cases, groups={}), declared()).figures)


# -- only aggregates leave


def test_a_whole_validation_is_of_aggregates(cases: Cases) -> None:
    teacher = logits_for(cases.labels)
    validation = summarise({"student": teacher, "teacher": teacher}, cases, declared()).to_dict()
    require_aggregates(validation, cases)
    assert json.loads(json.dumps(validation, allow_nan=False)) == json.loads(json.dumps(validation))


@pytest.mark.parametrize(
    "row",
    [
        {"probabilities": [0.5] * COUNT},
        {"deep": [{"rows": list(range(COUNT // 2))}]},
        {"figures": [[n, 0.5] for n in range(COUNT)]},
        {"cells": [{"level": "x", "count": 9}]},
        {"entries": [{"name": "x", "text": "y", "n": 3}]},
        {"note": "the worst is patient-0007, by far"},
        {"patient-0007": 1},
    ],
)
def test_rows_of_single_cases_do_not_leave(cases: Cases, row: dict) -> None:
    with pytest.raises(DisclosureError, match="nothing was written"):
        require_aggregates({"fine": 1, **row}, cases)


def test_classes_and_levels_of_which_nothing_is_said_are_no_rows_of_cases() -> None:
    """Six classes and nine levels were refused as the rows of 14 cases."""
    named = cases_with([1, 1, 3, 3, 3, 3])
    of_classes = [{"column": "class", "level": level, "reason": "rare"} for level in "abcdef"]
    levels = [{"column": "age", "level": str(year), "reason": "rare"} for year in range(14)]
    require_aggregates({"suppressed": [*of_classes, *levels[:9]]}, named)
    with pytest.raises(DisclosureError, match="14 entries of 14"):
        require_aggregates({"suppressed": [*of_classes, *levels]}, named)


@pytest.mark.parametrize("patients", [1, 9])
def test_many_cases_of_few_patients_do_not_leave(cases: Cases, patients: int) -> None:
    few = replace(cases, patients=np.arange(COUNT) % patients)
    with pytest.raises(DisclosureError, match=f"are of {patients} patient"):
        require_aggregates({"entries": [{"n": COUNT}]}, few)


def test_a_set_without_a_manifest_has_the_same_floor() -> None:
    assert cases_of_set(cases_with([5, 5]).data, {}).patient_count == 10
    with pytest.raises(DataError, match="9 cases: fewer than 10"):
        cases_of_set(cases_with([5, 4]).data, {})


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
    validation = summarise({"student": answers, "teacher": answers}, replace(ill, groups={}), declared())
    assert validation.verdict.outcome == "inconclusive"
    assert validation.warnings[0].name == "no verdict"
    assert validation.to_dict()["verdict"]["difference"] is None
    assert [(one.column, one.level) for one in validation.suppressed] == [("class", "well")]
    json.dumps(validation.to_dict(), allow_nan=False)


def test_cases_are_ranked_where_every_probability_is_one() -> None:
    labels = np.repeat([0, 1], 10)
    logits = np.stack([np.zeros(20), np.where(labels, 60.0, 45.0)], axis=1)
    answers = Answers.of(logits)
    assert (answers.probabilities[:, 1] == 1).all()
    assert figures_of(answers, labels, np.ones((1, 20)), ("a", "b"))["auroc", ""].tolist() == [1]
