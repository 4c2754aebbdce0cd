"""Figures of made rows against scikit-learn, fairlearn and plain loops."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from sansdata.datasets.labelled import KindSet
from sansdata.evaluate import fair_rows, generated_rows
from sansdata.evaluate.fair_rows import LabelledRows
from sansdata.figures import Drawing
from sansdata.kinds.index import input_kind
from sansdata.testing.worlds import make_autoencoder

pytest.importorskip("fairlearn", reason="figures of fairness are fairlearn's (extra 'fair')")


def rows(count: int = 200, seed: int = 0, columns: int = 6, levels: int = 3) -> LabelledRows:
    random = np.random.default_rng(seed)
    codes = random.integers(0, levels, (count, columns))
    groups = random.integers(0, 2, count)
    positive = (codes[:, 0] + random.normal(0, 0.7, count) + 0.5 * groups) > 1.2
    return LabelledRows(codes.astype(float), positive, groups, torch.from_numpy(codes))


def test_ratios_are_those_of_the_rates_by_hand() -> None:
    real = rows()
    random = np.random.default_rng(1)
    scores = real.positive + random.normal(0, 1, len(real))
    chosen = scores > 0.5
    figures = fair_rows.served(chosen, scores, real)
    share = [chosen[real.groups == g].mean() for g in (0, 1)]
    right = [chosen[(real.groups == g) & real.positive].mean() for g in (0, 1)]
    wrong = [chosen[(real.groups == g) & ~real.positive].mean() for g in (0, 1)]
    assert figures["dpr"] == pytest.approx(min(share) / max(share))
    assert figures["eor"] == pytest.approx(min(min(right) / max(right), min(wrong) / max(wrong)))
    assert figures["auroc"] == pytest.approx(sk.roc_auc_score(real.positive, scores))
    assert figures["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(real.positive, chosen))
    assert figures["positive_rate"] == pytest.approx(chosen.mean())


@pytest.mark.parametrize("deserving", [True, False])
def test_a_side_of_which_nobody_is_chosen_is_treated_alike(deserving: bool) -> None:
    """Two groups of 20, half of them deserving; of one side 5 of 10 are chosen, of the other none."""
    groups, positive = np.repeat([0, 1], 20), np.tile(np.repeat([True, False], 10), 2)
    chosen = (positive == deserving) & (np.arange(40) % 10 < 5)
    assert fair_rows.served(chosen, chosen.astype(float), in_groups(positive, groups))["eor"] == 1
    chosen &= (groups == 0) | (np.arange(40) % 10 < 3)
    assert fair_rows.served(chosen, chosen.astype(float), in_groups(positive, groups))["eor"] == pytest.approx(3 / 5)


@pytest.mark.parametrize("positive", [True, False])
def test_one_answer_for_all_is_perfectly_fair_and_useless(positive: bool) -> None:
    figures = fair_rows.constant(rows(), positive)
    assert (figures["dpr"], figures["eor"]) == (1, 1)
    assert (figures["auroc"], figures["balanced_accuracy"]) == (0.5, 0.5)
    assert figures["positive_rate"] == positive


def in_groups(positive: np.ndarray, groups: np.ndarray) -> LabelledRows:
    return LabelledRows(np.zeros((len(groups), 1)), positive, groups, torch.zeros(len(groups), 2, dtype=torch.int64))


@pytest.mark.parametrize("of_third", [False, True])
def test_a_group_of_one_class_does_not_make_a_perfect_answer_unfair(of_third: bool) -> None:
    """Groups 0 and 1 have 50 rows of either class; the 8 of group 2 all deserve the good one, or none does."""
    positive = np.r_[np.tile(np.repeat([True, False], 50), 2), np.full(8, of_third)]
    real = in_groups(positive, np.repeat([0, 1, 2], [100, 100, 8]))
    assert fair_rows.of_both(real) == [0, 1]

    assert fair_rows.served(positive, positive.astype(float), real)["eor"] == 1
    chosen = positive ^ (np.arange(208) % 5 == 0)
    assert fair_rows.served(chosen, chosen.astype(float), real)["eor"] == pytest.approx(1)
    single = real.at(np.flatnonzero(real.groups > 0))
    assert "eor" not in fair_rows.served(single.positive, single.positive.astype(float), single)


def test_an_evaluation_names_the_groups_that_equalized_odds_leave_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_autoencoder()
    task, stream = model.bins.task, torch.Generator().manual_seed(0)
    drawn, labels = input_kind(task).draw(120, stream), np.arange(120) % 2
    place = [column.name for column in task.inputs.categories].index("colour")
    drawn["categories"][:, place] = torch.from_numpy(np.where(labels == 1, np.arange(120) % 3, 0))
    monkeypatch.setattr(generated_rows, "ROWS", 200)

    def latents(count: int, stream: torch.Generator) -> torch.Tensor:
        return torch.randn(count, model.latent, generator=stream)

    found = generated_rows.evaluate_rows(latents, model, KindSet(task, drawn, labels, (), "x"), None)
    assert "equalized odds leave out others, whose real rows are all of one class; fewer than two" in found.notes[-1]
    assert not [one.name for one in found.figures if "eor" in one.name]


def density_and_coverage(made: np.ndarray, real: np.ndarray, k: int) -> tuple[float, float]:
    """Naeem et al. 2020, by loops."""
    within, covered = 0, 0
    for point in real:
        reach = sorted((point != other).sum() for other in real)[k]  # the first is itself
        near = [(point != other).sum() <= reach for other in made]
        within += sum(near)
        covered += any(near)
    return within / (k * len(made)), covered / len(real)


def test_density_and_coverage_are_those_by_hand() -> None:
    made, real = rows(90, 3), rows(70, 4)
    figures = fair_rows.closeness(made, real)
    wanted = density_and_coverage(made.codes.numpy(), real.codes.numpy(), fair_rows.NEIGHBOURS)
    assert (figures["density"], figures["coverage"]) == pytest.approx(wanted)


def test_a_copy_is_near_to_what_it_copied_and_fresh_rows_are_not() -> None:
    training, held_out = rows(300, 0, 10), rows(300, 1, 10)
    copied = fair_rows.copies(training.at(np.arange(200)), training, held_out)
    fresh = fair_rows.copies(rows(300, 2, 10), training, held_out)
    assert copied["closest_record"] == 0
    assert copied["nearer_to_training"] > 0.95
    assert fresh["nearer_to_training"] == pytest.approx(0.5, abs=0.1)
    assert fresh["closest_record"] == pytest.approx(fresh["closest_record_of_real"], rel=0.15)


def test_a_group_that_stands_in_a_column_is_read_from_it() -> None:
    from sklearn.tree import DecisionTreeClassifier

    one = rows(600)
    shown = np.column_stack([one.columns, one.groups])
    assert fair_rows.readable(shown, one.groups, DecisionTreeClassifier(random_state=0)) == 1
    judge = DecisionTreeClassifier(max_depth=2, random_state=0)
    assert fair_rows.readable(rows(4000).columns[:, 1:], rows(4000).groups, judge) == pytest.approx(0.5, abs=0.06)
    three = np.random.default_rng(0).integers(0, 3, 600)
    assert fair_rows.readable(three[:, None].astype(float), three, judge) == 1


def test_rows_without_the_good_class_give_the_classifier_that_says_the_same_to_all() -> None:
    made, real = rows(), rows(seed=1)
    none = LabelledRows(made.columns, np.zeros(len(made), bool), made.groups, made.codes)
    assert fair_rows.downstream(make_autoencoder(), none, real) == fair_rows.constant(real, positive=False)


def test_every_figure_has_a_meaning_and_is_plain_json(tmp_path: Path) -> None:
    findings = fair_rows.figures_of(dict.fromkeys(fair_rows.MEANINGS, 0.5), " (own)")
    findings.append(fair_rows.plane({"own": (0.5, 0.75), "one answer for all": (1.0, 0.5)}))
    names = [one.name for one in findings]
    assert len(set(names)) == len(names) == len(fair_rows.MEANINGS) + 1
    assert isinstance(findings[-1], Drawing)
    json.dumps([one.to_dict() for one in findings], allow_nan=False)
