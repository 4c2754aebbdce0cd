"""B and C: agreement and what it hides, and a student that learned its inputs by heart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from scipy.stats import chi2_contingency
from small_evidence import TASK, answers, digits, drawn, evidence, small_cnn, teacher, trained
from torch import nn

from sansdata.audit import overoptimisation
from sansdata.audit.fidelity import MAX_MATRIX_CLASSES, alike, fidelity, matching_temperature
from sansdata.audit.levels import Entry, Unmeasured
from sansdata.audit.overoptimisation import attacked, corruptions, difference_of_agreement, over_optimisation
from sansdata.figures import Drawing, Warned
from sansdata.network import Network


def entries(several) -> dict[str, Entry]:
    return {one.name: one for one in several if isinstance(one, Entry)}


def shapes(several) -> list[str]:
    return [one.shape for one in several if isinstance(one, Drawing)]


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 2, (800, 10)).astype(np.float32)


def test_agreement_kappa_and_divergence(logits: np.ndarray) -> None:
    student = logits + np.random.default_rng(1).normal(0, 1, logits.shape).astype(np.float32)
    found = alike(drawn(logits, student))
    ours, theirs = log_softmax(student.astype(float), 1), log_softmax(logits.astype(float), 1)
    assert found["KL"].value == pytest.approx((np.exp(theirs) * (theirs - ours)).sum(1).mean())
    assert found["agreement"].value == (student.argmax(1) == logits.argmax(1)).mean()
    for one in found.values():
        assert one.interval is not None
        assert one.interval[0] <= one.value <= one.interval[1]


def test_shuffled_answers_of_the_teacher_agree_by_chance_alone(logits: np.ndarray) -> None:
    found = alike(drawn(logits, np.random.default_rng(2).permutation(logits)))
    assert found["agreement"].value == pytest.approx(0.1, abs=0.04)
    low, high = found["kappa"].interval or (1, 1)
    assert low < 0 < high
    assert found["top-5 overlap"].value == pytest.approx(0.5, abs=0.05)


def test_twelve_inputs_that_agree_are_no_certainty() -> None:
    logits = np.random.default_rng(3).normal(size=(12, 3))
    whole = drawn(logits, logits)
    low, high = alike(whole)["agreement"].interval or (1.0, 1.0)
    assert (low, high) == (pytest.approx(0.025 ** (1 / 12)), 1.0)  # the exact bound of 12 of 12
    low, high = difference_of_agreement(whole, whole).interval or (0.0, 0.0)
    assert low < -0.2 < 0.2 < high


def test_disagreement_on_one_class_is_found_with_its_chance(logits: np.ndarray) -> None:
    student, labels = logits.copy(), logits.argmax(1)
    wrong = (labels == 3) & (np.arange(len(labels)) % 3 == 0)
    student[wrong] = np.roll(student[wrong], 1, axis=1)
    asked = replace(evidence(digits()[0][:20]), synthetic=drawn(logits, student))
    several = list(fidelity(asked))
    found = entries(several)
    table = np.array([[((labels == k) & wrong).sum(), ((labels == k) & ~wrong).sum()] for k in range(10)])
    assert found["p of equal disagreement on training synthetic"].value == pytest.approx(chi2_contingency(table)[1])
    assert found["highest over mean disagreement on training synthetic"].value == pytest.approx(10)
    assert found["Gini of disagreement on training synthetic"].value == pytest.approx(0.9)
    assert any(isinstance(one, Warned) and "on 3;" in one.text for one in several)
    assert shapes(several).count("heat") == 1


@pytest.mark.parametrize("wrong", [slice(297, 300), slice(0, 300), slice(0, 296)], ids=["rare", "all", "all but rare"])
def test_without_both_agreement_and_disagreement_in_frequent_classes_nothing_is_concentrated(wrong: slice) -> None:
    """Of 3 classes the last has 4 inputs; chi-square has no value then, and the library ends in an error."""
    teacher = np.eye(3, dtype=np.float32)[np.repeat([0, 1, 2], [148, 148, 4])]
    student = teacher.copy()
    student[wrong] = np.roll(teacher[wrong], 1, axis=1)
    several = list(fidelity(replace(evidence(digits()[0][:20]), synthetic=drawn(teacher, student))))
    missing = {one.name for one in several if isinstance(one, Unmeasured)}
    assert "concentration of disagreement on training synthetic" in missing
    assert "agreement on training synthetic" in entries(several)
    assert not shapes(several)


def test_rare_classes_are_not_among_the_inputs_of_which_a_concentration_is() -> None:
    teacher = np.eye(3, dtype=np.float32)[np.repeat([0, 1, 2], [10, 10, 4])]
    student = teacher.copy()
    student[:3] = teacher[-1]
    several = fidelity(replace(evidence(digits()[0][:20]), synthetic=drawn(teacher, student)))
    assert {one.count for one in entries(several).values() if one.measure == "B6"} == {20}


def test_of_very_many_classes_there_is_no_matrix() -> None:
    teacher = np.repeat(10 * np.eye(MAX_MATRIX_CLASSES + 1, dtype=np.float32)[:3], 6, axis=0)
    student = np.where(np.arange(18)[:, None] % 4 == 0, np.roll(teacher, 1, axis=1), teacher)
    asked = replace(evidence(digits()[0][:20]), synthetic=drawn(teacher, student))
    assert "bars" in (drawings := shapes(list(fidelity(asked))))
    assert "heat" not in drawings


def test_the_matching_temperature_undoes_a_scale(logits: np.ndarray) -> None:
    assert matching_temperature(drawn(logits, 3 * logits)) == pytest.approx(3, rel=1e-3)
    sharp = entries(fidelity(replace(evidence(digits()[0][:20]), synthetic=drawn(logits, 3 * logits))))
    assert sharp["entropy difference on training synthetic"].value < 0


# -- C


@pytest.fixture(scope="module")
def by_heart() -> nn.Module:
    """A student that learned the teacher's answers to 60 images for long."""
    images, _ = digits()
    with torch.no_grad():
        known = teacher()(images[:60].float().div(255)).value.argmax(1)
    return trained(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), images[:60], known, 300, 2e-2)


