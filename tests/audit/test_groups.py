"""E: fairness beside fairlearn, amplification that is there and that is not, and changed classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from small_evidence import digits, drawn, evidence

from sansdata.audit import groups
from sansdata.audit.evidence import Evidence
from sansdata.audit.groups import class_change, group_fairness, hidden_groups
from sansdata.audit.levels import Entry, Level, Unmeasured
from sansdata.datasets.imageset import ImageSet
from sansdata.figures import Warned
from sansdata.tasks import ImageTask
from sansdata.validation.cases import Cases
from sansdata.validation.manifest import Salted

fair = pytest.importorskip("fairlearn.metrics")
COUNT = 1500
TWO = ImageTask(shape=(1, 8, 8), classes=2, mean=(0.5,), std=(0.25,), class_names=("no", "yes"))


@pytest.fixture(scope="module")
def unfair() -> Evidence:
    """A teacher that names group b 'yes' a fifth less often than a, and a student that copies it with some noise."""
    random = np.random.default_rng(0)
    groups = np.where(random.random(COUNT) < 0.5, "a", "b")
    odds = np.empty(COUNT)
    for group, share in (("a", 0.5), ("b", 0.3)):  # quantiles, so that just this share of each is named 'yes'
        inside = groups == group
        odds[inside] = random.permutation(norm.ppf((np.arange(inside.sum()) + 0.5) / inside.sum()) + norm.ppf(share))
    labels = (odds + random.normal(0, 0.8, COUNT) > 0).astype(np.int64)
    images = random.integers(0, 256, (COUNT, 8, 8, 1), dtype=np.uint8)
    cases = Cases(ImageSet(images, labels, ("no", "yes"), "rows"), np.arange(COUNT), {"group": groups}, Salted())
    teacher = np.stack([-odds, odds], 1) / 2
    copied = odds + random.normal(0, 0.1, COUNT)
    student = np.stack([-copied, copied], 1) / 2
    return replace(
        evidence(digits()[0][:20]), task=TWO, cases=cases, of_cases=drawn(teacher, student), asked_groups=("group",)
    )


def entries(several) -> dict[str, Entry]:
    return {one.name: one for one in several if isinstance(one, Entry)}


def test_numbers_of_groups_are_those_of_fairlearn(unfair: Evidence) -> None:
    found = entries(group_fairness(unfair))
    cases, answers = unfair.cases, unfair.of_cases
    assert cases is not None
    assert answers is not None
    for who in ("teacher", "student"):
        decided = getattr(answers, who).argmax(1)
        for name in ("demographic_parity_difference", "equalized_odds_difference"):
            theirs = getattr(fair, name)(cases.labels, decided, sensitive_features=cases.groups["group"])
            assert found[f"{who} {name}, group"].value == pytest.approx(theirs, abs=1e-9)
    assert found["teacher demographic_parity_difference, group"].value == pytest.approx(0.2, abs=0.005)
    assert all(one.level == Level.L3 for one in found.values())


def test_a_faithful_copy_amplifies_nothing_and_noise_in_one_group_does(unfair: Evidence) -> None:
    name = "amplification of demographic_parity_difference, group"
    several = list(group_fairness(unfair))
    low, high = entries(several)[name].interval or (1, 1)
    assert low < 0 < high
    assert not any(isinstance(one, Warned) for one in several)
    assert unfair.cases is not None
    assert unfair.of_cases is not None
    wrong = (unfair.cases.groups["group"] == "b") & (np.random.default_rng(5).random(COUNT) < 0.3)
    student = np.where(wrong[:, None], np.array([3.0, -3.0]), unfair.of_cases.student)
    worse = list(group_fairness(replace(unfair, of_cases=drawn(unfair.of_cases.teacher, student))))
    interval = entries(worse)[name].interval
    assert interval is not None
    assert interval[0] > 0
    assert any(isinstance(one, Warned) and "demographic" in one.name for one in worse)


@pytest.mark.parametrize("groups", [(), ("sex", "age")])
def test_without_labels_or_groups_there_is_no_number(groups: tuple[str, ...]) -> None:
    asked = replace(evidence(digits()[0][:20]), asked_groups=groups)
    several = [*group_fairness(asked), *class_change(asked)]
    assert all(isinstance(one, Unmeasured) for one in several)
    assert {one.measure for one in several} == {"E14", "E15"}  # type: ignore[union-attr]
    assert len(several) == max(1, len(groups)) + 1
    assert asked.level == Level.L0


def test_clusters_are_a_place_to_look_and_need_natural_inputs() -> None:
    asked = evidence(digits()[0][:20])
    (missing,) = hidden_groups(asked)
    assert isinstance(missing, Unmeasured)
    images, _ = digits()
    with_natural = evidence(images[:20])
    from small_evidence import answers, teacher

    natural = answers(images[:300], teacher().network)
    found = entries(hidden_groups(replace(with_natural, natural=natural)))
    assert found["agreement in the worst cluster"].value == 1
    assert found["agreement in the worst cluster"].level == Level.L1


def test_a_cluster_of_few_persons_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 60 natural inputs a cluster of 3 on which both never agree, and one of 57 on which they do."""
    images, _ = digits()
    clusters = np.repeat([0, 1], [57, 3])
    monkeypatch.setattr(groups, "clustered", lambda inside: clusters)
    logits = np.eye(10)[np.zeros(60, np.int64)]
    natural = replace(drawn(logits, np.where(clusters[:, None] == 1, -logits, logits)), packed=images[:60])
    several = list(hidden_groups(replace(evidence(images[:20]), natural=natural)))
    assert entries(several)["agreement in the worst cluster"].count == 57
    assert entries(several)["agreement in the worst cluster"].value == 1
    monkeypatch.setattr(groups, "clustered", lambda inside: np.arange(60) % 8)
    (missing,) = hidden_groups(replace(evidence(images[:20]), natural=natural))
    assert isinstance(missing, Unmeasured)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_one_input_far_from_all_is_a_cluster_that_the_judged_ones_need_not_show() -> None:
    """Of two places; with three of them the silhouette still has a value, with two the library ends in an error."""
    inside = np.zeros((1500, 2))
    inside[0] = 100
    assert set(groups.clustered(inside).tolist()) == {0}
    inside[1:700, 1] = 1
    clusters = groups.clustered(inside)
    assert len({clusters[0], clusters[1], clusters[-1]}) == 3