def test_a_student_that_learned_by_heart_has_a_gap_and_a_faithful_one_has_none(by_heart: nn.Module) -> None:
    images, _ = digits()
    own = Network.of(by_heart, TASK)
    asked = evidence(images[:60], by_heart, held_out=answers(images[600:1200], own))
    several = list(over_optimisation(asked))
    gap = entries(several)["fidelity gap to held-out synthetic"]
    assert gap.value > 0.1
    assert gap.interval is not None
    assert gap.interval[0] > 0
    assert any(isinstance(one, Warned) and one.name.startswith("over-fitted") for one in several)
    mixed = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
    faithful = trained(small_cnn(1), *digits_as_seen(mixed[:1200]), steps=200)
    asked = evidence(mixed[:1200], faithful, held_out=answers(mixed[1200:], Network.of(faithful, TASK)))
    several = list(over_optimisation(asked))
    assert entries(several)["fidelity gap to held-out synthetic"].value < 0.03
    assert not any(isinstance(one, Warned) for one in several)


def digits_as_seen(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return images, teacher()(images.float().div(255)).value.argmax(1)


def test_without_other_inputs_the_gap_has_no_number() -> None:
    several = list(over_optimisation(evidence(digits()[0][:50])))
    missing = {one.name for one in several if isinstance(one, Unmeasured)}
    assert {"fidelity gap", "adversarial gap", "selection rule"} <= missing
    assert not any("gap" in name for name in entries(several))


def test_corruptions_grow_and_stay_of_the_same_shape() -> None:
    images = digits()[0][:20].float().div(255)
    for worsen in corruptions().values():
        moved = [float((worsen(images, severity) - images).abs().mean()) for severity in (1, 2, 3)]
        assert moved == sorted(moved)
        assert moved[0] > 0
        assert worsen(images, 3).shape == images.shape


def test_what_is_attacked_is_spread_over_a_set_that_lies_class_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = digits()
    own = Network.of(teacher().module, TASK)
    attacked_classes = []

    def watched(ask, unit, classes):
        attacked_classes.append(set(classes.tolist()))
        return unit

    monkeypatch.setattr(overoptimisation, "attacked", watched)
    asked = evidence(images[:50], natural=answers(images[labels.argsort()], own))
    assert entries(over_optimisation(asked))["student under PGD"].count == 256
    assert attacked_classes == [set(range(10))] * 2


def test_an_attack_stays_near_and_turns_answers() -> None:
    images, _ = digits()
    unit = images[:100].float().div(255)
    ask = lambda x: teacher()(x).value  # noqa: E731
    with torch.no_grad():
        before = ask(unit).argmax(1)
    moved = attacked(ask, unit, before)
    assert (moved - unit).abs().max() <= 4 / 255 + 1e-6
    assert moved.min() >= 0
    assert moved.max() <= 1
    with torch.no_grad():
        assert (ask(moved).argmax(1) != before).sum() > 0
